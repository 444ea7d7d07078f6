/** State that outlives one session: places, what is held of budgets, and secrets that are used once. */

/** What places are counted for; each has room of its own, so that one can never keep the other out. */
export const purposes = ['sessions', 'issuers', 'addresses', 'keys'] as const;
export type Purpose = (typeof purposes)[number];

/**
 * What is counted together, in one step and by all replicas: `t:` and a tenant, or `u:` and a user without one. Null: what each
 * replica counts for itself.
 */
type Group = string | null;

/** One of the places under a key. */
export interface Place {
  readonly purpose: Purpose;
  readonly group: Group;
  /** Whose places they are. */
  readonly key: string;
  /** How many of them there are. */
  readonly limit: number;
  /** When it runs out unless it is entered again. */
  readonly ttlSeconds: number;
}

/** What is wanted of one budget of a day, in whole units: sessions, seconds or tokens. */
export interface Reservation {
  /** Its name, without the day: which day it is, the store's clock says. */
  readonly counter: string;
  readonly group: Group;
  readonly limit: number;
  /** Held at the most; 0: nothing more is wanted. */
  readonly most: number;
  /** Held at least, where so much is left, however many reserve. */
  readonly least: number;
  /** Whether what others hold counts as used: then the limit holds at any race. */
  readonly isExact: boolean;
}

/** What a session has used of one budget since it began. */
export interface Total extends Reservation {
  readonly total: number;
  /** The total that the store has last acknowledged: it counts from there where it remembers none. */
  readonly told: number;
}

/** What a budget gave. */
export interface Reserved {
  /** Used today by everybody, as far as it was settled. */
  readonly used: number;
  /** Held for this holder; 0 where others hold all that is left. */
  readonly held: number;
  /** Whether nothing more is to be had today: all is used, or all of an exact one is used or held. */
  readonly isSpent: boolean;
}

/** Who asks to come in. */
export interface Entry {
  readonly place: Place;
  readonly holds: readonly Reservation[];
  /** Unique among all who ever ask. */
  readonly holder: string;
  /** The process for which the holder asks; an empty text outlives every process. */
  readonly owner: string;
}

/** What came of it. */
export type Entered =
  | {
      /** It has a place and a part of each budget. */
      readonly outcome: 'in';
      /** In the order of the holds; empty for who was in already. */
      readonly reserved: readonly Reserved[];
      /** When the day of the budgets ends, in milliseconds since 1970. */
      readonly dayEnds: number;
    }
  /** The places under the key are taken. */
  | { readonly outcome: 'taken' }
  /** There is no room for this purpose at all. */
  | { readonly outcome: 'full' }
  /** A budget is spent; `counter` is its number among the holds. */
  | { readonly outcome: 'spent'; readonly counter: number; readonly used: number; readonly dayEnds: number };

/** What came of settling, in the order of the totals. */
export interface Settled {
  readonly reserved: readonly Reserved[];
  readonly dayEnds: number;
}

/** A text that is had once. */
export interface OneTime {
  readonly key: string;
  /** At most 64 KiB. */
  readonly value: string;
  readonly ttlSeconds: number;
  /** Whose it is, and how many of theirs may wait to be taken. */
  readonly of: string;
  readonly limit: number;
}

/**
 * What is shared between sessions, and between processes when the form behind it is. Every call but `put`, `look` and `take`
 * may be repeated when its answer did not come: what was done is not done twice. A limit that is reached is an answer; a
 * rejection is a store that is closed, out of reach or wrong.
 */
export interface Store {
  /**
   * Takes a place and a part of every budget, all of them or nothing, in one atomic step: of calls made at once each sees
   * the outcome of all before it. A holder that is in keeps what it has and its place for another `ttlSeconds`, also when a
   * limit has become lower: that is how a place is renewed. A place that ran out is taken anew, as by anybody else.
   * A part is at most `most`, and at most what is left ÷ (4 × those who reserve).
   */
  enter(entry: Entry): Promise<Entered>;
  /**
   * Tells what a session has used since it began and reserves its next part. Atomic for each budget, not over all of them. The
   * difference to the last total counts as used, whatever the limit is. Who has left or was never in holds nothing more.
   */
  settle(holder: string, totals: readonly Total[]): Promise<Settled>;
  /** Gives back the place and what is held, atomically. What was settled stays used, and totals may still be told. */
  leave(holder: string): Promise<void>;
  /** As `leave` for all of one owner, which is no more. Atomic for each holder. */
  forget(owner: string): Promise<void>;
  /**
   * Keeps a text to be taken once, in place of an earlier one of its key. Atomic. `taken`: as many of its owner's wait as may;
   * `full`: there is no room for any.
   */
  put(text: OneTime): Promise<'kept' | 'taken' | 'full'>;
  /** Gets a text and leaves it there; null when unknown, taken or run out. */
  look(key: string): Promise<string | null>;
  /** Gets and deletes a text, atomically: of any number of calls at once exactly one has it. */
  take(key: string): Promise<string | null>;
  /** Ends it here, with what this process holds: the memory form forgets everything. Afterwards all but `leave`, `forget` and `settle` reject with `draining`. */
  close(): Promise<void>;
}
