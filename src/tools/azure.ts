/** Azure AI Search over REST: as whom it is asked, what is asked again, and what may be told of its errors. */

import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { OutboundAnswer } from '../outbound/request.js';
import type { SearchTool } from '../policy/tools.js';
import { isObject, type JsonObject, objectOf } from '../protocol/event.js';
import { bearerOf, commonHeaders, createAsk, type ToolPorts, textOf, userAgent } from './asking.js';
import { type Span, ToolFailure } from './running.js';
import type { AzureFacts, ToolCall } from './tool.js';

const maxBytes = 1024 * 1024;
const maxAttempts = 4;
const firstPauseMs = 200;
const maxMessage = 200;
const maxRead = 4000;
/** Names of search services, which private endpoints resolve to private addresses. */
const service = /\.search\.(?:windows\.net|azure\.us|azure\.cn)$/;

/** What came of a search. */
export interface Found {
  readonly hits: readonly JsonObject[];
  readonly status: number;
  readonly bytes: number;
  readonly azure: AzureFacts;
}

/** What is searched, and what of it must not be in a log. */
interface Wanted {
  readonly body: JsonObject;
  readonly hidden: readonly string[];
}

/** Searches an index; rejects with a ToolFailure or as its requests do. */
export type Search = (wanted: Wanted, call: ToolCall, span: Span) => Promise<Found>;

/** Makes what searches the index of a tool. */
export function createSearch({ search }: SearchTool, ports: ToolPorts): Search {
  const url = new URL(`/indexes/${search.index}/docs/search`, search.endpoint);
  url.searchParams.set('api-version', search.api_version);
  const ask = createAsk(url, search.private ?? service.test(url.hostname), ports);
  const { api_key: key, scope } = search;

  return async ({ body, hidden }, call, span) => {
    let token = key === undefined ? await bearerOf(ports.credentials.token(scope), span) : null;
    let isRenewed = false;
    for (let attempt = 1; ; ) {
      const clientRequestId = randomUUID();
      const headers = {
        accept: 'application/json',
        'content-type': 'application/json',
        'user-agent': userAgent,
        'x-ms-client-request-id': clientRequestId,
        ...(token === null ? { 'api-key': key ?? '' } : { authorization: `Bearer ${token}` }),
        ...commonHeaders(call),
      };
      const answer = await ask({ url, method: 'POST', headers, body: JSON.stringify(body), maxBytes }, span);
      const { status } = answer;
      // 206: without the ranking, or with a part of it, as was asked for.
      if (status === 200 || status === 206) return found(answer, clientRequestId);
      if (status === 401 && token !== null && !isRenewed) {
        isRenewed = true;
        token = await bearerOf(ports.credentials.refresh(scope, token), span);
        continue;
      }
      const waitMs = (status === 429 || status === 503) && attempt < maxAttempts ? pauseOf(answer, attempt) : null;
      if (waitMs === null || waitMs >= span.leftMs()) throw refusal(answer, clientRequestId, hidden);
      attempt++;
      await pause(waitMs, undefined, { signal: span.signal });
    }
  };
}

/** What `Retry-After` says, in seconds or as a date; without it longer each time. */
function pauseOf({ headers }: OutboundAnswer, attempt: number): number {
  const after = headers['retry-after']?.trim() ?? '';
  if (/^\d+$/.test(after)) return Number(after) * 1000;
  const at = Date.parse(after);
  if (!Number.isNaN(at)) return Math.max(0, at - Date.now());
  return firstPauseMs * 2 ** (attempt - 1) * (0.75 + Math.random() / 2);
}

function factsOf({ status, headers, body }: OutboundAnswer, clientRequestId: string) {
  const requestId = headers['request-id'];
  const azure = {
    ...(typeof requestId === 'string' && { requestId: requestId.slice(0, 100) }),
    clientRequestId,
  };
  return { status, bytes: body.length, azure };
}

function found(answer: OutboundAnswer, clientRequestId: string): Found {
  const facts = factsOf(answer, clientRequestId);
  const { value } = objectOf(jsonOf(textOf(answer)));
  if (!Array.isArray(value)) throw new ToolFailure('body', 'The answer is no list of results.', facts);
  return { ...facts, hits: value.filter(isObject) };
}

function refusal(answer: OutboundAnswer, clientRequestId: string, hidden: readonly string[]): ToolFailure {
  const facts = factsOf(answer, clientRequestId);
  const { code, message } = objectOf(objectOf(jsonOf(answer.body.toString())).error);
  const azure = { ...facts.azure, ...(typeof code === 'string' && /^[\w.-]{1,100}$/.test(code) && { code }) };
  const words = typeof message === 'string' ? `: ${without(beginOf(message), hidden).slice(0, maxMessage)}` : '.';
  return new ToolFailure('status', `Azure AI Search answered with HTTP ${facts.status}${words}`, { ...facts, azure });
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** As much of a message as is looked through, up to a whole word. */
function beginOf(message: string): string {
  return message.length <= maxRead ? message : message.slice(0, maxRead).replace(/\S*$/, '');
}

/** A message without these texts, nor single words of them: it may quote what was searched, and for whom. */
function without(message: string, hidden: readonly string[]): string {
  const words = hidden.flatMap((text) => [
    text,
    ...text.split(/[^\p{L}\p{N}_@.-]+/u).filter((word) => word.length > 2),
  ]);
  return [...new Set(words)]
    .filter((word) => word !== '')
    .sort((a, b) => b.length - a.length)
    .reduce(
      (text, word) => text.replace(new RegExp(word.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'), 'giu'), '…'),
      message,
    );
}
