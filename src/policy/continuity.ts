/** How a profile has its conversations outlive their connections: the schema of `continuity`. */

import { z } from 'zod';

/** One profile's. */
export const continuity = z.strictObject({
  enabled: z
    .boolean()
    .optional()
    .describe(
      'Whether a conversation outlives its connections. Left out: as far as that takes nothing of the profile.',
    ),
  resume_seconds: z
    .number()
    .int()
    .min(0)
    .max(300)
    .default(30)
    .describe('How long a session waits for a client that has lost its connection and can come back; 0: not at all.'),
  words_bytes: z
    .number()
    .int()
    .min(1024)
    .max(1024 * 1024)
    .default(64 * 1024)
    .describe('How much of what was said is kept for another connection to be told; older turns go first.'),
  look_back_seconds: z
    .number()
    .min(0.5)
    .max(10)
    .default(1.5)
    .describe('How much of the latest sound is kept while nobody speaks.'),
  lost_answer: z
    .enum(['regenerate', 'keep_quiet'])
    .default('regenerate')
    .describe('Whether an answer that was cut off is asked for again.'),
  re_anchor: z
    .string()
    .default('The conversation goes on. Do not greet again, and keep to its language.')
    .describe('What another connection is told before the conversation; the empty string for nothing.'),
  replay: z
    .enum(['items', 'labelled'])
    .default('items')
    .describe(
      'Whether another connection is told what was said item by item, or in one item with a line for each turn.',
    ),
  second_dial_ms: z
    .number()
    .int()
    .min(1)
    .default(600)
    .describe('How long a second upstream waits for the first one when a connection is replaced.'),
});
