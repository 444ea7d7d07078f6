/** What replicas say to each other as it stands in Redis: sealed for one place, one destination and a few seconds. */

import { z } from 'zod';
import type { Fields } from './reader.js';
import { seal, unseal } from './seal.js';

/** One thing that a replica says to another, or to all. */
export interface Envelope {
  readonly kind: 'ask' | 'answer' | 'letter';
  readonly from: string;
  /** A replica; `*`: all others. */
  readonly to: string;
  /** Of the question, or which one of the letters it is. */
  readonly id: string;
  readonly text: string;
}

interface EnvelopeOptions {
  readonly replica: string;
  /** What this relay is known by: those of others under the same prefix cannot open what is sealed for this one. */
  readonly identity: string;
  /** The operator's keys in base64, the one that seals first; empty: one that stands in Redis. */
  readonly secrets: readonly string[];
  /** Told of each that cannot be opened. */
  readonly invalid: () => void;
}

/** The form of what is written; another one is refused. */
const version = '1';
/** Nobody waits longer. */
const lifeMs = 10_000;
/** By which the estimates of Redis's clock may differ. */
const leewayMs = 2000;

const name = z.string().min(1).max(100);
const shape = z.strictObject({
  t: z.enum(['ask', 'answer', 'letter']),
  v: z.literal(version),
  f: name,
  d: name,
  r: name,
  u: z.string().regex(/^\d{1,15}$/),
  s: z.string(),
});

export class Envelopes {
  readonly #options: EnvelopeOptions;
  #keys: readonly Uint8Array[];

  constructor(options: EnvelopeOptions) {
    this.#options = options;
    this.#keys = options.secrets.map(bytesOf);
  }

  /** Whether only who has the operator's key can speak to replicas. */
  get isGuarded(): boolean {
    return this.#options.secrets.length > 0;
  }

  /** Seals with a key that stands in Redis from now on, where the operator has given none. */
  useKey(key: string): void {
    if (!this.isGuarded) this.#keys = [bytesOf(key)];
  }

  /** @param nowMs by Redis's clock */
  close(stream: string, { kind, to, id, text }: Omit<Envelope, 'from'>, nowMs: number): Fields {
    const [key] = this.#keys;
    if (!key) throw new Error('There is no key to seal with.');
    const open = { t: kind, v: version, f: this.#options.replica, d: to, r: id, u: String(nowMs + lifeMs) };
    return { ...open, s: seal(key, this.#placeOf(stream, open), text) };
  }

  /** Null for what is for nobody here, is too old, or was not sealed for this. */
  open(stream: string, fields: Fields, nowMs: number): Envelope | null {
    const { replica, invalid } = this.#options;
    if (fields.f === replica) return null;
    const read = shape.safeParse(fields);
    if (!read.success) return refuse(invalid);
    const { t: kind, f: from, d: to, r: id, u: until, s } = read.data;
    const left = Number(until) - nowMs;
    if ((to !== '*' && to !== replica) || left < -leewayMs || left > lifeMs + leewayMs) return refuse(invalid);
    const text = unseal(this.#keys, this.#placeOf(stream, read.data), s);
    return text === null ? refuse(invalid) : { kind, from, to, id, text };
  }

  #placeOf(stream: string, { t, f, d, r, u }: Fields): string {
    return JSON.stringify([stream, this.#options.identity, t, f, d, r, u]);
  }
}

function refuse(invalid: () => void): null {
  invalid();
  return null;
}

function bytesOf(key: string): Uint8Array {
  return new Uint8Array(Buffer.from(key, 'base64'));
}
