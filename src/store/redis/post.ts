/** How replicas speak to each other: questions that are answered, and letters that arrive in order. */

import { z } from 'zod';
import { type Envelope, Envelopes } from './envelopes.js';
import type { Keys } from './keys.js';
import { Letters } from './letters.js';
import { type Link, patientMs } from './link.js';
import { Questions } from './questions.js';
import type { Fields } from './reader.js';
import { post } from './withdrawing.js';

interface PostOptions {
  readonly keys: Keys;
  readonly replica: string;
  readonly identity: string;
  readonly secrets: readonly string[];
  readonly link: Link;
  readonly invalid: () => void;
}

/** How long what is said waits for who it is said to, and how much of it. */
const inboxMs = 60_000;
const mostInInbox = 10_000;
const broadcastMs = 24 * 3_600_000;
const mostBroadcast = 1000;

const posted = z.tuple([z.literal('ok')], z.string());

export class Post {
  readonly questions: Questions;
  readonly letters: Letters;
  readonly #options: PostOptions;
  readonly #envelopes: Envelopes;

  constructor(options: PostOptions) {
    this.#options = options;
    this.#envelopes = new Envelopes(options);
    this.questions = new Questions(options.replica, (envelope) => this.#send(envelope));
    this.letters = new Letters((envelope) => this.#send(envelope));
  }

  /** Whether only who has the operator's key can speak to replicas. */
  get isGuarded(): boolean {
    return this.#envelopes.isGuarded;
  }

  /** Uses a key that stands in Redis, where the operator has given none. */
  useKey(key: string): void {
    this.#envelopes.useKey(key);
  }

  /** To be called with what stands in the streams of this replica and of all. Rejects when an answer could not be written. */
  async received(stream: string, fields: Fields): Promise<void> {
    const envelope = this.#envelopes.open(stream, fields, this.#options.link.now);
    if (envelope?.kind === 'letter') this.letters.received(envelope);
    else if (envelope) await this.questions.received(envelope);
  }

  async #send(envelope: Omit<Envelope, 'from'>): Promise<readonly string[]> {
    const { keys, link } = this.#options;
    const isToAll = envelope.to === '*';
    const stream = keys.common(isToAll ? 'c' : `c:${envelope.to}`);
    const room = isToAll ? [broadcastMs, mostBroadcast] : [inboxMs, mostInInbox];
    const answer = await link.ask(
      'control',
      post,
      (now) => {
        const fields = this.#envelopes.close(stream, envelope, now);
        return { keys: [stream, keys.common('r')], args: [...room, ...Object.entries(fields).flat()] };
      },
      patientMs,
    );
    const [, ...living] = posted.parse(answer);
    return living;
  }
}
