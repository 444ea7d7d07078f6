/** Where a client's credential is found in its request. Pure: nothing is verified here. */

import type { IncomingHttpHeaders } from 'node:http';
import { RelayError } from '../errors.js';

/** Where a credential was found, in the order in which they are looked for. */
type CredentialPlace = 'authorization' | 'api-key' | 'subprotocol' | 'query-api-key' | 'query-authorization' | 'cookie';

/** A credential as presented, without an `ek_` prefix. Not verified. */
export interface FoundCredential {
  readonly credential: string;
  readonly place: CredentialPlace;
}

/** The longest credential that is looked at, in bytes. */
export const maxCredentialBytes = 16 * 1024;

const maxProtocols = 100;
const keyProtocol = 'openai-insecure-api-key.';
// RFC 6750 section 2.1, b64token: excludes white space, commas and everything a header or a log could trip over.
const credentialText = /^[A-Za-z0-9._~+/-]+=*$/;

const names: Record<CredentialPlace, string> = {
  authorization: 'the Authorization header',
  'api-key': 'the api-key header',
  subprotocol: 'the subprotocol',
  'query-api-key': 'the api-key query parameter',
  'query-authorization': 'the Authorization query parameter',
  cookie: 'the cookie',
};

/**
 * The client's credential: the first that is present, or null when there is none. Throws `unauthorized` when one that is
 * present is malformed, when a header or parameter is given twice, and when two places hold different credentials.
 * What is empty, and what has the scheme of another hop (RFC 9110 section 11.1; a browser sends a proxy's `Basic` by
 * itself), is passed over where there is one, and refused where there is none.
 * With `queryCredentials` off the query is not looked at, except to say so when nothing else was presented. A cookie of the
 * name in `cookie` is looked at last, and not at all when it is null or left out.
 */
export function findCredential(input: {
  headers: IncomingHttpHeaders;
  rawHeaders?: readonly string[];
  url: URL;
  queryCredentials: boolean;
  cookie?: string | null;
}): FoundCredential | null {
  const { headers, rawHeaders = [], url } = input;
  const found: FoundCredential[] = [];
  const passedOver: [CredentialPlace, string][] = [];
  const look = (place: CredentialPlace, texts: readonly string[]): void => {
    const [text, ...more] = texts.filter((one) => {
      if (isMeant(place, one)) return true;
      passedOver.push([place, one]);
      return false;
    });
    if (more.length > 0) throw refusal(`A credential was sent twice in ${names[place]}; send one.`);
    if (text !== undefined) found.push(read(place, text));
  };

  look('authorization', headerValues('authorization', headers, rawHeaders));
  look('api-key', headerValues('api-key', headers, rawHeaders));
  for (const protocol of offeredProtocols(headers)) {
    if (protocol.startsWith(keyProtocol)) look('subprotocol', [protocol.slice(keyProtocol.length)]);
  }
  const keys = url.searchParams.getAll('api-key');
  // A browser SDK writes it in lower case.
  const authorizations = [...url.searchParams].flatMap(([name, text]) => (/^authorization$/i.test(name) ? [text] : []));
  if (input.queryCredentials) {
    look('query-api-key', keys);
    look('query-authorization', authorizations);
  } else if (found.length === 0 && keys.length + authorizations.length > 0) {
    throw refusal(
      'This relay does not accept credentials in the query string; send an Authorization or api-key header.',
    );
  }

  const [first, ...others] = found;
  if (!first) {
    if (input.cookie) look('cookie', cookieValues(input.cookie, headers));
    const [said] = passedOver;
    return found[0] ?? (said ? read(...said) : null);
  }
  const other = others.find(({ credential }) => credential !== first.credential);
  if (other)
    throw refusal(`Two different credentials were sent, in ${names[first.place]} and ${names[other.place]}; send one.`);
  return first;
}

/** The same cookie may come several times, as one for each path. */
function cookieValues(name: string, { cookie = '' }: IncomingHttpHeaders): string[] {
  const values = cookie.split(';').flatMap((pair) => {
    const [key = '', ...value] = pair.split('=');
    return key.trim() === name ? [value.join('=').trim()] : [];
  });
  return [...new Set(values)];
}

/**
 * The subprotocols a client offers, in its order (RFC 6455 section 11.3.4). At most the first 100 are read; clients of
 * the Realtime API offer four at most.
 */
export function offeredProtocols(headers: IncomingHttpHeaders): string[] {
  const offered = headers['sec-websocket-protocol'];
  if (!offered) return [];
  return offered
    .split(',', maxProtocols)
    .map((protocol) => protocol.trim())
    .filter((protocol) => protocol !== '');
}

/** The lines of a header. Node drops or joins repeated ones; only the raw ones tell. */
function headerValues(
  name: 'authorization' | 'api-key',
  headers: IncomingHttpHeaders,
  raw: readonly string[],
): readonly string[] {
  const lines = raw.filter((_, index) => index % 2 === 1 && raw[index - 1]?.toLowerCase() === name);
  return lines.length > 1 ? lines : [headers[name] ?? []].flat();
}

/** Whether this says something, and to this relay. */
function isMeant(place: CredentialPlace, text: string): boolean {
  if (!isSchemed(place)) return text !== '';
  if (/^(bearer)?\s*$/i.test(text)) return false;
  // Without anything behind it, a word is no scheme: it may be a token that was sent bare.
  return /^bearer\b/i.test(text) || !/^[\w!#$%&'*+.^`|~-]+ +\S/.test(text);
}

function isSchemed(place: CredentialPlace): boolean {
  return place === 'authorization' || place === 'query-authorization';
}

/** The credential of a token that comes by itself, in an event. Throws `unauthorized` for what cannot be one. */
export function tokenIn(text: unknown): string {
  if (typeof text !== 'string') throw refusal('The field "token" must hold your app token.');
  return wellFormed('the field "token"', text);
}

function read(place: CredentialPlace, text: string): FoundCredential {
  return { place, credential: wellFormed(names[place], isSchemed(place) ? bearer(place, text) : text) };
}

/** The credential after the scheme, which is compared without case (RFC 9110 section 11.1). */
function bearer(place: CredentialPlace, text: string): string {
  if (text.slice(0, 7).toLowerCase() !== 'bearer ') {
    throw refusal(`The credential in ${names[place]} must have the form "Bearer <token>".`);
  }
  return text.slice(7).replace(/^ +/, '');
}

function wellFormed(where: string, text: string): string {
  if (text.length > maxCredentialBytes) throw refusal(`The credential in ${where} is over 16 KB.`);
  const credential = text.startsWith('ek_') ? text.slice(3) : text;
  if (credential === '') throw refusal(`The credential in ${where} is empty.`);
  if (!credentialText.test(credential)) {
    throw refusal(`The credential in ${where} contains white space or other characters that no token has.`);
  }
  return credential;
}

function refusal(message: string): RelayError {
  return new RelayError('unauthorized', message);
}
