/** Follows streams of Redis over a connection of its own, whose reads wait for what comes. */

import { setTimeout as wait } from 'node:timers/promises';
import { answered, type Connection } from './connection.js';

/** What stands in a stream, as names and values. */
export type Fields = Readonly<Record<string, string>>;

interface ReaderOptions {
  readonly open: (lost: (error: unknown) => void) => Promise<Connection>;
  /** The streams, all in one slot. */
  readonly streams: readonly string[];
  /** Which of them is for this reader alone: what it has read is deleted there. */
  readonly inbox: string;
  /** Told of each entry, in the order of its stream. */
  readonly received: (stream: string, fields: Fields) => void;
  /** What came before it follows must be looked at otherwise; it follows once this is done. */
  readonly opened: () => Promise<void>;
  readonly failed: (error: unknown) => void;
  /** Whether it is to try again by itself. */
  readonly isWanted: () => boolean;
}

/** Nothing longer: a new token cannot be given to a connection that waits, nor a dead server be noticed. */
const blockMs = 5000;
const deadlineMs = 6000;
const patientMs = 1000;
const againMs = 1000;
const mostAtOnce = 500;

/** Never goes on from where another connection was: a trimmed or restarted stream does not say what is missing. */
export class Reader {
  readonly #options: ReaderOptions;
  #connection: Connection | null = null;
  #isRetrying = false;
  #isClosed = false;

  constructor(options: ReaderOptions) {
    this.#options = options;
  }

  /** Begins anew. Rejects when it cannot; afterwards it keeps going by itself as long as it is wanted. */
  async open(): Promise<void> {
    this.#drop();
    const { open, streams, inbox, opened } = this.#options;
    const connection = await open((error) => this.#lost(connection, error));
    if (this.#isClosed) return connection.close();
    this.#connection = connection;
    try {
      // What was said before is lost to who has said it, too.
      await answered(connection.send(inbox, ['DEL', inbox]), patientMs);
      const last = await Promise.all(streams.map((stream) => lastOf(connection, stream)));
      await opened();
      void this.#follow(connection, last);
    } catch (error) {
      if (this.#connection === connection) this.#drop();
      throw error;
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#drop();
  }

  #drop(): void {
    const connection = this.#connection;
    this.#connection = null;
    connection?.close();
  }

  async #follow(connection: Connection, last: string[]): Promise<void> {
    const { streams, inbox, received } = this.#options;
    const [slot = ''] = streams;
    try {
      while (this.#connection === connection) {
        const from = ['XREAD', 'COUNT', String(mostAtOnce), 'BLOCK', String(blockMs), 'STREAMS', ...streams, ...last];
        const read = await answered(connection.send(slot, from), deadlineMs);
        for (const [stream, entries] of streamsIn(read)) {
          const place = streams.indexOf(stream);
          for (const [id, fields] of entries) {
            if (place >= 0) last[place] = id;
            if (this.#connection === connection) received(stream, fields);
          }
          if (stream !== inbox || this.#connection !== connection) continue;
          await answered(connection.send(inbox, ['XDEL', inbox, ...entries.map(([id]) => id)]), patientMs);
        }
      }
    } catch (error) {
      this.#lost(connection, error);
    }
  }

  #lost(connection: Connection, error: unknown): void {
    if (this.#connection !== connection) return;
    this.#drop();
    this.#options.failed(error);
    void this.#retry();
  }

  async #retry(): Promise<void> {
    if (this.#isRetrying) return;
    this.#isRetrying = true;
    while (!this.#isClosed && !this.#connection && this.#options.isWanted()) {
      await wait(againMs * (0.8 + 0.4 * Math.random()), undefined, { ref: false });
      if (this.#isClosed || this.#connection || !this.#options.isWanted()) break;
      await this.open().catch(this.#options.failed);
    }
    this.#isRetrying = false;
  }
}

async function lastOf(connection: Connection, stream: string): Promise<string> {
  const [last] = entriesIn(
    await answered(connection.send(stream, ['XREVRANGE', stream, '+', '-', 'COUNT', '1']), patientMs),
  );
  return last?.[0] ?? '0-0';
}

/** By stream, whichever way the version of the protocol has it. */
function streamsIn(read: unknown): [string, [string, Fields][]][] {
  if (read === null || typeof read !== 'object') return [];
  const pairs = Array.isArray(read) ? read : read instanceof Map ? [...read] : Object.entries(read);
  return (pairs as [string, unknown][]).map(([stream, entries]) => [String(stream), entriesIn(entries)]);
}

function entriesIn(entries: unknown): [string, Fields][] {
  if (!Array.isArray(entries)) return [];
  return (entries as [unknown, unknown][]).map(([id, flat]) => {
    const fields: Record<string, string> = Object.create(null);
    const all = Array.isArray(flat) ? flat : [];
    for (let at = 0; at + 1 < all.length; at += 2) fields[String(all[at])] = String(all[at + 1]);
    return [String(id), fields];
  });
}
