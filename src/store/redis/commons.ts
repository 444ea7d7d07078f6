/** All that this replica has in common with others: keeps it up in Redis while the replica lives, and sets it right when Redis is back. */

import { randomBytes } from 'node:crypto';
import { inTime } from '../../wait.js';
import type { MemoryStore } from '../memory.js';
import { connect, type RedisPlace } from './connection.js';
import { type Keys, keysUnder } from './keys.js';
import { type Ask, Link, type LinkEvents, patientMs, type RedisCall } from './link.js';
import { epoch } from './scripts.js';
import { RedisStore } from './shared.js';

/** What is seen of Redis; none of it may throw. */
export interface CommonsEvents extends Pick<LinkEvents, 'answered' | 'failed' | 'away'> {
  /** It answers again after so long: how many sessions it is told of anew, and how many of them owe something. */
  back(back: { awayMs: number; sessions: number; debts: number }): void;
  /** It has lost what it had. */
  emptied(): void;
  /** Sessions that go on without a place in Redis, asked after each heartbeat. */
  overLimit(sessions: number): void;
  /** Something was read that is not of the right form. */
  invalid(call: RedisCall): void;
}

interface CommonsOptions {
  readonly place: RedisPlace;
  readonly prefix: string;
  readonly local: MemoryStore;
  readonly whenLost: () => 'local' | 'refuse';
  readonly on: CommonsEvents;
}

const beatMs = 20_000;
/** Replicas must not beat together. */
const jitter = 0.1;
/** How long a start waits for Redis. */
const startMs = 5000;

export class Commons {
  readonly store: RedisStore;
  readonly link: Link;
  readonly keys: Keys;
  readonly #on: CommonsEvents;
  /** What names this content of Redis, as far as it is known. */
  #epoch: string | null = null;
  #isLost = false;
  #timer: NodeJS.Timeout | null = null;
  #isClosed = false;

  constructor({ place, prefix, local, whenLost, on }: CommonsOptions) {
    this.#on = on;
    this.keys = keysUnder(prefix);
    this.link = new Link((lost) => connect(place, lost), this.keys.probe, {
      answered: (call, seconds) => on.answered(call, seconds),
      failed: (call, error) => on.failed(call, error),
      away: (call, error, isAtStart) => on.away(call, error, isAtStart),
      returning: (ask) => this.#returning(ask),
      back: (awayMs) => this.#back(awayMs),
    });
    const invalid = (call: RedisCall) => on.invalid(call);
    this.store = new RedisStore({ link: this.link, keys: this.keys, local, whenLost, invalid });
  }

  /** Waits for Redis for a while, and then goes on without. */
  async start(): Promise<void> {
    this.#beatLater();
    if (await inTime(this.link.start(), startMs)) return;
    this.link.startsAway();
  }

  /** Gives back what this process holds, and lets go of Redis. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#timer) clearTimeout(this.#timer);
    await this.store.close();
    this.link.close();
  }

  async #returning(ask: Ask): Promise<void> {
    await this.#look(ask);
  }

  #back(awayMs: number | null): void {
    if (awayMs === null) return;
    const { inDebt: debts, size: sessions } = this.store.holders;
    this.#on.back({ awayMs, sessions, debts });
    void this.#beat();
  }

  /** Looks whether Redis has what it had, and keeps its name up. */
  async #look(ask: Ask): Promise<void> {
    const own = randomBytes(12).toString('base64url');
    const answer = await ask('heartbeat', epoch, () => ({ keys: [this.keys.common('e')], args: [own] }), patientMs);
    const [, name] = Array.isArray(answer) ? answer : [];
    if (typeof name !== 'string') return;
    if (this.#epoch !== null && this.#epoch !== name) {
      this.#isLost = true;
      this.#on.emptied();
    }
    this.#epoch = name;
  }

  #beatLater(): void {
    if (this.#isClosed) return;
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#beat(), beatMs * (1 - jitter + 2 * jitter * Math.random()));
    this.#timer.unref();
  }

  async #beat(): Promise<void> {
    try {
      if (this.link.isUp) await this.#keepUp();
    } catch (error) {
      // The link has told of a Redis that does not answer; all else would be a fault of ours, and the next beat tries again.
      this.#on.failed('heartbeat', error);
    }
    this.#beatLater();
  }

  async #keepUp(): Promise<void> {
    const { ask } = this.link;
    await this.link.measure();
    await this.#look(ask);
    const isLost = this.#isLost;
    await this.store.holders.beat(ask, isLost);
    if (isLost) this.#isLost = false;
    this.#on.overLimit(this.store.holders.overLimit);
  }
}
