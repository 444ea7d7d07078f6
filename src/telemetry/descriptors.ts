/** How many of the descriptors are in use that the system lets this process have. */

import { readdirSync, readFileSync, statSync } from 'node:fs';

/** Descriptors of this process. */
export interface Descriptors {
  readonly open: number;
  /** As many as there may be. */
  readonly most: number;
}

/** Those of this process; without a limit where the system tells none. */
export function countDescriptors(): Descriptors {
  try {
    const [, most] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1')) ?? [];
    return most === undefined ? unlimited : { open: countOpen(), most: Number(most) };
  } catch (error) {
    // Where not even these files can be opened, there is nothing left; elsewhere than on Linux there are none.
    const { code } = error as NodeJS.ErrnoException;
    return code === 'EMFILE' || code === 'ENFILE' ? { open: 1, most: 1 } : unlimited;
  }
}

const unlimited: Descriptors = { open: 0, most: Number.POSITIVE_INFINITY };

/** Linux from 6.2 on has the number as the size of the folder; before, it must be read. */
function countOpen(): number {
  return statSync('/proc/self/fd').size || readdirSync('/proc/self/fd').length;
}
