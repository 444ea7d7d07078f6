/** Sends usage records to the operator's webhook: at least once, signed, with a bounded queue and bounded patience. */

import { keyOf } from '../outbound/sign.js';
import type { DeliveryOutcome } from '../telemetry/labels.js';
import type { Log } from '../telemetry/log.js';
import type { UsageRecord } from '../telemetry/usage.js';
import { inTime } from '../wait.js';
import { post } from './post.js';

/** Where records go; the secret is base64, with or without the prefix `whsec_`. */
export interface Webhook {
  readonly url: string;
  readonly secret: string;
}

/** What the delivery needs of the relay around it; the last two for tests. */
export interface DeliveryOptions {
  readonly log: Log;
  /** Counts what became of a record. */
  counted(outcome: DeliveryOutcome): void;
  /** URL of the HTTP proxy to the webhook. */
  readonly proxy?: string | null;
  readonly maxPending?: number;
  /** The wait before the first repetition in milliseconds; it doubles with each. */
  readonly firstRetryMs?: number;
}

const maxPending = 1000;
const maxAttempts = 8;
const concurrency = 4;
const timeoutMs = 5000;
const firstRetryMs = 1000;
const longestRetryMs = 60_000;

interface Message {
  readonly id: string;
  readonly body: string;
  attempts: number;
}

/** The records on their way to one webhook. */
export class Delivery {
  readonly #url: string;
  readonly #key: Buffer;
  readonly #options: DeliveryOptions;
  readonly #ready: Message[] = [];
  readonly #waiting = new Map<Message, NodeJS.Timeout>();
  readonly #sending = new Map<Message, AbortController>();
  #closed = false;
  #whenEmpty: (() => void) | null = null;

  constructor({ url, secret }: Webhook, options: DeliveryOptions) {
    this.#url = url;
    this.#key = keyOf(secret);
    this.#options = options;
  }

  /** Bytes of what waits. */
  get bytes(): number {
    const all = [...this.#ready, ...this.#waiting.keys(), ...this.#sending.keys()];
    return all.reduce((sum, { body }) => sum + body.length, 0);
  }

  /** Records that are neither delivered nor given up. */
  get pending(): number {
    return this.#ready.length + this.#waiting.size + this.#sending.size;
  }

  /** Takes a record to deliver; never throws and never waits. The same session has the same id at every attempt. */
  send(record: UsageRecord): void {
    const message = {
      id: `usage_${record.session}`,
      body: JSON.stringify({ type: 'session.usage', timestamp: record.ended_at, data: record }),
      attempts: 0,
    };
    if (this.#closed || this.pending >= (this.#options.maxPending ?? maxPending)) {
      this.#giveUp(message, 'dropped');
      return;
    }
    this.#ready.push(message);
    this.#pump();
  }

  #pump(): void {
    while (this.#sending.size < concurrency) {
      const message = this.#ready.shift();
      if (!message) return;
      const stop = new AbortController();
      this.#sending.set(message, stop);
      message.attempts++;
      const { id, body } = message;
      const letter = { url: this.#url, keys: [this.#key], id, body, proxy: this.#options.proxy ?? null };
      void post({ ...letter, timeoutMs, signal: stop.signal }).then(({ problem }) => this.#attempted(message, problem));
    }
  }

  #attempted(message: Message, problem: unknown): void {
    // Whoever closed has already counted it.
    if (!this.#sending.delete(message)) return;
    if (problem === null) this.#options.counted('delivered');
    else if (message.attempts >= maxAttempts) this.#giveUp(message, 'failed', problem);
    else this.#retry(message);
    this.#pump();
    if (this.pending === 0) this.#whenEmpty?.();
  }

  #retry(message: Message): void {
    const longest = Math.min(
      longestRetryMs,
      (this.#options.firstRetryMs ?? firstRetryMs) * 2 ** (message.attempts - 1),
    );
    const wait = longest * (0.5 + Math.random() / 2);
    const timer = setTimeout(() => {
      this.#waiting.delete(message);
      this.#ready.push(message);
      this.#pump();
    }, wait);
    timer.unref();
    this.#waiting.set(message, timer);
  }

  #giveUp({ id, attempts }: Message, outcome: 'failed' | 'dropped', error?: unknown): void {
    this.#options.counted(outcome);
    this.#options.log.warn({ id, attempts, outcome, ...(error !== undefined && { error }) }, 'usage.undelivered');
  }

  /** Tries what waits once more, and takes nothing back after this many milliseconds: what is left then is dropped. */
  async close(ms: number): Promise<void> {
    for (const [message, timer] of this.#waiting) {
      clearTimeout(timer);
      this.#ready.push(message);
    }
    this.#waiting.clear();
    this.#pump();
    if (this.pending > 0 && ms > 0) {
      const empty = new Promise<void>((resolve) => {
        this.#whenEmpty = resolve;
      });
      await inTime(empty, ms);
    }
    this.#closed = true;
    const left = [...this.#ready.splice(0), ...this.#waiting.keys(), ...this.#sending.keys()];
    for (const timer of this.#waiting.values()) clearTimeout(timer);
    for (const stop of this.#sending.values()) stop.abort();
    this.#waiting.clear();
    this.#sending.clear();
    for (const message of left) this.#giveUp(message, 'dropped');
  }
}
