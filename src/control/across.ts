/** Has commands carried out in all replicas that share one Redis. */

import { RelayError } from '../errors.js';
import type { Commons } from '../store/redis/commons.js';
import type { Revocation } from '../store/revocations.js';
import type { Answer, Command } from './commands.js';
import type { Control } from './control.js';

/**
 * @param own carries them out in this replica
 * @param learned told of withdrawn tokens that were not known here: their sessions end
 */
export function acrossReplicas(
  { withdrawals, link }: Pick<Commons, 'withdrawals' | 'link'>,
  own: Control,
  learned: (revocations: readonly Revocation[]) => void,
): Control {
  withdrawals.attend({
    learned,
    revoke: async (revocation, keep) => (await own({ verb: 'revoke', revocation, keep })).ended,
  });

  async function revoke(command: Command<'revoke'>): Promise<Answer<'revoke'>> {
    try {
      const { silent, others, ...withdrawn } = await withdrawals.revoke(command.revocation, link.ask);
      if (silent === 0) return withdrawn;
      throw unconfirmed(`It is written, but ${silent} of ${others} other replicas did not confirm it`);
    } catch (error) {
      if (link.isUp || !(error instanceof RelayError) || error.id !== 'store_unavailable') throw error;
      await own(command);
      throw unconfirmed('It is written on this replica only', error);
    }
  }

  return async <C extends Command>(command: C) => {
    if (command.verb !== 'revoke') return own(command);
    return revoke(command) as Promise<Answer<C['verb']>>;
  };
}

function unconfirmed(what: string, cause?: unknown): RelayError {
  return new RelayError('store_unavailable', `${what}; send it again.`, { retryAfterMs: 2000, cause });
}
