/** Shapes that settings of more than one place have. */

import { z } from 'zod';

/** A text that says something. */
export const text = z.string().trim().min(1);
