/** The peers of a process that is alone in its replica, whatever other replicas there are. */

import type { Across } from './across.js';
import type { Control } from './control.js';
import { createPeers, type Peers } from './peers.js';
import { addressIn } from './replica.js';
import type { SharedState } from './shared.js';
import { createLocalStreams, type Streams } from './streams.js';

/**
 * @param controlOver makes what carries commands out, given the ways to follow sessions by
 * @param learned told when tokens have been withdrawn elsewhere
 */
export function createOwnPeers(
  { replica, across }: Pick<SharedState, 'replica' | 'across'>,
  controlOver: (streams: Streams) => Control,
  learned: () => void,
): Peers {
  let others: Across | null = null;
  const address = addressIn(replica, 0);
  const streams = createLocalStreams(address, undefined, (to, message) => others?.pass(to, message));
  const control = controlOver(streams);
  others = across({
    carryOut: control,
    learned,
    receive(to, message) {
      if (to === address) streams.receive(message);
      return to === address;
    },
    gone: (which, hasDied) => streams.gone(which, hasDied),
  });
  return createPeers(control, streams, others?.ask);
}
