/** What the emulator saw: upgrades, events, errors and the ground truth of what was billed, within bounds. */
import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { JsonObject } from '../protocol/event.js';
import { addUsage, noUsage, type UsageTotals } from './sums.js';

/** One event a client sent. Audio is reduced to its size and digest unless `keepAudio` was asked for. */
export interface ReceivedEvent {
  readonly type: string;
  readonly atMs: number;
  /** The event as it was parsed; without its `audio`, and only ids when it was over 256 KiB. */
  readonly body: JsonObject;
  readonly audio: { readonly bytes: number; readonly sha256: string; readonly data?: Buffer } | null;
}

/** One upgrade request and what came of it. */
export interface ReceivedConnection {
  readonly id: number;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly openedAtMs: number;
  /** The HTTP status of a refusal, or the name of the fault that struck the handshake. */
  refused: number | string | null;
  closed: { readonly code: number; readonly reason: string } | null;
  /** The newest events, in order. */
  readonly events: readonly ReceivedEvent[];
  /** Events that came, including those no longer kept. */
  eventCount: number;
  audioBytes: number;
  /** The newest stretches of it that became items, in order. */
  readonly committed: readonly CommittedAudio[];
  errors: number;
}

/** A stretch of the audio that one connection appended: bytes from `from` to before `to`, counted from its first. */
interface CommittedAudio {
  readonly itemId: string;
  readonly from: number;
  readonly to: number;
  readonly sha256: string;
  /** The bytes, where `keepAudio` was asked for. */
  readonly data?: Buffer;
}

/** How much is remembered. */
export interface RecordLimits {
  /** Keep the bytes of audio, for small tests. */
  readonly keepAudio?: boolean;
  /** Events kept per connection; default 10,000, 0 for none. */
  readonly recordEvents?: number;
  /** Ended connections remembered; default 200. */
  readonly recordConnections?: number;
}

/** Events kept over all connections together, so that many long streams cannot fill the memory. */
const maxEventsTotal = 200_000;
const maxBodyBytes = 256 * 1024;
const maxErrors = 1000;
/** Utterances remembered of one connection. */
const maxCommitted = 1000;

interface Entry extends ReceivedConnection {
  events: ReceivedEvent[];
  committed: CommittedAudio[];
}

type Truthy<T> = Exclude<T, false | null | undefined | 0 | ''>;

/** The records of one emulator. */
export class Received {
  readonly usage: UsageTotals = noUsage();
  readonly #limits: Required<RecordLimits>;
  readonly #connections = new Map<number, Entry>();
  readonly #open = new Set<number>();
  readonly #waiters = new Set<() => void>();
  #errors: JsonObject[] = [];
  #errorCount = 0;
  #nextId = 1;

  constructor(limits: RecordLimits = {}) {
    const { keepAudio = false, recordEvents = 10_000, recordConnections = 200 } = limits;
    this.#limits = { keepAudio, recordEvents, recordConnections };
  }

