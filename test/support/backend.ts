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
};
