/** All that this replica has in common with others: kept up in Redis while the replica lives, and set right when Redis is back. */

import { randomBytes } from 'node:crypto';
import { inTime } from '../../wait.js';
import type { MemoryStore } from '../memory.js';
import type { Revocations } from '../revocations.js';
import { connect, type RedisPlace } from './connection.js';
import { type Keys, keysUnder } from './keys.js';
import { type Ask, Link, type LinkEvents, patientMs, type RedisCall } from './link.js';
import { Post } from './post.js';
import { type Fields, Reader } from './reader.js';
import { Roll } from './roll.js';
import { named, policy } from './scripts.js';
import { RedisStore } from './shared.js';
import { Withdrawals } from './withdrawals.js';

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
  /** When it is full it throws away what is needed. */
  evicts(policy: string): void;
  /** Another relay, with other issuers, has the same prefix. */
  foreign(): void;
}

interface CommonsOptions {
  readonly place: RedisPlace;
  readonly prefix: string;
  /** What this replica is called by. */
  readonly replica: string;
  /** What this relay is known by: that of others with the same prefix must be the same. */
  readonly identity: string;
  /** The operator's keys in base64, the one that seals first; empty: Redis has one itself. */
  readonly secrets: readonly string[];
  /** The copy of what is withdrawn, and how much may be. */
  readonly revocations: Revocations;
  readonly mostRevocations: () => number;
  readonly local: MemoryStore;
  readonly whenLost: () => 'local' | 'refuse';
  readonly on: CommonsEvents;
  /** Left out: as usual. */
  readonly connect?: typeof connect;
}

const heartbeatMs = 20_000;
/** Replicas must not beat together. */
const jitter = 0.1;
/** How long a start waits for Redis. */
const startMs = 5000;
const closeMs = 1000;

export class Commons {
  readonly store: RedisStore;
  readonly link: Link;
  readonly keys: Keys;
  readonly roll: Roll;
  readonly withdrawals: Withdrawals;
  readonly post: Post;
  readonly #options: CommonsOptions;
  readonly #reader: Reader;
  /** Also while it is being set right. */
  #ask: Ask;
  /** What names this content of Redis, as far as it is known. */
  #epoch: string | null = null;
  #isLost = false;
  #timer: NodeJS.Timeout | null = null;
  #isClosed = false;

  constructor(options: CommonsOptions) {
    const { place, prefix, replica, identity, secrets, revocations, mostRevocations, local, whenLost, on } = options;
    this.#options = options;
    this.keys = keysUnder(prefix);
    const { keys } = this;
    const open = (lost: (error: unknown) => void) => (options.connect ?? connect)(place, lost);
    this.link = new Link(open, keys.probe, {
      answered: (call, seconds) => on.answered(call, seconds),
      failed: (call, error) => on.failed(call, error),
      away: (call, error, isAtStart) => {
        on.away(call, error, isAtStart);
        this.post.letters.interrupt();
      },
      returning: (ask) => this.#returning(ask),
      back: (awayMs) => this.#back(awayMs),
    });
    this.#ask = this.link.ask;
    this.store = new RedisStore({ link: this.link, keys, local, whenLost, invalid: (call) => on.invalid(call) });
    this.post = new Post({ keys, replica, link: this.link, identity, secrets, invalid: () => on.invalid('control') });
    this.roll = new Roll(
      keys,
      replica,
      () => this.link,
      (living) => this.post.letters.tend(living),
    );
    this.withdrawals = new Withdrawals(keys, replica, revocations, mostRevocations, () => on.invalid('load'));
    this.#reader = new Reader({
      open,
      streams: [keys.common('x'), keys.common('c'), keys.common(`c:${replica}`)],
      inbox: keys.common(`c:${replica}`),
      received: (stream, fields) => this.#received(stream, fields),
      opened: () => {
        this.post.letters.interrupt();
        return this.withdrawals.load(this.#ask);
      },
      failed: (error) => on.failed('read', error),
      isWanted: () => this.link.isUp,
    });
  }

  /** Waits for Redis for a while, and then goes on without. */
  async start(): Promise<void> {
    this.#later();
    if (await inTime(this.link.start(), startMs)) return;
    this.link.startsAway();
  }

  /** Gives back what this process holds, and lets go of Redis. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#timer) clearTimeout(this.#timer);
    await Promise.all([this.store.close(), inTime(this.roll.close(), closeMs), this.post.letters.close(closeMs)]);
    this.#reader.close();
    this.link.close();
  }

  async #returning(ask: Ask): Promise<void> {
    this.#ask = ask;
    if (this.#epoch === null) await this.#lookAtPolicy(ask);
    await this.#look(ask);
    await this.roll.beat(ask);
    await this.#reader.open();
  }

  async #lookAtPolicy(ask: Ask): Promise<void> {
    const key = () => ({ keys: [this.keys.common('e')], args: [] });
    const [, found] = (await ask('heartbeat', policy, key, patientMs)) as string[];
    if (found && found !== 'noeviction') this.#options.on.evicts(found);
  }

  #back(awayMs: number | null): void {
    this.roll.start();
    this.post.letters.tend(this.roll.living);
    if (awayMs === null) return;
    const { inDebt: debts, size: sessions } = this.store.holders;
    this.#options.on.back({ awayMs, sessions, debts });
    void this.#beat();
  }

  #received(stream: string, fields: Fields): void {
    const { keys, withdrawals } = this;
    if (stream === keys.common('x')) {
      // Who has not heard of it in a second is told that it was not confirmed.
      withdrawals.received(fields, this.link.ask).catch((error) => this.#options.on.failed('revoke', error));
    } else if (fields.t === 'ended') withdrawals.confirmed(fields);
    else this.post.received(stream, fields).catch((error) => this.#options.on.failed('control', error));
  }

  /** Looks whether Redis has what it had and is nobody else's, and keeps these names up. */
  async #look(ask: Ask): Promise<void> {
    const { identity, on } = this.#options;
    const own = randomBytes(12).toString('base64url');
    const [, name] = (await ask('heartbeat', named, () => this.#named('e', own), patientMs)) as string[];
    const [, owner] = (await ask('heartbeat', named, () => this.#named('i', identity), patientMs)) as string[];
    if (owner !== identity) on.foreign();
    if (!this.post.isGuarded) {
      const made = randomBytes(32).toString('base64');
      const [, key = made] = (await ask('heartbeat', named, () => this.#named('k', made), patientMs)) as string[];
      this.post.useKey(key);
    }
    if (this.#epoch !== null && this.#epoch !== name) {
      this.#isLost = true;
      on.emptied();
    }
    this.#epoch = name ?? null;
  }

  #named(key: string, text: string) {
    return { keys: [this.keys.common(key)], args: [text] };
  }

  #later(): void {
    if (this.#isClosed) return;
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#beat(), heartbeatMs * (1 - jitter + 2 * jitter * Math.random()));
    this.#timer.unref();
  }

  async #beat(): Promise<void> {
    try {
      if (this.link.isUp) await this.#keepUp();
    } catch (error) {
      // Of a Redis that does not answer the link has told; the next beat tries again.
      this.#options.on.failed('heartbeat', error);
    }
    this.#later();
  }

  async #keepUp(): Promise<void> {
    const { ask } = this.link;
    await this.link.measure();
    await this.#look(ask);
    const isLost = this.#isLost;
    // Its streams are gone as well.
    if (isLost) await this.#reader.open();
    else await this.withdrawals.check(ask);
    await this.store.holders.beat(ask, isLost);
    if (isLost) this.#isLost = false;
    this.#options.on.overLimit(this.store.holders.overLimit);
  }
}
