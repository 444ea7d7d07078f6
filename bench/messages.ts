/** What the benchmark tells its load generator and its fake upstream, and what they answer. */

export type Command =
  | { readonly do: 'reset' | 'report' | 'stop' | 'pace' | 'hold' | 'close' }
  | { readonly do: 'flood'; readonly what: 'audio' | 'text'; readonly count: number }
  | { readonly do: 'connect' | 'knock'; readonly url: string; readonly count: number; readonly token: string }
  | { readonly do: 'large'; readonly bytes: number };

export interface Report {
  /** Events received since the last reset. */
  readonly events: number;
  /** One-way latencies of stamped events, in microseconds. */
  readonly latencies: readonly number[];
  readonly sessions: number;
  /** Milliseconds the command took, where that is of interest. */
  readonly milliseconds?: number;
}