  /** Every remembered connection, oldest first, refused ones included. */
  get connections(): readonly ReceivedConnection[] {
    return [...this.#connections.values()];
  }

  /** The connections that are open now. */
  get open(): readonly ReceivedConnection[] {
    return [...this.#open].flatMap((id) => this.#connections.get(id) ?? []);
  }

  /** How many connections are open now. */
  get openCount(): number {
    return this.#open.size;
  }

  /** How many upgrades were asked for since the start. */
  get connectionCount(): number {
    return this.#nextId - 1;
  }

  /** How many `error` events were sent for something a client did. */
  get errors(): number {
    return this.#errorCount;
  }

  /** The newest of those errors. */
  get errorEvents(): readonly JsonObject[] {
    return this.#errors;
  }

  /** Every remembered event of every connection, of one type if it is given. */
  events(type?: string): ReceivedEvent[] {
    const all = this.connections.flatMap(({ events }) => events);
    return type === undefined ? all : all.filter((event) => event.type === type);
  }

  /**
   * Resolves with the first truthy value of `probe`, which is asked now and whenever something happens.
   * Rejects after `timeoutMs`, 5000 by default.
   */
  waitFor<T>(probe: (received: Received) => T, timeoutMs = 5000): Promise<Truthy<T>> {
    return new Promise((resolve, reject) => {
      const check = () => {
        try {
          const found = probe(this);
          if (!found) return;
          finish();
          resolve(found as Truthy<T>);
        } catch (error) {
          finish();
          reject(error);
        }
      };
      const timer = setTimeout(() => {
        finish();
        reject(new Error(`the emulator did not see what was waited for within ${timeoutMs} ms`));
      }, timeoutMs);
      const finish = () => {
        clearTimeout(timer);
        this.#waiters.delete(check);
      };
      this.#waiters.add(check);
      check();
    });
  }

  /** Forgets everything but the open connections. */
  clear(): void {
    for (const [id, entry] of this.#connections) {
      if (this.#open.has(id)) Object.assign(entry, { events: [], committed: [] });
      else this.#connections.delete(id);
    }
    this.#errors = [];
    this.#errorCount = 0;
    Object.assign(this.usage, noUsage());
  }

  /** Notes an upgrade request. */
  upgrade(url: string, headers: IncomingHttpHeaders): ReceivedConnection {
    const entry: Entry = {
      id: this.#nextId++,
      url,
      headers,
      openedAtMs: Date.now(),
      refused: null,
      closed: null,
      events: [],
      eventCount: 0,
      audioBytes: 0,
      committed: [],
      errors: 0,
    };
    this.#connections.set(entry.id, entry);
    this.#open.add(entry.id);
    this.#changed();
    return entry;
  }

  refused(connection: ReceivedConnection, how: number | string): void {
    connection.refused = how;
    this.#ended(connection);
  }

  closed(connection: ReceivedConnection, code: number, reason: string): void {
    connection.closed = { code, reason };
    this.#ended(connection);
  }

  event(connection: ReceivedConnection, body: JsonObject, size: number): void {
    const entry = this.#connections.get(connection.id);
    if (!entry) return;
    const { audio: encoded, ...rest } = body;
    entry.eventCount += 1;
    if (typeof encoded === 'string') entry.audioBytes += Buffer.byteLength(encoded, 'base64');
    const limit = Math.min(this.#limits.recordEvents, Math.ceil(maxEventsTotal / Math.max(1, this.#open.size)));
    if (this.#limits.recordEvents > 0) {
      const kept = size - (typeof encoded === 'string' ? encoded.length : 0) > maxBodyBytes ? idsOf(rest) : rest;
      const audio = typeof encoded === 'string' ? digest(encoded, this.#limits.keepAudio) : null;
      entry.events.push({ type: String(body.type), atMs: Date.now(), body: kept, audio });
      // Trimmed in batches: moving the whole list for every event would cost more than it saves.
      if (entry.events.length > limit * 1.2 + 10) entry.events.splice(0, entry.events.length - limit);
    }
    this.#changed();
  }

  /** Notes which stretch of a connection's audio became an item. */
  committed(connection: ReceivedConnection, itemId: string, from: number, audio: Buffer): void {
    const entry = this.#connections.get(connection.id);
    if (!entry) return;
    const sha256 = createHash('sha256').update(audio).digest('hex');
    const data = this.#limits.keepAudio ? { data: audio } : {};
    entry.committed.push({ itemId, from, to: from + audio.length, sha256, ...data });
    if (entry.committed.length > maxCommitted) entry.committed.shift();
    this.#changed();
  }

  error(connection: ReceivedConnection, error: JsonObject): void {
    connection.errors += 1;
    this.#errorCount += 1;
    this.#errors.push(error);
    if (this.#errors.length > maxErrors) this.#errors.splice(0, maxErrors / 2);
    this.#changed();
  }

  /** Adds what was billed to the totals. */
  spent({ type, usage }: JsonObject): void {
    addUsage(this.usage, type, usage);
    this.#changed();
  }

  #ended(connection: ReceivedConnection): void {
    this.#open.delete(connection.id);
    const surplus = this.#connections.size - this.#open.size - this.#limits.recordConnections;
    let left = surplus;
    for (const id of this.#connections.keys()) {
      if (left <= 0) break;
      if (this.#open.has(id)) continue;
      this.#connections.delete(id);
      left -= 1;
    }
    this.#changed();
  }

  #changed(): void {
    for (const check of [...this.#waiters]) check();
  }
}

function digest(encoded: string, keep: boolean): ReceivedEvent['audio'] {
  const data = Buffer.from(encoded, 'base64');
  const sha256 = createHash('sha256').update(data).digest('hex');
  return { bytes: data.length, sha256, ...(keep ? { data } : {}) };
}

function idsOf({ type, event_id }: JsonObject): JsonObject {
  return { type, ...(event_id === undefined ? {} : { event_id }) };
}
