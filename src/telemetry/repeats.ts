/** Log lines that say the same of the same again and again: the first few are written, the rest are counted. */

import type { Log } from './log.js';

/** What is written of one kind within a span of time. */
interface Kind {
  readonly fields: object;
  readonly message: string;
  readonly level: 'warn' | 'error';
  count: number;
}

const spanMs = 10_000;
/** Lines of a kind that are written in full within each span. */
const inFull = 5;
/** Kinds that are told apart; those beyond are one for each message. */
const mostKinds = 1000;

/** The lines of one log; a timer runs while there are any, and holds up no end of a process. */
class Repeats {
  readonly #log: Log;
  readonly #kinds = new Map<string, Kind>();
  #timer: NodeJS.Timeout | null = null;

  constructor(log: Log) {
    this.#log = log;
  }

  write(level: 'warn' | 'error', about: string, fields: object, common: object, message: string): void {
    const asked = `${level} ${message} ${about}`;
    const isOwn = this.#kinds.has(asked) || this.#kinds.size < mostKinds;
    const key = isOwn ? asked : `${level} ${message}`;
    const kind = this.#kinds.get(key) ?? { fields: isOwn ? common : {}, message, level, count: 0 };
    this.#kinds.set(key, kind);
    if (++kind.count <= inFull) this.#log[level](fields, message);
    this.#timer ??= setInterval(() => this.flush(), spanMs).unref();
  }

  /** Says how many more there were, and begins anew. */
  flush(): void {
    for (const { fields, message, level, count } of this.#kinds.values()) {
      if (count > inFull) this.#log[level]({ ...fields, repeated: count - inFull }, message);
    }
    this.#kinds.clear();
    if (this.#timer) clearInterval(this.#timer);
    this.#timer = null;
  }
}

const repeats = new WeakMap<Log, Repeats>();

/**
 * Writes a line of a fault that its sender may cause as often as they like: at most five of a kind in ten seconds, and
 * then one with their number in `repeated`.
 * @param about what makes it one kind: who, and why
 * @param common those of the fields that all of the kind have
 */
export function logRepeated(
  log: Log,
  level: 'warn' | 'error',
  line: { readonly about: string; readonly common: object; readonly own: object },
  message: string,
): void {
  const of = repeats.get(log) ?? new Repeats(log);
  repeats.set(log, of);
  of.write(level, line.about, { ...line.own, ...line.common }, line.common, message);
}

/** Writes what is counted and not said yet; to be called at the end. */
export function flushRepeated(log: Log): void {
  repeats.get(log)?.flush();
}
