/** What tools need of whoever owns the answers of a conversation. */

import type { JsonObject } from '../protocol/event.js';

/**
 * `answered`: upstream has given it. `settled`: another response has answered the same. `dropped`: nobody waits for it any more.
 * `refused`: upstream will not.
 */
export type WantEnd = 'answered' | 'settled' | 'dropped' | 'refused';

/** An answer that is wanted because of what a response called. */
interface Want {
  /** `follow-up`: to what its calls brought. `filler`: while they run; it answers nothing. */
  readonly kind: 'follow-up' | 'filler';
  /** The response that made the calls, whose turn it goes on with. */
  readonly after: string;
  readonly response?: JsonObject;
  /** Told once what has become of it. */
  ended?(how: WantEnd): void;
}

/** A want that was placed. */
export interface Placed {
  /** Upstream has taken all that a follow-up is about: any response of the conversation that begins from now on settles it. */
  acknowledged(): void;
  /** It is not wanted any more; does nothing when it is asked for already. */
  drop(): void;
}

/** The answers of one conversation, one at a time. */
export interface Answering {
  /** Asks for a response as soon as none runs and nobody speaks. */
  want(want: Want): Placed;
  /** Keeps back the client's next `response.create` until what is returned is called: what it is about is not complete. */
  keep(): () => void;
}
