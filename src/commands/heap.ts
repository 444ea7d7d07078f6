/** How the garbage collector of a relay weighs time against memory. */

import { setFlagsFromString } from 'node:v8';

/** The heap may grow to this many times what is alive before all of it is searched; V8's own choice is about two. */
const growth = 4;

/**
 * Lets the collector search the whole heap less often. Every read from a socket is memory that V8 counts as the heap's, and
 * frees only with the next small collection; at the pace of a hundred conversations the count reaches the usual limit twice
 * a second, and each search of the whole heap, for nothing, takes 20 ms. With room for what comes between two small
 * collections these searches are rare. The flag is read whenever a limit is set, so it may be changed in a running
 * process; one given on the command line stays.
 */
export function searchHeapLessOften(): void {
  const flag = '--heap-growing-percent';
  if (process.execArgv.some((argument) => argument.replaceAll('_', '-').startsWith(flag))) return;
  setFlagsFromString(`${flag}=${(growth - 1) * 100}`);
}
