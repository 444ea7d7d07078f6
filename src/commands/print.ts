/** What commands print: lines of others' texts; nothing that happens to a stream ends the command. */

import { visible } from '../terminal.js';

let unwritten = false;

/** Whether what was printed could not be written, but by a reader who had enough. */
export function isUnwritten(): boolean {
  return unwritten;
}

function printer(stream: () => NodeJS.WriteStream): (line: string) => void {
  let opened: NodeJS.WriteStream | null = null;
  return (line) => {
    // Not before something is printed: `serve` writes its log by itself.
    opened ??= stream().on('error', ({ code }: NodeJS.ErrnoException) => {
      unwritten ||= code !== 'EPIPE';
    });
    opened.write(`${visible(line)}\n`);
  };
}

/** Prints a line of the answer. */
export const print = printer(() => process.stdout);
/** Prints a line of what is wrong. */
export const complain = printer(() => process.stderr);

/** Prints each line as it comes, and keeps it. */
export function keeping(print: (line: string) => void): { said: string[]; say(line: string): void } {
  const said: string[] = [];
  return {
    said,
    say(line) {
      said.push(line);
      print(`  ${line}`);
    },
  };
}
