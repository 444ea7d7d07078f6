/** The way to Redis, and whether there is one: what does not answer is away, and then nobody waits for it. */

import { setTimeout as wait } from 'node:timers/promises';
import { RelayError } from '../../errors.js';
import { inTime } from '../../wait.js';
import { answered, type Connection, codeOf, NoAnswer, type Script } from './connection.js';
import { probe } from './scripts.js';

/** What Redis is asked for, as metrics call it. */
export type RedisCall =
  | ('enter' | 'settle' | 'leave' | 'forget' | 'put' | 'look' | 'take')
  | ('revoke' | 'load' | 'read' | 'heartbeat' | 'control' | 'probe' | 'auth' | 'invalid');

/** How long somebody at a door may wait. */
export const doorMs = 250;
/** And everybody else. */
export const patientMs = 1000;

/** What a script is called with, made for the time that Redis has. */
export type Build = (nowMs: number) => {
  readonly keys: readonly string[];
  readonly args: readonly (string | number)[];
};

/** Runs a script; resolves to what it returned. Rejects with `store_unavailable` and its cause. */
export type Ask = (call: RedisCall, script: Script, build: Build, withinMs: number) => Promise<unknown>;

/** Told of what happens on the way; of these only `returning` may fail. */
export interface LinkEvents {
  answered(call: RedisCall, seconds: number): void;
  failed(call: RedisCall, error: unknown): void;
  /** It went away, or was not there at the start. */
  away(call: RedisCall, error: unknown, isAtStart: boolean): void;
  /** It answers again, or for the first time: what must be right before anybody else asks. */
  returning(ask: Ask): Promise<void>;
  /** That is done; null the first time, when it was never away. */
  back(awayMs: number | null): void;
}

type Open = (lost: (error: unknown) => void) => Promise<Connection>;

const probeEveryMs = 1000;
const mostErrors = 3;
/** After every date there is, and still a whole number where Lua counts. */
const never = 9e15;
const retryMs = 2000;
/** Some calls still work then, and some do not: it is away for all. */
const cannotWrite = ['READONLY', 'OOM'];

/** A way to one Redis, or to one cluster. */
export class Link {
  readonly #open: Open;
  readonly #probeKey: string;
  readonly #on: LinkEvents;
  readonly #closing = new AbortController();
  readonly #since = performance.now();
  #connection: Connection | null = null;
  #state: 'away' | 'returning' | 'up' = 'away';
  #errors = 0;
  #awaySince: number | null = null;
  /** The clock of Redis less `performance.now()`. */
  #offset = performance.timeOrigin;
  #comingBack: Promise<void> | null = null;
  /** Why it could not be reached last. */
  #failure: unknown = null;

  /** @param probeKey what is written to see whether it can be */
  constructor(open: Open, probeKey: string, on: LinkEvents) {
    this.#open = open;
    this.#probeKey = probeKey;
    this.#on = on;
  }

  get isUp(): boolean {
    return this.#state === 'up';
  }

  /** How long it has been away; null while it is there. */
  get awayMs(): number | null {
    return this.#awaySince === null ? null : performance.now() - this.#awaySince;
  }

