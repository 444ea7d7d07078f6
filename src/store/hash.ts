/** Names that tell nobody what they are of. */

import { createHash } from 'node:crypto';

/** The first 16 bytes of SHA-256, in base64url. */
export function h(text: string): string {
  return createHash('sha256').update(text).digest().subarray(0, 16).toString('base64url');
}
