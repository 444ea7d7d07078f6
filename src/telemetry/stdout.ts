/** Standard output as the log uses it: written to without ever being waited for, whatever stands behind it. */

import { constants, fstatSync, openSync, write, writeSync } from 'node:fs';
import { Socket } from 'node:net';

/** Where bytes go; neither way of writing waits for a reader. */
export interface Output {
  /** Of several processes that write to the same, none comes between so many bytes of one write. */
  readonly wholeBytes: number;
  /** Writes some of the bytes, from the first on, and says how many. */
  write(bytes: Buffer, done: (error: NodeJS.ErrnoException | null, written: number) => void): void;
  /** The same at once, for a process that ends. @throws the system's error */
  writeNow(bytes: Buffer): number;
}

/** PIPE_BUF of Linux: a write of so much to a pipe that does not block is done whole, or not at all (pipe(7)). */
const pipeBytes = 4096;

/** Opens a descriptor's file, pipe or socket for the log; with a pipe that is full, `EAGAIN` is all that happens. */
export function outputOf(fd: number): Output {
  const own = nonBlocking(fd);
  return {
    wholeBytes: fstatSync(fd).isFIFO() ? pipeBytes : Number.POSITIVE_INFINITY,
    write: (bytes, done) => write(own, bytes, 0, bytes.length, null, done),
    writeNow: (bytes) => writeSync(own, bytes),
  };
}

/** Keeps what changed the mode of a descriptor that could not be opened anew. */
const kept: Socket[] = [];

/**
 * A descriptor for the same that does not block. A thread that waits in a write to a pipe nobody reads would keep the
 * process from ending. The mode belongs to the open file and is shared with other processes, so it is opened once more
 * for this one where the system allows it.
 */
function nonBlocking(fd: number): number {
  const stat = fstatSync(fd);
  if (stat.isFIFO() || stat.isCharacterDevice()) {
    try {
      return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    } catch {
      // Another system than Linux, or a pipe of another user.
    }
  }
  if (stat.isFIFO() || stat.isSocket()) kept.push(new Socket({ fd, readable: false, writable: true }).unref());
  return fd;
}