  /** What Redis's clock says, as far as it was measured; milliseconds since 1970. */
  get now(): number {
    return Math.floor(performance.now() + this.#offset);
  }

  /** Resolves when it is there for the first time. */
  start(): Promise<void> {
    this.#comingBack ??= this.#comeBack();
    return this.#comingBack;
  }

  /** It was waited for at the start, which goes on without. */
  startsAway(): void {
    if (this.#state === 'up' || this.#awaySince !== null) return;
    this.#awaySince = this.#since;
    this.#on.away('probe', this.#failure, true);
  }

  ask: Ask = async (call, script, build, withinMs) => {
    if (this.#state !== 'up') throw unavailable();
    return this.#attempt(call, script, build, withinMs);
  };

  /** Whether it is there, or is again within so long: a moment without an answer is not yet an outage. */
  async isBackWithin(ms: number): Promise<boolean> {
    await inTime(this.#comingBack ?? Promise.resolve(), ms);
    return this.isUp;
  }

  /** Looks whether it can be written to, and what time it has. */
  async measure(): Promise<void> {
    await this.ask('heartbeat', probe, () => ({ keys: [this.#probeKey], args: [] }), patientMs);
  }

  close(): void {
    this.#closing.abort();
    this.#state = 'away';
    this.#connection?.close();
    this.#connection = null;
  }

  async #attempt(call: RedisCall, script: Script, build: Build, withinMs: number): Promise<unknown> {
    const connection = this.#connection;
    if (!connection) throw unavailable();
    const started = performance.now();
    try {
      const answer = await this.#runTwice(connection, script, build, withinMs);
      this.#errors = 0;
      this.#on.answered(call, (performance.now() - started) / 1000);
      return answer;
    } catch (error) {
      if (this.#closing.signal.aborted) throw unavailable(error);
      this.#on.failed(call, error);
      if (this.#connection === connection) this.#judge(call, error);
      throw unavailable(error);
    }
  }

  /** What comes late was not done, and is asked again, once: the clock of Redis was set, or this process stood still. */
  async #runTwice(connection: Connection, script: Script, build: Build, withinMs: number): Promise<unknown> {
    for (let isFirst = true; ; isFirst = false) {
      const until = this.now + withinMs;
      const { keys, args } = build(this.now);
      const answer = await answered(connection.run(script, keys, [String(until), ...args.map(String)]), withinMs);
      const late = lateOf(answer);
      if (late === null) return answer;
      if (!isFirst) throw new NoAnswer(withinMs);
      this.#offset = late - performance.now();
    }
  }

  #judge(call: RedisCall, error: unknown): void {
    if (this.#state !== 'up') return;
    const isGone = error instanceof NoAnswer || cannotWrite.includes(codeOf(error));
    if (isGone || ++this.#errors >= mostErrors) this.#goAway(call, error);
  }

  #goAway(call: RedisCall, error: unknown): void {
    if (this.#closing.signal.aborted || this.#state !== 'up') return;
    this.#state = 'away';
    this.#awaySince = performance.now();
    this.#on.away(call, error, false);
    this.#comingBack = this.#comeBack();
  }

  /** Asks until it answers: at once, then each second, of several replicas not all at the same time. */
  async #comeBack(): Promise<void> {
    const { signal } = this.#closing;
    let isFirst = true;
    while (!signal.aborted) {
      if (!isFirst && !(await slept(probeEveryMs * (0.8 + 0.4 * Math.random()), signal))) return;
      isFirst = false;
      try {
        await this.#reach();
        this.#state = 'returning';
        await this.#on.returning((...wanted) => this.#attempt(...wanted));
      } catch (error) {
        this.#failure = error;
        if (!signal.aborted) this.#on.failed('probe', error);
        this.#state = 'away';
        // Its name may lead elsewhere by now.
        this.#connection?.close();
        this.#connection = null;
        continue;
      }
      if (signal.aborted) return;
      const { awayMs } = this;
      this.#state = 'up';
      this.#errors = 0;
      this.#awaySince = null;
      this.#on.back(awayMs);
      return;
    }
  }

  async #reach(): Promise<void> {
    if (!this.#connection) {
      const connection = await this.#open((error) => this.#lost(connection, error));
      if (this.#closing.signal.aborted) return connection.close();
      this.#connection = connection;
    }
    const started = performance.now();
    const answer = await answered(this.#connection.run(probe, [this.#probeKey], [String(never)]), patientMs);
    const ended = performance.now();
    this.#on.answered('probe', (ended - started) / 1000);
    this.#offset = timeOf(answer) - (started + ended) / 2;
  }

  #lost(connection: Connection, error: unknown): void {
    if (this.#connection !== connection) return;
    this.#connection = null;
    connection.close();
    this.#goAway('probe', error);
  }
}

/** What a door answers while the state that replicas share is out of reach. */
function unavailable(cause?: unknown): RelayError {
  return new RelayError(
    'store_unavailable',
    'The state shared with other replicas is out of reach; try again shortly.',
    {
      retryAfterMs: Math.round(retryMs * (0.75 + 0.5 * Math.random())),
      ...(cause !== undefined && { cause }),
    },
  );
}

function lateOf(answer: unknown): number | null {
  return Array.isArray(answer) && answer[0] === 'late' ? Number(answer[1]) : null;
}

function timeOf(answer: unknown): number {
  const time = Array.isArray(answer) ? Number(answer[1]) : Number.NaN;
  if (!Number.isSafeInteger(time)) throw new Error('Redis did not say what time it is.');
  return time;
}

/** Whether it slept through. */
async function slept(ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await wait(ms, undefined, { signal, ref: false });
    return true;
  } catch {
    return false;
  }
}
