import type { Backend } from '../../src/session/backend.js';

/** The part of backends in a session that has none. */
export const nobody: Omit<Backend, 'close'> = {
  say: () => null,
  session: () => null,
  whose: () => null,
  owns: () => false,
  isDecided: () => false,
  has: () => false,
  unsaid: () => null,
  takeover: {
    isOn: false,
    holder: null,
    down: (event) => event,
    hush: () => undefined,
    keeps: () => false,
    take: async () => 'not_open',
    sit: () => ({ isHolder: false, take: async () => 'not_open', leave: () => undefined }),
    giveBack: () => 'not_open',
    withdraw: () => undefined,
    close: () => undefined,
  },
};
