/** Has commands carried out in all replicas that share one Redis, and carries what passes between their processes. */

import { z } from 'zod';
import { type ExitId, exitIds, RelayError } from '../errors.js';
import { isObject } from '../protocol/event.js';
import type { Commons } from '../store/redis/commons.js';
import type { Revocation } from '../store/revocations.js';
import { type Answer, address, type Command, command, patienceMs, rowOf } from './commands.js';
import { type AskOthers, askAll } from './peers.js';
import { replicaOf } from './replica.js';
import { type StreamMessage, streamMessage } from './streams.js';

/** What this replica does for others. */
export interface Here {
  /** Carries a command out: in the process at this address, in all of them where that is null. */
  carryOut(command: Command, to: string | null): Promise<Answer>;
  /** Told of withdrawn tokens that were not known here: their sessions end. */
  learned(revocations: readonly Revocation[]): void;
  /** What a process here is to hear; false where there is none at this address. */
  receive(to: string, message: StreamMessage): boolean;
  /** A process elsewhere cannot be spoken to any more, or all of a replica; `hasDied`: with all its sessions. */
  gone(address: string, hasDied: boolean): void;
}

/** All replicas, this one included. */
export interface Across {
  readonly ask: AskOthers;
  /** Tells a process of another replica something, in order. */
  pass(to: string, message: StreamMessage): void;
  /** A process of this replica is no more. */
  gone(address: string): void;
}

/** What may be asked of others by who has no key that only replicas have: it shows or ends, and says nothing in a session. */
const unguarded: readonly Command['verb'][] = ['list', 'inspect', 'locate', 'end', 'hang_up', 'end_ghost'];

/** What is done without replicas that do not answer: a client waits, who is no worse off than where there was one replica. */
const lenient: readonly Command['verb'][] = ['end_ghost', 'resume'];

const answered = z.union([
  z.strictObject({ is: z.unknown() }),
  z.strictObject({
    error: z.strictObject({
      id: z.enum(exitIds as [ExitId, ...ExitId[]]),
      message: z.string().max(1000),
      retryAfterMs: z.number().optional(),
    }),
  }),
]);

const asked = z.strictObject({ of: command, to: address.nullable() });

const letter = z.union([
  z.strictObject({ to: address, message: z.preprocess(withBytes, streamMessage) }),
  z.strictObject({ gone: address }),
]);

