/** A line between two processes: notices, and questions that are answered or given up. */

import { z } from 'zod';
import { type ExitId, exitIds, RelayError } from '../errors.js';

const id = z.number().int().nonnegative();
const message = z.union([
  z.strictObject({ tell: z.unknown() }),
  z.strictObject({ ask: id, of: z.unknown() }),
  z.strictObject({ answer: id, is: z.unknown() }),
  z.strictObject({
    answer: id,
    error: z.strictObject({
      id: z.enum(exitIds as [ExitId, ...ExitId[]]),
      message: z.string().max(1000),
      retryAfterMs: z.number().optional(),
    }),
  }),
]);
type Message = z.input<typeof message>;

/** What both ends of a line do with what arrives. */
export interface Ear {
  /** A notice that nobody waits for. */
  heard(notice: unknown): void;
  /** A question; what is thrown is the answer, as far as a client may know it. */
  asked(question: unknown): Promise<unknown>;
  /** A message that could not be understood, or a question that failed for no reason of its sender. */
  failed(error: unknown): void;
}

/** Gives a message to the system; `done` must be called with an error if that fails. Only then may it throw. */
type Send = (message: object, done: (error: Error | null) => void) => unknown;

const defaultTimeoutMs = 5000;
/** Nobody is asked more than this at once: behind so many, an answer would come too late anyway. */
const maxWaiting = 10_000;

interface Waiting {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: RelayError) => void;
  readonly timer: NodeJS.Timeout;
}

export class Line {
  readonly #send: Send;
  readonly #ear: Ear;
  readonly #waiting = new Map<number, Waiting>();
  #next = 0;
  #closed = false;

  constructor(send: Send, ear: Ear) {
    this.#send = send;
    this.#ear = ear;
  }

  /** Says something to the other end, which may not arrive. */
  tell(notice: unknown): void {
    this.#post({ tell: notice });
  }

  /** Rejects with what the other end threw, or with `overloaded` when it does not answer within `timeoutMs`. */
  ask(question: unknown, timeoutMs = defaultTimeoutMs): Promise<unknown> {
    if (this.#closed || this.#waiting.size >= maxWaiting) return Promise.reject(unanswered());
    const ask = this.#next++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#giveUp(ask), timeoutMs);
      this.#waiting.set(ask, { resolve, reject, timer });
      this.#post({ ask, of: question }, () => this.#giveUp(ask));
    });
  }

  /** To be called with every message that arrives; whatever it is, this does not throw. */
  receive(received: unknown): void {
    if (this.#closed) return;
    const read = message.safeParse(received);
    if (!read.success) this.#ear.failed(read.error);
    else if ('tell' in read.data) this.#hear(read.data.tell);
    else if ('ask' in read.data) void this.#answer(read.data.ask, read.data.of);
    else this.#answered(read.data);
  }

  /** The other end is gone: nothing is sent or received any more, and no question will be answered. */
  close(): void {
    this.#closed = true;
    for (const ask of this.#waiting.keys()) this.#giveUp(ask);
  }

  #hear(notice: unknown): void {
    try {
      this.#ear.heard(notice);
    } catch (error) {
      this.#ear.failed(error);
    }
  }

  async #answer(answer: number, question: unknown): Promise<void> {
    try {
      this.#post({ answer, is: await this.#ear.asked(question) });
    } catch (error) {
      const { id, message, retryAfterMs } = RelayError.from(error);
      if (id === 'internal') this.#ear.failed(error);
      this.#post({ answer, error: { id, message, ...(retryAfterMs !== undefined && { retryAfterMs }) } });
    }
  }

  #answered(received: Extract<z.output<typeof message>, { answer: number }>): void {
    const waiting = this.#waiting.get(received.answer);
    // One that comes after its time.
    if (!waiting) return;
    this.#waiting.delete(received.answer);
    clearTimeout(waiting.timer);
    if ('error' in received) {
      const { id, message, retryAfterMs } = received.error;
      waiting.reject(new RelayError(id, message, { retryAfterMs }));
    } else {
      waiting.resolve(received.is);
    }
  }

  #giveUp(ask: number): void {
    const waiting = this.#waiting.get(ask);
    if (!waiting) return;
    this.#waiting.delete(ask);
    clearTimeout(waiting.timer);
    waiting.reject(unanswered());
  }

  #post(message: Message, failed: () => void = ignored): void {
    if (this.#closed) return;
    try {
      this.#send(message, (error) => {
        if (error) failed();
      });
    } catch (error) {
      // What cannot be copied to another process.
      this.#ear.failed(error);
      failed();
    }
  }
}

/** The end of the other process is noticed where it is waited for. */
function ignored(): void {}

function unanswered(): RelayError {
  return new RelayError('overloaded', 'The relay is busy; try again shortly.', { retryAfterMs: 2000 });
}
