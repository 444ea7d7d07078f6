/** One webhook: messages for it are tried until they arrive or are too old, in memory and within bounds. */

import type { Cancel, Clock } from '../clock.js';
import { keyOf } from '../outbound/sign.js';
import type { DeliveryOutcome } from '../telemetry/labels.js';
import type { Log } from '../telemetry/log.js';
import { inTime } from '../wait.js';
import { Backlog, type Message, type Room, roomOfTarget } from './backlog.js';
import { type Posted, post } from './post.js';

/** What a target needs of the relay around it. */
export interface TargetServices {
  readonly clock: Clock;
  readonly log: Log;
  /** Counts what became of a message. */
  counted(outcome: DeliveryOutcome): void;
  /** URL of the HTTP proxy to the webhook. */
  proxyFor(url: string): string | null;
}

/** What is asked of a target. */
type Content = Pick<Message, 'id' | 'session' | 'user' | 'isUsage' | 'body'>;

const concurrency = 4;
const timeoutMs = 10_000;
/** After this a message that has not arrived is given up. */
const longestAgeMs = 15 * 60_000;
/** The wait before the first repetition, and the longest; it doubles in between. */
const paces = { usual: { first: 1000, longest: 60_000 }, hurried: { first: 100, longest: 1000 } } as const;
const longestRetryAfterMs = 60_000;
/** The receiver said that it is gone, which a proxy before it may say as well. */
const gone = 410;
const pauseMs = 10 * 60_000;
const lineMs = 60_000;

export class Target {
  readonly url: string;
  readonly #services: TargetServices;
  readonly #proxy: string | null;
  readonly #backlog: Backlog;
  /** Those that may be tried now, in order. */
  readonly #ready = new Set<Message>();
  readonly #later = new Map<Message, Cancel>();
  readonly #sending = new Map<Message, AbortController>();
  readonly #losses: Losses;
  #keys: readonly Buffer[];
  #pace: { readonly first: number; readonly longest: number } = paces.usual;
  /** Ends the pause that the receiver has brought about; null when there is none. */
  #pause: Cancel | null = null;
  /** Whether one message is to find out if the pause may end. */
  #isProbing = false;
  #isClosed = false;
  #settled: (() => void) | null = null;

  constructor(url: string, secrets: readonly string[], services: TargetServices, room: Room = roomOfTarget) {
    this.url = url;
    this.#services = services;
    this.#proxy = services.proxyFor(url);
    this.#keys = secrets.map(keyOf);
    this.#backlog = new Backlog(room);
    this.#losses = new Losses(new URL(url).host, services);
  }

  /** Bytes of what waits. */
  get bytes(): number {
    return this.#backlog.bytes;
  }

  /** Messages that are neither delivered nor given up. */
  get pending(): number {
    return this.#backlog.size;
  }

