/** The relay's log: pino JSON lines, one when a session opens, one when it ends, never its content. */

import { type DestinationStream, type Logger, pino } from 'pino';
import { Destination } from './destination.js';
import { outputOf } from './stdout.js';

export type Log = Logger;

export const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;

/**
 * What a secret looks like wherever it stands. No pattern reaches over a quote that ends a string, so a line stays JSON.
 * One pass over the finished line: the redaction of pino itself walks every object for every name, and was a tenth of
 * what it costs to open a session.
 */
const shapes = [
  // The text of a field under whose name a secret could ever be logged by mistake, at any depth.
  /(?<="(?:authorization|api-key|api_key|apiKey|token|credential|secret|cookie|password)":")(?:[^"\\]|\\.)+/,
  // JSON Web Tokens (RFC 7519) and the relay's client secrets.
  /eyJ[\w-]{6,}\.[\w-]{6,}\.[\w-]*/,
  /\bek_[\w-]{8,}/,
  /(?<=\bBearer\s)[\w.~+/=-]+/i,
  /(?<=openai-insecure-api-key\.)[^\s",]+/,
  /(?<=[?&](?:api-key|authorization|token|access_token|client_secret|code|sig|key)=)[^&\s"\\]+/i,
  // The user information of a URL.
  /(?<=:\/\/)[^/\s"@]+(?=@)/,
  /-----BEGIN [A-Z ]*PRIVATE KEY-----[^"]*?-----END [A-Z ]*PRIVATE KEY-----/,
];
const shape = new RegExp(shapes.map(({ source }) => source).join('|'), 'gi');
/** A shorter secret would be found in words that are none. */
const shortestSecret = 8;
/** Reloads may bring new ones for as long as the process runs. */
const secretsKept = 1000;

const concealed = new WeakMap<Log, Set<string>>();

/** Where a log writes, for those that write to standard output. */
const destinations = new WeakMap<Log, Destination>();

/** What a log has of lines that could not be written yet. */
export interface LogBacklog {
  /** Bytes of lines that wait. */
  readonly bytes: number;
  /** Lines given up since the process began. */
  readonly dropped: number;
}

/** How far a log is behind; always up to date where it does not write to standard output. */
export function backlogOf(log: Log): LogBacklog {
  return destinations.get(log) ?? { bytes: 0, dropped: 0 };
}

/** Writes what waits, in a fifth of a second or not at all; to be called once, at the end of a process. */
export async function endLog(log: Log): Promise<void> {
  await destinations.get(log)?.end();
}

/** The same without waiting, for a process that must end at once. */
export function flushLog(log: Log): void {
  destinations.get(log)?.flush();
}

/** Fields that make a line one of the audit: who did what. When lines must be dropped, these are the last. */
export const audit = { audit: true } as const;

/** Keeps these very texts out of everything that `log` writes from now on, until many others have followed. */
export function conceal(log: Log, secrets: Iterable<string>): void {
  const known = concealed.get(log);
  for (const secret of secrets) {
    if (!known || secret.length < shortestSecret) continue;
    // As it is, and as it stands within a JSON string.
    for (const form of [secret, JSON.stringify(secret).slice(1, -1)]) {
      known.delete(form);
      known.add(form);
    }
  }
  for (const oldest of known ?? []) if (known && known.size > secretsKept) known.delete(oldest);
}

/**
 * Makes the log; `destination` is standard output unless given.
 * @param worker which of several processes writes; in every line, where it is given
 */
export function createLog(
  level: (typeof logLevels)[number],
  destination?: DestinationStream,
  worker: number | null = null,
): Log {
  const own = new Set<string>();
  const standard = destination ? null : standardOutput((lines) => log.warn({ lines }, 'log.dropped'));
  const log: Log = pino(
    {
      level,
      base: { service: 'realtime-relay', ...(worker !== null && { worker }) },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: (error: unknown) => describeError(error, (text) => withoutSecrets(text, own)) },
      hooks: { streamWrite: (line) => escaped(withoutSecrets(line, own)) },
    },
    destination ?? (standard as DestinationStream),
  );
  concealed.set(log, own);
  if (standard) destinations.set(log, standard);
  return log;
}

function standardOutput(recovered: (lines: number) => void): Destination {
  return new Destination({ output: outputOf(1), recovered });
}

/** What a terminal obeys and JSON lets stand: some people read a log with `tail`. It can only be inside of a text. */
function escaped(line: string): string {
  return line.replace(commands, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
const commands = /[\x7f-\x9f\p{Bidi_Control}\u2028\u2029]/gu;

/** The net under all others: no matter in which field or text a secret stands, it does not leave the process. */
function withoutSecrets(line: string, secrets: Iterable<string>): string {
  let result = line;
  for (const secret of secrets) result = result.replaceAll(secret, '[redacted]');
  return result.replace(shape, '[redacted]');
}

/** What nobody threw: a text, or a kind of failure with its message. */
function describeOther(error: unknown, clean: (text: string) => string): unknown {
  if (typeof error === 'string') return clean(error).slice(0, 500);
  const { kind, message } = (error ?? {}) as { kind?: unknown; message?: unknown };
  return typeof kind === 'string' && typeof message === 'string'
    ? { kind, message: clean(message).slice(0, 1000) }
    : undefined;
}

/** An error and its causes as plain data: names, messages and codes, and a stack for what nobody foresaw. */
function describeError(error: unknown, clean: (text: string) => string, depth = 0): unknown {
  // Cleaned before it is cut: half a secret would no longer be recognised.
  if (!(error instanceof Error)) return describeOther(error, clean);
  const { code, status, kind, phase, advice } = error as {
    code?: unknown;
    status?: unknown;
    kind?: unknown;
    phase?: unknown;
    advice?: unknown;
  };
  const unforeseen = error.name === 'TypeError' || error.name === 'RangeError' || error.name === 'ReferenceError';
  return {
    name: error.name,
    message: clean(error.message).slice(0, 1000),
    ...(code !== undefined && { code }),
    ...(status !== undefined && { status }),
    ...(kind !== undefined && { kind }),
    ...(typeof phase === 'string' && { phase }),
    ...(advice !== undefined && { advice }),
    ...(unforeseen && { stack: error.stack }),
    ...(error.cause !== undefined && depth < 4 && { cause: describeError(error.cause, clean, depth + 1) }),
  };
}
