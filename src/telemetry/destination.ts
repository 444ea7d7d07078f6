/** Where the lines of the log go: gathered, bounded, and never waited for; what cannot be kept is dropped and counted. */

import { inTime } from '../wait.js';
import type { Output } from './stdout.js';

/** What a destination tells and what it may hold. */
export interface DestinationOptions {
  readonly output: Output;
  /** Told when lines can be written again, with the number of those that were dropped meanwhile. */
  readonly recovered: (lines: number) => void;
  /** Bytes of lines that wait; default 4 MiB. */
  readonly mostBytes?: number;
}

interface Waiting {
  readonly text: string;
  readonly bytes: number;
  readonly isAudit: boolean;
}

const defaultBytes = 4 * 1024 * 1024;
/** Of lines in one write; more would only be copied again where a pipe takes a part. */
const writeBytes = 256 * 1024;
/** A pipe whose reader is behind is soon read again; a full disk is not soon empty. */
const busyMs = 20;
const brokenMs = 1000;
const endMs = 200;
const fatal = 60;
/** Never woken: a sleep where there is no loop to go back to. */
const asleep = new Int32Array(new SharedArrayBuffer(4));

/** In the form that pino writes to; with its metadata, it says of each line how grave it is and what it was made from. */
export class Destination {
  /** Set by pino before each line. */
  lastLevel = 0;
  lastObj: object | null = null;
  readonly #output: Output;
  readonly #recovered: (lines: number) => void;
  readonly #mostBytes: number;
  #lines: Waiting[] = [];
  #bytes = 0;
  /** What has been begun: whole lines but for the first, of which a part may be written. */
  #begun: Buffer | null = null;
  #isWriting = false;
  #timer: NodeJS.Timeout | NodeJS.Immediate | null = null;
  #dropped = 0;
  #untold = 0;
  #whenEmpty: (() => void) | null = null;

  constructor({ output, recovered, mostBytes = defaultBytes }: DestinationOptions) {
    Object.defineProperty(this, Symbol.for('pino.metadata'), { value: true });
    this.#output = output;
    this.#recovered = recovered;
    this.#mostBytes = mostBytes;
  }

  /** Lines that were dropped since the process began. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Bytes of lines that wait. */
  get bytes(): number {
    return this.#bytes + (this.#begun?.length ?? 0);
  }

  write(text: string): void {
    const isAudit = this.lastObj !== null && 'audit' in this.lastObj;
    this.lastObj = null;
    if (this.lastLevel >= fatal) {
      // The process is about to end, and nothing that is begun now would be done.
      this.flush();
      this.#writeNow(Buffer.from(text), endMs);
      return;
    }
    const line = { text, bytes: Buffer.byteLength(text), isAudit };
    if (this.#hasRoom(line)) {
      this.#lines.push(line);
      this.#bytes += line.bytes;
    } else this.#drop();
    if (!this.#isWriting) this.#timer ??= setImmediate(() => this.#next());
  }

  /** Writes what waits for at most so many milliseconds; for a process that ends. */
  async end(ms = endMs): Promise<void> {
    if (this.bytes > 0 || this.#isWriting) {
      const empty = new Promise<void>((resolve) => {
        this.#whenEmpty = resolve;
      });
      await inTime(empty, ms);
    }
    this.flush(0);
  }

  /** Writes what waits without going back to the loop; for a process that ends now. */
  flush(ms = endMs): void {
    const lines = this.#lines.map(({ text }) => text).join('');
    // What the system is writing at this moment is nobody's to write again.
    const begun = this.#isWriting ? null : this.#begun;
    if (begun !== null) this.#begun = null;
    this.#lines = [];
    this.#bytes = 0;
    this.#writeNow(Buffer.concat([begun ?? Buffer.alloc(0), Buffer.from(lines)]), ms);
  }

  #writeNow(bytes: Buffer, ms: number): void {
    const until = performance.now() + ms;
    for (let rest = bytes; rest.length > 0; ) {
      try {
        rest = rest.subarray(this.#output.writeNow(rest));
      } catch (error) {
        const isBusy = (error as NodeJS.ErrnoException).code === 'EAGAIN';
        // There is nobody left to be told.
        if (!isBusy || performance.now() >= until) return;
        Atomics.wait(asleep, 0, 0, busyMs);
      }
    }
  }

  #hasRoom({ bytes, isAudit }: Waiting): boolean {
    if (this.bytes + bytes <= this.#mostBytes) return true;
    return isAudit && this.#makeRoom(bytes);
  }

  /** Gives up the newest lines but those of the audit, many at once: a full destination must not make each line dear. */
  #makeRoom(bytes: number): boolean {
    const wanted = Math.max(bytes, this.#mostBytes / 8);
    let freed = 0;
    const stay: Waiting[] = [];
    for (const line of this.#lines.toReversed()) {
      if (line.isAudit || freed >= wanted) {
        stay.push(line);
        continue;
      }
      freed += line.bytes;
      this.#drop();
    }
    this.#lines = stay.toReversed();
    this.#bytes -= freed;
    return this.bytes + bytes <= this.#mostBytes;
  }

  #drop(): void {
    this.#dropped++;
    this.#untold++;
  }

  #next(): void {
    this.#timer = null;
    if (this.#isWriting) return;
    const bytes = this.#take();
    if (bytes === null) {
      this.#whenEmpty?.();
      return;
    }
    this.#isWriting = true;
    this.#output.write(bytes, (error, written) => {
      this.#isWriting = false;
      if (error) {
        const ms = error.code === 'EAGAIN' ? busyMs : brokenMs;
        this.#timer = setTimeout(() => this.#next(), ms).unref();
        return;
      }
      this.#wrote(written);
      if (this.#begun === null) this.#tell();
      this.#next();
    });
  }

  /** What is to be written next. */
  #take(): Buffer | null {
    if (this.#begun !== null || this.#lines.length === 0) return this.#begun;
    // Workers share a pipe: a line of one must not stand within a line of another.
    const most = Math.min(writeBytes, this.#output.wholeBytes);
    let count = 1;
    let bytes = (this.#lines[0] as Waiting).bytes;
    for (let next = this.#lines[count]; next && bytes + next.bytes <= most; next = this.#lines[++count])
      bytes += next.bytes;
    const lines = this.#lines.splice(0, count);
    this.#bytes -= bytes;
    this.#begun = Buffer.from(lines.map(({ text }) => text).join(''));
    return this.#begun;
  }

  #wrote(bytes: number): void {
    const begun = this.#begun;
    if (begun !== null) this.#begun = bytes < begun.length ? begun.subarray(bytes) : null;
  }

  #tell(): void {
    const lines = this.#untold;
    this.#untold = 0;
    if (lines > 0) this.#recovered(lines);
  }
}
