/** The paths on which sessions begin, and the address of a request in whichever form it came. */

import type { IncomingMessage } from 'node:http';
import { offeredProtocols } from '../auth/credentials.js';
import { RelayError } from '../errors.js';
import type { Dialect } from '../protocol/catalogue.js';

/** Where the web page of the sample VoiceRAG connects, in preview and without a sign of it; and SDKs whose `/v1` was forgotten. */
const sampleDoor = '/realtime';

/** The upgrade paths, and the dialect each implies; null where the client's own hint decides. */
const doors: ReadonlyMap<string, Dialect | null> = new Map([
  ['/openai/v1/realtime', 'ga'],
  ['/openai/realtime', 'preview'],
  ['/v1/realtime', null],
  [sampleDoor, null],
]);

/** The paths that are upgraded to a WebSocket. */
export const doorPaths: readonly string[] = [...doors.keys()];

/** What is said of any other path. */
export const noSuchPath = `No such path; connect to ${doorPaths.join(' or ')}.`;

/** Whether a path is one that is upgraded to a WebSocket. */
export function isDoor(path: string): boolean {
  return doors.has(unslashed(path));
}

/** A path without the slash that may close it. */
export function unslashed(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

/**
 * The address of a request, with single slashes: endpoints are copied with one at their end, and a path is joined to them
 * with another. Its target may be absolute (RFC 9112 section 3.2.2); null for one of another host, and for none.
 */
export function targetOf({ url: target = '', headers }: IncomingMessage): URL | null {
  const [origin = '', scheme = ''] = /^(https?|wss?):\/\/[^/?#]*/i.exec(target) ?? [];
  if (origin !== '' && !isOwn(origin, `${scheme}://${headers.host ?? ''}`)) return null;
  const rest = target.slice(origin.length);
  if (!rest.startsWith('/') && (origin === '' || rest !== '')) return null;
  // Joined as text: resolved against a base, a target of two slashes would name a host and hide a part of its path.
  const whole = `http://relay${rest}`;
  if (!URL.canParse(whole)) return null;
  const url = new URL(whole);
  url.pathname = url.pathname.replace(/\/{2,}/g, '/');
  return url;
}

/** The same host and port, and nothing that names a user. */
function isOwn(origin: string, own: string): boolean {
  if (!URL.canParse(origin) || !URL.canParse(own)) return false;
  const { host, username, password } = new URL(origin);
  return username === '' && password === '' && host === new URL(own).host;
}

/**
 * The dialect a client speaks: what it asks for, what its path implies, or what its headers hint at.
 * @param isUnsigned whether it shows no credential but perhaps a cookie
 */
export function dialectOf({ headers }: IncomingMessage, url: URL, isUnsigned: boolean): Dialect {
  const asked = url.searchParams.get('dialect');
  if (asked === 'preview' || asked === 'ga') return asked;
  if (asked !== null) throw new RelayError('bad_event', 'The parameter "dialect" must be "preview" or "ga".');
  const byPath = doors.get(unslashed(url.pathname));
  if (byPath) return byPath;
  const beta = String(headers['openai-beta'] ?? '').includes('realtime=v1');
  const offered = offeredProtocols(headers);
  if (beta || offered.includes('openai-beta.realtime-v1')) return 'preview';
  return isUnsigned && unslashed(url.pathname) === sampleDoor && !offered.includes('realtime') ? 'preview' : 'ga';
}
