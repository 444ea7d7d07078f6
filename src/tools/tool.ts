/** What a tool is to a session: how it is called, and what comes of a call. Of the life of a session nothing is known here. */

import type { Bounded } from '../policy/bounded.js';
import type { ProfileTool } from '../policy/tools.js';
import type { Json, JsonObject } from '../protocol/event.js';

/** For whom a tool is called: what a verified token says of the user. */
interface ToolUser {
  readonly issuer: string;
  readonly tenant: string | null;
  readonly subject: string;
  readonly claims: Readonly<Record<string, unknown>>;
}

/** One call as the model made it. */
export interface ToolCall {
  readonly name: string;
  readonly callId: string;
  /** JSON text, as the model wrote it. */
  readonly arguments: string;
  readonly session: {
    /** The one of `session.created`. */
    readonly id: string;
    /** The hits that searches of this session have shown the model: only those may be cited. */
    readonly citable: Bounded<true>;
  };
  readonly requestId: string;
  readonly principal: ToolUser;
  /** W3C Trace Context for the endpoint; left out when nothing is traced. */
  readonly traceparent?: string | undefined;
  /** Milliseconds that are left of its time, when some of it was waited for a place. Left out: all of it. */
  readonly leftMs?: number | undefined;
}

/** How a call ended; the label of metrics, and what the log says. */
export type ToolOutcome = 'ok' | 'timeout' | 'failed' | 'invalid_arguments' | 'refused' | 'aborted';

/** Why a call did not end well, for the log. */
export type ToolErrorKind =
  | 'address'
  | 'proxy'
  | 'network'
  | 'timeout'
  | 'too_big'
  | 'status'
  | 'type'
  | 'encoding'
  | 'body'
  | 'token'
  | 'claim'
  | 'arguments'
  | 'limit'
  | 'unknown'
  | 'internal'
  | 'interrupted'
  | 'ended';

/** What Azure says of a request, for its support. */
export interface AzureFacts {
  /** Its `error.code`. */
  readonly code?: string | undefined;
  readonly requestId?: string | undefined;
  readonly clientRequestId: string;
}

/** What came of one call. */
export interface ToolResult {
  readonly outcome: ToolOutcome;
  /** What the model is given: never anything of an endpoint's errors. */
  readonly output: string;
  /** What a client may be told; absent where its tool tells clients nothing, and where there is nothing to tell. */
  readonly result?: Json | undefined;
  /** Bytes of the endpoint's answer. */
  readonly bytes: number;
  /** HTTP status of the endpoint's answer. */
  readonly status?: number | undefined;
  /** For the log alone. The message holds nothing of arguments and claims. */
  readonly error?: { readonly kind: ToolErrorKind; readonly message: string } | undefined;
  readonly azure?: AzureFacts | undefined;
}

/** What a client is told of a call that went well. */
export interface ClientResult {
  readonly tool: string;
  readonly callId: string;
  /** The item of the call. */
  readonly itemId: string | null;
  readonly result: Json;
}

/** The arguments of a call, or why they are none, in words for the model. */
export type Judged = { readonly arguments: JsonObject } | { readonly problem: string };

/** A tool of a profile, ready to be called. */
export interface Tool {
  /** As it was configured, with the defaults. */
  readonly configured: ProfileTool;
  /** Holds the arguments of a call against their schema; nothing is coerced or filled in. */
  judge(args: string): Judged;
  /**
   * Runs a call to its end, which comes within its time; never rejects. An abort of the signal ends it at once, as
   * `aborted`: the reason is `interrupted` or `ended`. Null for a tool that somebody else runs: a client or a backend.
   */
  readonly run: ((call: ToolCall, signal: AbortSignal) => Promise<ToolResult>) | null;
}