  /** Signs with these from now on, and tries a target that was paused. */
  use(secrets: readonly string[]): void {
    this.#keys = secrets.map(keyOf);
    if (this.#pause) this.#resume();
  }

  /** Takes a message to deliver; never throws and never waits. */
  send(content: Content): void {
    const bytes = Buffer.byteLength(content.body);
    const message: Message = { ...content, bytes, bornAt: performance.now(), attempts: 0, tries: 0 };
    if (this.#isClosed) {
      this.#losses.add('dropped', message);
      return;
    }
    this.#ready.add(message);
    for (const lost of this.#backlog.add(message, (one) => this.#sending.has(one))) {
      this.#ready.delete(lost);
      this.#later.get(lost)?.();
      this.#later.delete(lost);
      this.#losses.add('dropped', lost);
    }
    this.#pump();
  }

  #pump(): void {
    for (const message of this.#ready) {
      if (this.#sending.size >= concurrency) return;
      if (!this.#mayGo(message)) continue;
      this.#ready.delete(message);
      const stop = new AbortController();
      this.#sending.set(message, stop);
      message.attempts++;
      message.tries++;
      const { id, body } = message;
      const letter = { url: this.url, keys: this.#keys, proxy: this.#proxy, timeoutMs, signal: stop.signal };
      void post({ ...letter, id, body }).then((posted) => this.#attempted(message, posted));
    }
  }

  /** What a session cost is told whatever the receiver has said. */
  #mayGo({ isUsage }: Message): boolean {
    if (isUsage) return true;
    if (this.#pause) return false;
    return !this.#isProbing || ![...this.#sending.keys()].some((one) => !one.isUsage);
  }

  #attempted(message: Message, { problem, status, retryAfterMs }: Posted): void {
    // Whoever closed has already counted it.
    if (!this.#sending.delete(message)) return;
    const age = performance.now() - message.bornAt;
    if (!message.isUsage) {
      this.#isProbing = false;
      if (status === gone) this.#halt();
    }
    if (problem === null) {
      this.#backlog.delete(message);
      this.#services.counted('delivered');
    } else if (age >= longestAgeMs) {
      this.#backlog.delete(message);
      this.#losses.add('failed', message, problem);
    } else this.#retry(message, retryAfterMs);
    this.#pump();
    this.#look();
  }

  #retry(message: Message, retryAfterMs: number): void {
    const { first, longest } = this.#pace;
    const wait = Math.min(longest, first * 2 ** (message.tries - 1)) * (0.5 + Math.random() / 2);
    const asked = Math.min(retryAfterMs, longestRetryAfterMs, longest);
    this.#wait(message, Math.max(wait, asked));
  }

  #wait(message: Message, ms: number): void {
    const again = () => {
      this.#later.delete(message);
      this.#ready.add(message);
      this.#pump();
    };
    this.#later.set(message, this.#services.clock.at(ms, again));
  }

  #halt(): void {
    if (this.#pause) return;
    this.#services.log.warn({ target: this.#losses.target, seconds: pauseMs / 1000 }, 'webhook.paused');
    this.#pause = this.#services.clock.at(pauseMs, () => this.#resume());
  }

  #resume(): void {
    this.#pause?.();
    this.#pause = null;
    this.#isProbing = true;
    this.#pump();
  }

  /** The process is about to end: what waits is tried much more often from now on. */
  hurry(): void {
    this.#pace = paces.hurried;
    for (const [message, cancel] of this.#later) {
      cancel();
      message.tries = 0;
      this.#wait(message, this.#pace.first * Math.random());
    }
  }

  /** Whether all has arrived that may. */
  get #isDone(): boolean {
    if (!this.#pause) return this.pending === 0;
    return ![...this.#backlog].some((message) => message.isUsage || this.#sending.has(message));
  }

  #look(): void {
    if (this.#isDone) this.#settled?.();
  }

  /** Waits until all has arrived, so many milliseconds at the most; what is left then is dropped. */
  async close(ms: number): Promise<void> {
    if (!this.#isDone && ms > 0) {
      const settled = new Promise<void>((resolve) => {
        this.#settled = resolve;
      });
      await inTime(settled, ms);
    }
    this.#isClosed = true;
    this.#pause?.();
    for (const cancel of this.#later.values()) cancel();
    const sending = [...this.#sending.values()];
    for (const message of this.#backlog) this.#losses.add('dropped', message);
    for (const held of [this.#ready, this.#later, this.#sending]) held.clear();
    for (const message of [...this.#backlog]) this.#backlog.delete(message);
    for (const stop of sending) stop.abort();
    this.#losses.close();
  }
}

/** What one target did not get: a line at once, and then one a minute with the count. */
class Losses {
  readonly target: string;
  readonly #services: TargetServices;
  #counts = { failed: 0, dropped: 0 };
  #last: object = {};
  #timer: Cancel | null = null;

  constructor(target: string, services: TargetServices) {
    this.target = target;
    this.#services = services;
  }

  add(outcome: 'failed' | 'dropped', { id, attempts }: Message, error?: unknown): void {
    this.#services.counted(outcome);
    this.#counts[outcome]++;
    this.#last = { id, attempts, ...(error !== undefined && { error }) };
    // Those of the same moment belong to the first line.
    this.#timer ??= this.#services.clock.at(0, this.#tell);
  }

  readonly #tell = (): void => {
    this.#timer = this.#say() ? this.#services.clock.at(lineMs, this.#tell) : null;
  };

  /** The last of them stands for all. False when there is nothing to say. */
  #say(): boolean {
    const counts = this.#counts;
    if (counts.failed + counts.dropped === 0) return false;
    this.#counts = { failed: 0, dropped: 0 };
    this.#services.log.warn({ target: this.target, ...counts, ...this.#last }, 'webhook.undelivered');
    return true;
  }

  close(): void {
    this.#timer?.();
    this.#timer = null;
    this.#say();
  }
}
