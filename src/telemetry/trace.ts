/**
 * Traces of sessions, through the OpenTelemetry API alone: without an SDK in the process every call here does nothing, and
 * nothing here is called for an event. Attributes come from closed sets and ids of the relay's own; never content.
 */

import { type Context, context, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { ExitId } from '../errors.js';
import { inTime } from '../wait.js';

/** What a span of this relay may say. */
export interface TraceAttributes {
  readonly 'relay.session.id'?: string;
  readonly 'relay.request.id'?: string;
  readonly 'relay.profile'?: string;
  readonly 'relay.dialect'?: string;
  readonly 'relay.upstream'?: string;
  readonly 'relay.upstream.dialect'?: string;
  /** An exit id, or the outcome of a dial or a call. */
  readonly 'relay.reason'?: string;
  readonly 'relay.initiator'?: string;
  readonly 'relay.turns'?: number;
  /** A configured name, or `other`. */
  readonly 'relay.tool'?: string;
  readonly 'http.response.status_code'?: number;
}

/** A part of a session, reported when it is over; times are in milliseconds since the epoch. */
export interface TracePart {
  readonly from: number;
  readonly to: number;
  readonly attributes: TraceAttributes;
  /** Why it failed, from a closed set; absent when it did not. */
  readonly failure?: string | undefined;
}

/** The trace of one session: a span for the whole, and one for each part. */
export interface SessionTrace {
  /** Names the session's span to whom it asks (W3C Trace Context); nothing where none is recorded. */
  readonly traceparent: string | undefined;
  /** A part on the way to the upstream or to a tool. */
  part(name: 'dial' | 'configure' | 'tool' | 'replace', part: TracePart): void;
  /** Ends the session's span; the time is in milliseconds since the epoch. */
  end(reason: ExitId, at: number, attributes: TraceAttributes): void;
}

/** Ends that come by the clock, by a goodbye, by a phone in a tunnel or by an operator's hand: not an error of anybody's. */
const expected: ReadonlySet<ExitId> = new Set([
  'normal',
  'client_lost',
  'idle_timeout',
  'session_expired',
  'token_expired',
  'revoked',
  'ended_by_backend',
  'draining',
]);

/**
 * Begins the span `session`, under the span a client's `traceparent` names (W3C Trace Context; the SDK's propagator
 * judges it). Baggage and `tracestate` of a client are not read: they would carry its text into the trace.
 */
export function traceSession(
  traceparent: string | undefined,
  startTime: number,
  attributes: TraceAttributes,
): SessionTrace {
  const tracer = trace.getTracer('realtime-relay');
  const outer: Context =
    traceparent === undefined ? context.active() : propagation.extract(context.active(), { traceparent });
  const options = { kind: SpanKind.SERVER, startTime, attributes: { ...attributes } };
  const span = tracer.startSpan('session', options, outer);
  // Asked now: a dial that is given up is reported just after the session's span has ended.
  if (!span.isRecording()) return untraced;
  const inner = trace.setSpan(outer, span);
  const carrier: { traceparent?: string } = {};
  propagation.inject(inner, carrier);
  return {
    traceparent: carrier.traceparent,
    part(name, { from, to, attributes, failure }) {
      const part = tracer.startSpan(
        name,
        { kind: SpanKind.CLIENT, startTime: from, attributes: { ...attributes } },
        inner,
      );
      if (failure !== undefined) part.setStatus({ code: SpanStatusCode.ERROR, message: failure });
      part.end(to);
    },
    end(reason, at, attributes) {
      span.setAttributes({ ...attributes, 'relay.reason': reason });
      if (!expected.has(reason)) span.setStatus({ code: SpanStatusCode.ERROR, message: reason });
      span.end(at);
    },
  };
}

/** What most sessions have: without an SDK none is recorded, and with one only those it samples. */
const untraced: SessionTrace = { traceparent: undefined, part: () => undefined, end: () => undefined };

const flushMs = 2000;

/** Hands over to the SDK's exporter what it still holds, as the process is about to end; resolves when it has, or gave up. */
export async function flushTraces(): Promise<void> {
  const proxy = trace.getTracerProvider() as { getDelegate?(): object };
  const provider = (proxy.getDelegate?.() ?? proxy) as { forceFlush?(): Promise<void> };
  if (!provider.forceFlush) return;
  await inTime(provider.forceFlush(), flushMs);
}