/** Takes in what carries commands out in this replica. */
export function acrossReplicas(
  { withdrawals, link, post, roll: { replica } }: Pick<Commons, 'withdrawals' | 'link' | 'post' | 'roll'>,
  here: Here,
  invalid: () => void,
): Across {
  const { questions, letters } = post;
  withdrawals.attend({
    learned: (revocations) => here.learned(revocations),
    revoke: async (revocation, keep) => {
      return ((await here.carryOut({ verb: 'revoke', revocation, keep }, null)) as Answer<'revoke'>).ended;
    },
  });
  questions.attend(answer);
  letters.attend({ told, lost: (from, hasDied) => here.gone(from, hasDied) });

  async function answer(question: string): Promise<string> {
    try {
      const { of, to } = asked.parse(JSON.parse(question));
      if (!mayCross(of)) throw new Error('not to be asked of others');
      return JSON.stringify({ is: await here.carryOut(of, to) });
    } catch (error) {
      const { id, message, retryAfterMs } = RelayError.from(error);
      if (id === 'internal') invalid();
      return JSON.stringify({ error: { id, message, ...(retryAfterMs !== undefined && { retryAfterMs }) } });
    }
  }

  function told(from: string, received: unknown): void {
    const read = letter.safeParse(received);
    if (!read.success) {
      invalid();
    } else if ('gone' in read.data) {
      if (replicaOf(read.data.gone) === from) here.gone(read.data.gone, false);
    } else {
      const { to, message } = read.data;
      if (!here.receive(to, message)) letters.tell(from, JSON.stringify({ gone: to }));
    }
  }

  function mayCross({ verb }: Command): boolean {
    return post.isGuarded || unguarded.includes(verb);
  }

  async function revoke(asks: Command<'revoke'>): Promise<Answer<'revoke'>> {
    try {
      const { silent, others, ...withdrawn } = await withdrawals.revoke(asks.revocation, link.ask);
      if (silent === 0) return withdrawn;
      throw unconfirmed(`It is written, but ${silent} of ${others} other replicas did not confirm it`);
    } catch (error) {
      if (link.isUp || !(error instanceof RelayError) || error.id !== 'store_unavailable') throw error;
      await here.carryOut(asks, null);
      throw unconfirmed('It is written on this replica only', error);
    }
  }

  /** What other replicas answer, each for itself. */
  async function askReplicas<C extends Command>(asks: C, to: string | null): Promise<Promise<Answer<C['verb']>>[]> {
    const { answer: shape, isFound } = rowOf<C['verb']>(asks.verb);
    const read = (text: string): Answer<C['verb']> => {
      const outcome = answered.parse(JSON.parse(text));
      if ('is' in outcome) return shape.parse(outcome.is);
      const { id, message, retryAfterMs } = outcome.error;
      throw new RelayError(id, message, { retryAfterMs });
    };
    const isEnough = (text: string) => {
      try {
        return isFound?.(read(text)) ?? false;
      } catch {
        // It answers for one replica only; the others are waited for.
        return false;
      }
    };
    const question = JSON.stringify({ of: asks, to } satisfies z.input<typeof asked>);
    const answers = await questions.ask(to && replicaOf(to), question, patienceMs(asks), isEnough);
    return answers.map(async (text) => {
      if (text === null) throw unanswered();
      return read(text);
    });
  }

  async function askOne<C extends Command>(asks: C, to: string): Promise<Answer<C['verb']>> {
    if (replicaOf(to) === replica) return (await here.carryOut(asks, to)) as Answer<C['verb']>;
    if (!mayCross(asks)) throw unguardedError();
    const [one] = await askReplicas(asks, to);
    if (!one) throw unanswered();
    return one;
  }

  async function ask<C extends Command>(asks: C, to: string | null): Promise<Answer<C['verb']>> {
    if (to !== null) return askOne(asks, to);
    if (asks.verb === 'revoke') return (await revoke(asks)) as Answer<C['verb']>;
    const { isFound } = rowOf<C['verb']>(asks.verb);
    const isLenient = lenient.includes(asks.verb);
    if (!mayCross(asks)) return askUnguarded(asks);
    const own = here.carryOut(asks, null) as Promise<Answer<C['verb']>>;
    if (isFound) {
      const mine = await own;
      if (isFound(mine)) return mine;
    }
    const others = askReplicas(asks, null);
    others.catch(() => undefined);
    const mine = await own;
    const settled = await others.catch((error: unknown) => {
      if (isLenient) return [];
      throw error;
    });
    if (isLenient) return askAll(asks, [async () => mine, ...(await fulfilled(settled))], 'store_unavailable');
    const merged = await askAll(asks, [async () => mine, ...settled.map((one) => () => one)], 'store_unavailable');
    // It may live where nobody has answered.
    if (isFound && !isFound(merged)) await Promise.all(settled);
    return merged;
  }

  /** Of a session elsewhere it is refused, and of one that there is not it is said that there is none. */
  async function askUnguarded<C extends Command>(asks: C): Promise<Answer<C['verb']>> {
    if (!('id' in asks && 'reach' in asks)) return (await here.carryOut(asks, null)) as Answer<C['verb']>;
    const owner = await ask({ verb: 'locate', id: asks.id, reach: asks.reach }, null);
    if (owner !== null && replicaOf(owner) !== replica) throw unguardedError();
    return (await here.carryOut(asks, owner)) as Answer<C['verb']>;
  }

  return {
    ask,
    pass: (to, message) => letters.tell(replicaOf(to), JSON.stringify({ to, message: withText(message) })),
    gone(which) {
      for (const other of letters.correspondents) letters.tell(other, JSON.stringify({ gone: which }));
    },
  };
}

async function fulfilled<T>(all: readonly Promise<T>[]): Promise<(() => Promise<T>)[]> {
  const settled = await Promise.allSettled(all);
  return settled.flatMap((one) => (one.status === 'fulfilled' ? [async () => one.value] : []));
}

function unconfirmed(what: string, cause?: unknown): RelayError {
  return new RelayError('store_unavailable', `${what}; send it again.`, { retryAfterMs: 2000, cause });
}

function unanswered(): RelayError {
  const message = 'Another replica of this relay did not answer in time; it may have done what was asked. Ask again.';
  return new RelayError('store_unavailable', message, { retryAfterMs: 2000 });
}

function unguardedError(): RelayError {
  const message = 'The session is on another replica, which is only spoken to where RELAY_REDIS_KEY is set.';
  return new RelayError('store_unavailable', message, { retryAfterMs: 2000 });
}

/** Bytes as a text of as many letters, whatever they are: nearly all of them are ASCII. */
function withText(message: StreamMessage): object {
  if (message.do !== 'piece') return message;
  const { buffer, byteOffset, byteLength } = message.bytes;
  return { ...message, bytes: Buffer.from(buffer, byteOffset, byteLength).toString('latin1') };
}

function withBytes(written: unknown): unknown {
  if (!isObject(written) || typeof written.bytes !== 'string' || written.do !== 'piece') return written;
  return { ...written, bytes: new Uint8Array(Buffer.from(written.bytes, 'latin1')) };
}
