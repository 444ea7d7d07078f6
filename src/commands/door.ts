/** The doors for backends of a running relay, as the command line asks them. */

import http from 'node:http';
import https from 'node:https';
import { isObject, type JsonObject } from '../protocol/event.js';
import { realtimeUrl } from '../talk/address.js';
import { adviceFor, explainError, explainNetwork } from '../talk/failures.js';

/** Where the relay is, and who asks. */
export interface DoorOptions {
  readonly url: string;
  readonly token: string;
  /** Whether any certificate will do. */
  readonly insecure: boolean;
}

/** Why there is no answer, or none that was wanted; the message is for people. */
export class DoorError extends Error {
  constructor(
    message: string,
    /** The relay's, or empty. */
    readonly code: string = '',
    /** Null where nothing answered. */
    readonly status: number | null = null,
  ) {
    super(message);
  }

  /** Whether it may go well in a moment. */
  get isPassing(): boolean {
    return this.status === null || this.status === 429 || this.status >= 500;
  }
}

/** Asks one door. Rejects with a DoorError. */
export type Door = (method: 'GET' | 'POST' | 'DELETE', path: string, body?: JsonObject) => Promise<JsonObject>;

const timeoutMs = 15_000;
const mostBytes = 4 * 1024 * 1024;

/** The doors of one relay. Throws an Error for what is no address of one. */
export function createDoor({ url, token, insecure }: DoorOptions): Door {
  const base = baseOf(url);
  const { request } = base.protocol === 'https:' ? https : http;
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  return (method, path, body) =>
    new Promise((resolve, reject) => {
      const fail = (error: Error) => reject(new DoorError(explainNetwork(error, base.origin)));
      const signal = AbortSignal.timeout(timeoutMs);
      const asked = request(
        new URL(path, base),
        { method, headers, signal, rejectUnauthorized: !insecure },
        (answer) => {
          let text = '';
          answer.setEncoding('utf8');
          answer.on('error', fail);
          answer.on('data', (chunk: string) => {
            text += chunk;
            if (text.length > mostBytes) answer.destroy(new Error('the answer is too big for one of a relay'));
          });
          answer.on('end', () => {
            const status = answer.statusCode ?? 0;
            const said = parsed(text);
            if (status < 300 && said) resolve(said);
            else reject(refusalOf(status, said, base.origin));
          });
        },
      );
      asked.on('error', fail);
      asked.end(body === undefined ? undefined : JSON.stringify(body));
    });
}

/** Where a sideband of a session is: all of its events but sound, those of its client among them. */
export function sidebandUrl(relay: string, id: string): URL {
  return new URL(`sessions/${encodeURIComponent(id)}/sideband?client_events=on`, baseOf(relay));
}

/** Why nothing came of a request, where it could not be made. */
export function unreached(error: Error, url: URL): DoorError {
  return new DoorError(explainNetwork(error, url.origin));
}

/** The same where it was answered with a refusal. */
export function refusedBy(status: number, text: string, url: URL): DoorError {
  return refusalOf(status, parsed(text), url.origin);
}

/** Where the doors are, for whatever may be given as the address of a relay. */
function baseOf(given: string): URL {
  const { protocol, host, pathname } = realtimeUrl(given);
  const prefix = pathname.replace(/(\/openai)?(\/v1)?\/realtime$/, '');
  return new URL(`${protocol.replace('ws', 'http')}//${host}${prefix}/v1/relay/`);
}

function refusalOf(status: number, body: JsonObject | null, place: string): DoorError {
  const error = isObject(body?.error) ? body.error : {};
  const { code, message } = error;
  if (typeof code !== 'string' || typeof message !== 'string') {
    return new DoorError(`${place} answers with HTTP ${status}, not as a relay does; check the URL.`, '', status);
  }
  return new DoorError(`HTTP ${status} ${explainError({ code, message })}${adviceFor(code)}`, code, status);
}

function parsed(text: string): JsonObject | null {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : null;
  } catch {
    // Said as what it is: not an answer of a relay.
    return null;
  }
}
