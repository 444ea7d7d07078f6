/** What the primary and its workers say and ask over their lines. */

import { z } from 'zod';
import type { Settings } from '../config/settings.js';
import { address, command, revocation } from '../control/commands.js';
import { streamMessage } from '../control/streams.js';
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
  /** For the worker at this address; it arrives as `passed`. */
  z.strictObject({ say: z.literal('pass'), to: address, message: streamMessage }),
]);
export type WorkerNotice = z.input<typeof workerNotice>;

/** To be carried out on the sessions that it is about, whoever has them; each verb has an answer of its own. */
const control = z.strictObject({ about: z.literal('control'), command });

/** What a worker asks. */
export const workerQuestion = z.discriminatedUnion('about', [
  z.strictObject({ about: z.literal('store'), call: z.unknown() }),
  /** By the worker at this address; by all where that is null. */
  control.extend({ to: address.nullable() }),
  /** Whether it may go: it has drained, and these are the last it counted. */
  z.strictObject({ about: z.literal('end'), metrics: z.unknown() }),
]);
export type WorkerQuestion = z.input<typeof workerQuestion>;

/** What the primary says. */
export const primaryNotice = z.discriminatedUnion('say', [
  /** They were checked against their schema where they were read. */
  z.strictObject({ say: z.literal('settings'), settings: z.custom<Settings>((value) => typeof value === 'object') }),
  /** What all of them are called by together. */
  z.strictObject({ say: z.literal('replica'), replica: z.string().max(100) }),
  /** Whether no place is left. */
  z.strictObject({ say: z.literal('full'), isFull: z.boolean() }),
  /** All that was withdrawn before this worker began. */
  z.strictObject({ say: z.literal('revocations'), revocations: z.array(revocation) }),
  z.strictObject({ say: z.literal('passed'), message: streamMessage }),
  /** The worker at this address is no more, or all of the replica of this name are out of reach; `hasDied`: it is no more. */
  z.strictObject({ say: z.literal('gone'), address, hasDied: z.boolean() }),
  z.strictObject({ say: z.literal('drain') }),
]);
export type PrimaryNotice = z.input<typeof primaryNotice>;

/** What the primary asks. */
export const primaryQuestion = z.discriminatedUnion('about', [
  z.strictObject({ about: z.literal('metrics') }),
  z.strictObject({ about: z.literal('readiness') }),
  control,
]);
export type PrimaryQuestion = z.input<typeof primaryQuestion>;

/** The answer about readiness. */
export const readiness = z.strictObject({ ready: z.boolean(), detail: z.string().nullable() });
