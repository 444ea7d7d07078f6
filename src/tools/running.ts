/** The time of one call, what ends it, and what its end is told as. */

import { RequestError, type RequestProblem } from '../outbound/request.js';
import type { ServedTool } from '../policy/tools.js';
import type { Json } from '../protocol/event.js';
import { readJson } from '../protocol/json.js';
import { didFail, givenUp, timedOut } from './texts.js';
import type { Tool, ToolCall, ToolErrorKind, ToolResult } from './tool.js';

/** What is known of an answer besides its text. */
type Facts = Pick<ToolResult, 'status' | 'azure'> & { readonly bytes?: number };

/** What an endpoint did that cannot be used. Its message is for the log, and holds nothing of arguments and claims. */
export class ToolFailure extends Error {
  constructor(
    readonly kind: ToolErrorKind,
    message: string,
    readonly facts: Facts = {},
  ) {
    super(message);
  }
}

/** What is left of a call. */
export interface Span {
  /** Aborted when the time is over, and when the call is given up. */
  readonly signal: AbortSignal;
  leftMs(): number;
}

class OutOfTime extends Error {}

/** Makes a tool's `run` of what it does, which may throw and need not look at the clock. */
export function running(
  { timeout_seconds: seconds }: ServedTool,
  work: (call: ToolCall, span: Span) => Promise<ToolResult>,
): NonNullable<Tool['run']> {
  return async (call, signal) => {
    const totalMs = Math.round(call.leftMs ?? seconds * 1000);
    const due = performance.now() + totalMs;
    const stop = new AbortController();
    const giveUp = () => stop.abort(signal.reason);
    const timer = setTimeout(() => stop.abort(new OutOfTime()), totalMs);
    signal.addEventListener('abort', giveUp, { once: true });
    if (signal.aborted) giveUp();
    try {
      stop.signal.throwIfAborted();
      return await work(call, { signal: stop.signal, leftMs: () => Math.max(1, due - performance.now()) });
    } catch (error) {
      if (signal.aborted) {
        return signal.reason === 'ended'
          ? givenUp('ended', 'The session ended.')
          : givenUp('interrupted', 'Interrupted.');
      }
      return stop.signal.aborted ? timedOut(`Not done within ${totalMs} ms.`) : endOf(error);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', giveUp);
    }
  };
}

const kinds: Readonly<Record<Exclude<RequestProblem, 'timeout'>, ToolErrorKind>> = {
  address: 'address',
  proxy: 'proxy',
  network: 'network',
  too_big: 'too_big',
};

function endOf(error: unknown): ToolResult {
  if (error instanceof ToolFailure) {
    return { ...didFail(error.kind, error.message), ...error.facts };
  }
  if (error instanceof RequestError) {
    const message = error.message.slice(0, 300);
    return error.problem === 'timeout' ? timedOut(message) : didFail(kinds[error.problem], message);
  }
  // Whatever it is, it is ours, and its words might hold anything.
  return didFail('internal', error instanceof Error ? error.name : 'unknown');
}

/** A result, for whom the tool says. */
export function brought(tool: ServedTool, text: string, facts: Facts): ToolResult {
  const { result } = tool;
  return {
    outcome: 'ok',
    output: result === 'client' ? '' : text,
    ...(result !== 'model' && { result: jsonOr(text) }),
    bytes: 0,
    ...facts,
  };
}

/** What a value that clients are told may be: one that is nested too deep could not be written again. */
const tellable = { depth: 32, keys: Number.POSITIVE_INFINITY, allows: 'any' } as const;

/** The JSON value of a text, or else the text. */
function jsonOr(text: string): Json {
  const reading = readJson(text, tellable);
  return reading.fault === null ? reading.value : text;
}
