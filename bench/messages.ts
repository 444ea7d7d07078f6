/** What the benchmark tells its load generator and its fake upstream, and what they answer. */

/** What a flood is of. */
export type Flooded = 'audio' | 'text' | 'bare text';

export type Command =
  | { readonly do: 'reset' | 'report' | 'stop' | 'pace' | 'hold' | 'large' }
  | { readonly do: 'flood'; readonly what: Flooded; readonly count: number }
  | { readonly do: 'connect' | 'knock'; readonly url: string; readonly count: number; readonly token: string }
  | { readonly do: 'prepare'; readonly bytes: number };

export interface Report {
  /** Events sent and received since the last reset. */
  readonly sent: number;
  readonly events: number;
  /** Events that came out of order or changed, ever. */
  readonly faults: number;
  /** One-way latencies of stamped events, in microseconds. */
  readonly latencies: readonly number[];
  readonly sessions: number;
  /** Milliseconds the command took, where that is of interest. */
  readonly milliseconds?: number;
}
