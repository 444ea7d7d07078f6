/** How many of the descriptors are in use that the system lets this process have. */

import { readdirSync, readFileSync, statSync } from 'node:fs';

/** The share in use, 0 to 1; 0 where the system does not tell. */
export function descriptorsUsed(): number {
  try {
    const soft = Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1] ?? 0);
    return soft > 0 ? countOpen() / soft : 0;
  } catch (error) {
    // Where not even these files can be opened, there is nothing left; elsewhere than on Linux there are none.
    const { code } = error as NodeJS.ErrnoException;
    return code === 'EMFILE' || code === 'ENFILE' ? 1 : 0;
  }
}

/** Linux from 6.2 on has the number as the size of the folder; before, it must be read. */
function countOpen(): number {
  return statSync('/proc/self/fd').size || readdirSync('/proc/self/fd').length;
}
