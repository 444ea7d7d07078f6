/** One HTTP request to an upstream, for what is not a WebSocket. It fails as a dial does. */

import http, { type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import https from 'node:https';
import { HttpsProxyAgent } from 'https-proxy-agent';
import { RelayError } from '../errors.js';
import { untilAborted } from './abort.js';
import type { CredentialHeader } from './authorizer.js';
import { type DialOptions, secretsOf, userAgent } from './dial.js';
import { DialFailure, exitOf, failureOfCredential, failureOfError } from './failure.js';
import type { UpstreamTarget } from './target.js';

/** What one request needs; `signal` and `timeoutSeconds` are as for a dial. */
export type AskOptions = Pick<DialOptions, 'requestId' | 'signal' | 'timeoutSeconds'>;

/** What upstream answered. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** What is asked. */
interface Ask extends AskOptions {
  readonly path: string;
  /** Media type of the body. */
  readonly type?: string;
  readonly body?: string;
  /** In place of `timeoutSeconds`, where several requests share the time. */
  readonly late?: AbortSignal;
}

const answerBytes = 1024 * 1024;

/** As for a dial, a 401 is answered with one forced refresh of the credential and one more try. */
export async function askWithCredential(
  upstream: UpstreamTarget,
  what: Ask,
): Promise<{ answer: Answer; secrets: readonly string[] }> {
  const { authorize, proxy } = upstream;
  const late = what.late ?? lateOf(what);
  const within = { ...what, late };
  const stop = AbortSignal.any([what.signal, late]);
  const header = await untilAborted(authorize.header(), stop).catch((error: unknown) => {
    if (what.signal.aborted) throw departure(what.signal);
    throw exitOf(failureOfCredential(error));
  });
  const answer = await ask(upstream, header, within);
  const secrets = secretsOf(header, proxy);
  if (answer.status !== 401) return { answer, secrets };
  // Without another credential upstream's refusal is the better explanation.
  const renewed = await untilAborted(authorize.renew(header.value), stop).catch(() => null);
  if (renewed === null) return { answer, secrets };
  return { answer: await ask(upstream, renewed, within), secrets: [...secretsOf(renewed, proxy), ...secrets] };
}

/** One POST: no redirects, bounded in time and size. Rejects as a dial does. */
export function ask(upstream: UpstreamTarget, header: CredentialHeader, what: Ask): Promise<Answer> {
  const { endpoint, proxy } = upstream;
  const { requestId, signal, timeoutSeconds, path, type, body = '' } = what;
  const secrets = secretsOf(header, proxy);
  const late = what.late ?? lateOf(what);
  const stop = AbortSignal.any([signal, late]);
  const failed = (error: unknown): RelayError => {
    if (signal.aborted) return departure(signal);
    const where = `POST ${path.replace(/\/rtc_[^/?]+/, '/{call}')}`;
    if (late.aborted) return exitOf(new DialFailure('timeout', `Not done within ${timeoutSeconds} s (${where})`));
    return exitOf(failureOfError(error instanceof Error ? error : new Error('The request failed.'), where, secrets));
  };
  return new Promise((resolve, reject) => {
    const { request } = endpoint.protocol === 'https:' ? https : http;
    const asked = request(
      new URL(path, endpoint),
      {
        method: 'POST',
        headers: {
          [header.name]: header.value,
          'user-agent': userAgent,
          'x-ms-client-request-id': requestId,
          'content-length': Buffer.byteLength(body),
          ...(type !== undefined && { 'content-type': type }),
        },
        signal: stop,
        ...(proxy !== undefined && { agent: new HttpsProxyAgent(proxy, { signal: stop }) }),
      },
      (response) => {
        read(response).then(resolve, (error: unknown) => reject(failed(error)));
      },
    );
    asked.on('error', (error) => reject(failed(error)));
    asked.end(body);
  });
}

/** Aborted when the time for a request is over. */
export function lateOf({ timeoutSeconds }: AskOptions): AbortSignal {
  return AbortSignal.timeout(Math.ceil(timeoutSeconds * 1000));
}

async function read(response: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > answerBytes) {
      response.destroy();
      throw new Error(`The answer is over ${answerBytes} bytes.`);
    }
    chunks.push(chunk);
  }
  const body = Buffer.concat(chunks).toString('utf8');
  return { status: response.statusCode ?? 0, headers: response.headers, body };
}

function departure({ reason }: AbortSignal): RelayError {
  if (reason instanceof RelayError) return reason;
  return new RelayError('normal', 'The session ended before the upstream was reached.', { cause: reason });
}
