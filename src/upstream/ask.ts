/** One HTTP request to an upstream, for what is not a WebSocket. It fails as a dial does. */

import type { IncomingHttpHeaders } from 'node:http';
import { untilAborted } from '../outbound/abort.js';
import { RequestError, request } from '../outbound/request.js';
import { type CredentialHeader, secretsOf } from './authorizer.js';
import { type DialOptions, departure, userAgent } from './dial.js';
import { DialFailure, exitOf, failureOfCredential, failureOfError, failureOfPatience } from './failure.js';
import type { UpstreamTarget } from './target.js';

/** What one request needs; `signal` and `timeoutSeconds` are as for a dial. */
export type AskOptions = Pick<DialOptions, 'requestId' | 'signal' | 'timeoutSeconds'>;

/** What upstream answered. */
export interface HttpAnswer {
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
): Promise<{ answer: HttpAnswer; secrets: readonly string[] }> {
  const { authorize, proxy } = upstream;
  const late = what.late ?? lateOf(what);
  const within = { ...what, late };
  const stop = AbortSignal.any([what.signal, late]);
  const header = await untilAborted(authorize.header(), stop).catch((error: unknown) => {
    if (what.signal.aborted) throw departure(what.signal, 'credential');
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
export async function ask(upstream: UpstreamTarget, header: CredentialHeader, what: Ask): Promise<HttpAnswer> {
  const { endpoint, proxy } = upstream;
  const { requestId, signal, timeoutSeconds, path, type, body = '' } = what;
  const secrets = secretsOf(header, proxy);
  const late = what.late ?? lateOf(what);
  try {
    const answer = await request({
      url: new URL(path, endpoint),
      method: 'POST',
      headers: {
        [header.name]: header.value,
        'user-agent': userAgent,
        'x-ms-client-request-id': requestId,
        ...(type !== undefined && { 'content-type': type }),
      },
      body,
      signal: AbortSignal.any([signal, late]),
      timeoutMs: timeoutSeconds * 1000,
      maxBytes: answerBytes,
      proxy: proxy ?? null,
    });
    return { ...answer, body: answer.body.toString('utf8') };
  } catch (error) {
    const where = `POST ${path.replace(/\/rtc_[^/?]+/, '/{call}')}`;
    if (signal.aborted) throw departure(signal, where);
    if (late.aborted) throw exitOf(failureOfPatience(`Not done within ${timeoutSeconds} s`, where));
    throw exitOf(failureOfRequest(error, where, secrets));
  }
}

/** Aborted when the time for a request is over. */
export function lateOf({ timeoutSeconds }: AskOptions): AbortSignal {
  return AbortSignal.timeout(Math.ceil(timeoutSeconds * 1000));
}

/** An error that is none of a request's comes from what it was made of. */
function failureOfRequest(error: unknown, where: string, secrets: readonly string[]): DialFailure {
  if (!(error instanceof RequestError)) return failureOfError(new Error('The request failed.'), where, secrets);
  const { problem, status } = error;
  if (problem === 'timeout') return failureOfPatience(error.message, where);
  if (status !== null) return new DialFailure('proxy', error.message, { status });
  return failureOfError(error, problem === 'proxy' ? 'proxy' : where, secrets);
}
