/** Carries commands to whichever processes have the sessions they are about, and makes one answer of theirs. */

import { type ExitId, RelayError } from '../errors.js';
import type { Comer } from '../session/resumption.js';
import { type Answer, type Command, longestId, patienceMs, rowOf } from './commands.js';
import type { Control } from './control.js';
import { type Carried, type Handshake, resumeElsewhere } from './resuming.js';
import type { Stream, Streams } from './streams.js';

/** All processes that serve the same clients, this one included. */
export interface Peers {
  /** Has a command carried out wherever it is due, and says what came of it. Rejects with a RelayError. */
  ask<C extends Command>(command: C): Promise<Answer<C['verb']>>;
  /** A way to a session, whichever process has it; null where there is none. Rejects with a RelayError. */
  stream(followed: Followed): Promise<Stream | null>;
  /**
   * What becomes of somebody who wants to go on with a session of another process, and with a handshake the way over which it
   * goes on; null where none knows of it. Rejects with a RelayError.
   */
  resume(comer: Comer, shaken: Handshake | null): Promise<Carried | null>;
}

/** What somebody wants to follow. */
type Followed = Pick<Command<'follow'>, 'id' | 'reach' | 'wishes' | 'by' | 'requestId'>;

/** The first word of who has asked: until it comes the other end does not know that the answer was heard. */
const hello = new Uint8Array(0);

/** Asks one process and resolves to its answer, as it was received. */
export type Ask = (command: Command, withinMs: number) => Promise<unknown>;

/** Has a command carried out by the process at an address; by every process, this one included, where that is null. */
export type AskOthers = (command: Command, to: string | null) => Promise<unknown>;

/**
 * The peers of a process.
 * @param others null where there is no other process
 */
export function createPeers(control: Control, streams: Streams, others: AskOthers | null = null): Peers {
  async function ask<C extends Command>(command: C): Promise<Answer<C['verb']>> {
    if (!others) return control(command);
    const { answer, isFound, isLong } = rowOf<C['verb']>(command.verb);
    if (!isFound) return answer.parse(await others(command, null));
    const own = await control(command);
    // What is longer than an id is none, wherever it is asked.
    if (isFound(own) || ('id' in command && command.id.length > longestId)) return own;
    const owner = isLong ? await whoHas(command) : null;
    return isLong && owner === null ? own : answer.parse(await others(command, owner));
  }

  /** What is not within reach takes the same time to be looked for as what does not exist. */
  async function whoHas(command: Command): Promise<string | null> {
    if (!('id' in command && 'reach' in command)) return null;
    return ask({ verb: 'locate', id: command.id, reach: command.reach });
  }

  return {
    ask,
    resume: (comer, shaken) => (others ? resumeElsewhere(ask, streams, comer, shaken) : Promise.resolve(null)),
    async stream(followed) {
      const { name, stream, to } = streams.open();
      try {
        const answer = await ask({ verb: 'follow', ...followed, way: name, from: streams.address });
        if (answer?.outcome === 'full') {
          throw new RelayError('rate_limited', 'Too many sidebands follow this session.', { retryAfterMs: 1000 });
        }
        if (answer !== null) {
          to(answer.address);
          stream.send(hello);
          return stream;
        }
      } catch (error) {
        stream.end();
        throw error;
      }
      stream.end();
      return null;
    },
  };
}

/**
 * Has several processes carry a command out, at once. Rejects with `failure` when one did not answer on whom it depends;
 * what that one was told it does as soon as it can.
 */
export async function askAll<C extends Command>(
  command: C,
  processes: readonly Ask[],
  failure: ExitId = 'overloaded',
): Promise<Answer<C['verb']>> {
  const { answer, merge, isFound, unanswered } = rowOf<C['verb']>(command.verb);
  const withinMs = patienceMs(command);
  const settled = await Promise.allSettled(processes.map(async (ask) => answer.parse(await ask(command, withinMs))));
  const merged = merge(settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : [])));
  const isWhole = settled.every(({ status }) => status === 'fulfilled');
  if (isWhole || unanswered === undefined || isFound?.(merged)) return merged;
  throw new RelayError(failure, unanswered, { retryAfterMs: 1000 });
}
