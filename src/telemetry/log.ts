/** The relay's log: pino JSON lines, one when a session opens, one when it ends, never its content. */

import { type DestinationStream, type Logger, pino } from 'pino';

export type Log = Logger;

export const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;

/** Names under which a secret could ever be logged by mistake. */
const secrets = [
  'authorization',
  'api-key',
  'api_key',
  'apiKey',
  'token',
  'credential',
  'secret',
  'cookie',
  'password',
];

/** Makes the log; `destination` is standard output unless given. */
export function createLog(level: (typeof logLevels)[number], destination?: DestinationStream): Log {
  return pino(
    {
      level,
      base: { service: 'realtime-relay' },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: {
        paths: secrets.flatMap((name) => [`["${name}"]`, `*["${name}"]`, `*.*["${name}"]`]),
        censor: '[redacted]',
      },
      serializers: { error: describeError },
    },
    destination as DestinationStream,
  );
}

/** An error and its causes as plain data: names, messages and codes, and a stack for what nobody foresaw. */
function describeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return typeof error === 'string' ? error.slice(0, 500) : undefined;
  const { code, status, kind, advice } = error as {
    code?: unknown;
    status?: unknown;
    kind?: unknown;
    advice?: unknown;
  };
  const unforeseen = error.name === 'TypeError' || error.name === 'RangeError' || error.name === 'ReferenceError';
  return {
    name: error.name,
    message: error.message.slice(0, 1000),
    ...(code !== undefined && { code }),
    ...(status !== undefined && { status }),
    ...(kind !== undefined && { kind }),
    ...(advice !== undefined && { advice }),
    ...(unforeseen && { stack: error.stack }),
    ...(error.cause !== undefined && depth < 4 && { cause: describeError(error.cause, depth + 1) }),
  };
}
