/** What the primary and its workers say and ask over their lines. */

import { z } from 'zod';
import type { Settings } from '../config/settings.js';
import type { Snapshot } from '../telemetry/merge.js';

/** The number, also NaN: the mean of nothing. */
const number = z.custom<number>((value) => typeof value === 'number');

/** A worker's metrics. */
export const snapshot = z
  .array(
    z.object({
      name: z.string(),
      help: z.string(),
      type: z.string(),
      aggregator: z.enum(['sum', 'first', 'min', 'max', 'average', 'omit']),
      values: z
        .array(
          z.object({
            labels: z.record(z.string(), z.union([z.string(), z.number()])),
            value: number,
            metricName: z.string().optional(),
          }),
        )
        .max(20_000),
    }),
  )
  .max(1000)
  // prom-client's type definitions have a number for `type`, its objects a name.
  .transform((metrics) => metrics as unknown as Snapshot);

/** What a worker says. */
export const workerNotice = z.discriminatedUnion('say', [
  /** It runs, and needs the settings. */
  z.strictObject({ say: z.literal('hello') }),
  z.strictObject({ say: z.literal('listening'), url: z.url() }),
  /** It lives; once a second. */
  z.strictObject({ say: z.literal('beat') }),
]);
export type WorkerNotice = z.input<typeof workerNotice>;

/** A call that somebody wants ended, who must be its owner. */
const call = z.strictObject({
  id: z.string().max(1000),
  issuer: z.string(),
  subject: z.string(),
  tenant: z.string().nullable(),
});

const user = z.strictObject({ issuer: z.string(), subject: z.string(), tenant: z.string().nullable() });

const revocation = z.strictObject({
  kind: z.enum(['user', 'token']),
  name: z.string(),
  issuer: z.string().nullable(),
  tenant: z.string().nullable(),
  issuedUntil: z.number(),
  expiresAt: z.number(),
});

/** What became of a revocation in all processes. */
export const revoked = z.strictObject({ ended: z.number(), isKept: z.boolean() });

/** What a worker asks. */
export const workerQuestion = z.discriminatedUnion('about', [
  z.strictObject({ about: z.literal('store'), call: z.unknown() }),
  /** Whether another worker has hung up. */
  z.strictObject({ about: z.literal('call'), call }),
  /** Whether another worker has ended a session of this user whose client has gone. */
  z.strictObject({ about: z.literal('ghost'), user }),
  z.strictObject({ about: z.literal('revocation'), revocation }),
  /** Whether it may go: it has drained, and these are the last it counted. */
  z.strictObject({ about: z.literal('end'), metrics: z.unknown() }),
]);
export type WorkerQuestion = z.input<typeof workerQuestion>;

/** What the primary says. */
export const primaryNotice = z.discriminatedUnion('say', [
  /** They were checked against their schema where they were read. */
  z.strictObject({ say: z.literal('settings'), settings: z.custom<Settings>((value) => typeof value === 'object') }),
  /** Whether no place is left. */
  z.strictObject({ say: z.literal('full'), isFull: z.boolean() }),
  /** All that was withdrawn before this worker began. */
  z.strictObject({ say: z.literal('revocations'), revocations: z.array(revocation) }),
  z.strictObject({ say: z.literal('drain') }),
]);
export type PrimaryNotice = z.input<typeof primaryNotice>;

/** What the primary asks. */
export const primaryQuestion = z.discriminatedUnion('about', [
  z.strictObject({ about: z.literal('metrics') }),
  z.strictObject({ about: z.literal('readiness') }),
  /** Whether it had this call, and has ended it. */
  z.strictObject({ about: z.literal('call'), call }),
  /** Whether it had a session of this user whose client has gone, and has ended it. */
  z.strictObject({ about: z.literal('ghost'), user }),
  /** How many sessions this ended; what is not kept ends sessions, and then is forgotten. */
  z.strictObject({ about: z.literal('revocation'), revocation, isKept: z.boolean() }),
]);
export type PrimaryQuestion = z.input<typeof primaryQuestion>;

/** The answer about readiness. */
export const readiness = z.strictObject({ ready: z.boolean(), detail: z.string().nullable() });
