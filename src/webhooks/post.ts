/** One attempt to deliver a message, signed as Standard Webhooks says. */

import { request } from '../outbound/request.js';
import { signedHeaders } from '../outbound/sign.js';

/** What is sent, and where. */
interface Letter {
  readonly url: string;
  /** One, or two while one takes the place of the other: the new one first. */
  readonly keys: readonly Buffer[];
  /** The same at every attempt. */
  readonly id: string;
  readonly body: string;
  readonly proxy: string | null;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** How an attempt went: the problem is null when the message has arrived. */
export interface Posted {
  readonly problem: unknown;
  /** Null when there was no answer. */
  readonly status: number | null;
  /** How long the receiver wants to be left alone; 0 when it does not say. */
  readonly retryAfterMs: number;
}

/** Sends once; never rejects. A redirect is no arrival, and is not followed. */
export async function post({ url, keys, id, body, proxy, timeoutMs, signal }: Letter): Promise<Posted> {
  try {
    const { status, headers } = await request({
      url,
      method: 'POST',
      headers: { 'content-type': 'application/json', ...signedHeaders(keys, id, body) },
      body,
      signal,
      timeoutMs,
      // Whatever it says is of no interest, and could be endless.
      maxBytes: 0,
      proxy,
    });
    const hasArrived = status >= 200 && status <= 299;
    return {
      problem: hasArrived ? null : new Error(`the webhook answered ${status}`),
      status,
      retryAfterMs: waitOf(headers['retry-after']),
    };
  } catch (problem) {
    return { problem, status: null, retryAfterMs: 0 };
  }
}

/** Source: RFC 9110 section 10.2.3, seconds or a date. */
function waitOf(header: string | undefined): number {
  if (header === undefined) return 0;
  const ms = /^\d{1,9}$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : 0;
}
