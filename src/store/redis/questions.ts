/** What this replica asks others, and they it: each question is heard once, and answered in time or not at all. */

import { randomBytes } from 'node:crypto';
import { RelayError } from '../../errors.js';
import { inTime } from '../../wait.js';
import type { Envelope } from './envelopes.js';

/** Writes it down for others; resolves to the replicas that live. Rejects with `store_unavailable`. */
export type Send = (envelope: Omit<Envelope, 'from'>) => Promise<readonly string[]>;

/** Behind so many an answer would come too late anyway. */
const mostWaiting = 1000;
/** A question is not heard again for longer than it could be opened. */
const rememberedMs = 15_000;
const mostRemembered = 20_000;

/** What came back: of each replica that was asked its answer; null where none came in time. */
export type Answers = readonly (string | null)[];

export class Questions {
  readonly #replica: string;
  readonly #send: Send;
  readonly #waiting = new Map<string, (from: string, answer: string) => void>();
  /** Those that were heard, by when. */
  readonly #heard = new Map<string, number>();
  #asked: (question: string) => Promise<string> = async () => '';

  constructor(replica: string, send: Send) {
    this.#replica = replica;
    this.#send = send;
  }

  /** Says who answers; it must not reject. */
  attend(asked: (question: string) => Promise<string>): void {
    this.#asked = asked;
  }

  /**
   * Asks a replica, or all others where it is null. Rejects with `store_unavailable` when nobody could be asked.
   * @param isEnough whether nobody else needs to be waited for
   */
  async ask(
    to: string | null,
    question: string,
    withinMs: number,
    isEnough: (answer: string) => boolean = () => false,
  ): Promise<Answers> {
    if (this.#waiting.size >= mostWaiting) {
      throw new RelayError('store_unavailable', 'Too much is being asked of other replicas.', { retryAfterMs: 2000 });
    }
    const id = randomBytes(12).toString('base64url');
    const answers = new Map<string, string>();
    let wait: (() => void) | null = null;
    this.#waiting.set(id, (from, answer) => {
      if (!answers.has(from)) answers.set(from, answer);
      wait?.();
    });
    const started = performance.now();
    try {
      const living = await this.#send({ kind: 'ask', to: to ?? '*', id, text: question });
      const asked = living.filter((replica) => (to === null ? replica !== this.#replica : replica === to));
      const all = new Promise<void>((resolve) => {
        wait = () => {
          if (asked.every((replica) => answers.has(replica)) || [...answers.values()].some(isEnough)) resolve();
        };
        wait();
      });
      await inTime(all, Math.max(0, withinMs - (performance.now() - started)));
      return asked.map((replica) => answers.get(replica) ?? null);
    } finally {
      this.#waiting.delete(id);
    }
  }

  /** To be called with what others ask and answer. */
  async received({ kind, from, id, text }: Envelope): Promise<void> {
    if (kind === 'answer') this.#waiting.get(id)?.(from, text);
    else if (this.#isNew(`${from} ${id}`)) {
      const answer = await this.#asked(text);
      await this.#send({ kind: 'answer', to: from, id, text: answer });
    }
  }

  #isNew(id: string): boolean {
    const now = performance.now();
    for (const [known, at] of this.#heard) {
      if (at + rememberedMs > now) break;
      this.#heard.delete(known);
    }
    // What could be another's repeat is not done; who asked hears nothing, and asks again.
    if (this.#heard.has(id) || this.#heard.size >= mostRemembered) return false;
    this.#heard.set(id, now);
    return true;
  }
}
