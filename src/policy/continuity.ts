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
});
