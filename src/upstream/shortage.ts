/** Tells what the relay itself lacks from what is wrong with an upstream: a full table of ours is nobody else's fault. */

import { closeSync, openSync } from 'node:fs';
import { devNull } from 'node:os';

const shortages = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'ENOBUFS', 'EADDRNOTAVAIL', 'EAI_MEMORY']);
const namesNotFound = new Set([
  'ENOTFOUND',
  'ENODATA',
  'EAI_AGAIN',
  'EAI_FAIL',
  'EAI_SYSTEM',
  'EAI_NODATA',
  'EAI_NONAME',
]);
const deepestCause = 6;

/**
 * The system's code when something failed for want of descriptors, memory or local ports of this machine, else null. Also
 * looks at causes.
 */
export function shortageOf(error: unknown, depth = 0): string | null {
  if (!(error instanceof Error) || depth > deepestCause) return null;
  const { code, cause, errors } = error as { code?: unknown; cause?: unknown; errors?: unknown };
  if (typeof code === 'string') {
    if (shortages.has(code)) return code;
    // The system's resolver does not say that it could open no file: to it the name does not exist then.
    if (namesNotFound.has(code)) return lackOfDescriptors();
  }
  for (const inner of [cause, ...(Array.isArray(errors) ? errors.slice(0, deepestCause) : [])]) {
    const found = shortageOf(inner, depth + 1);
    if (found !== null) return found;
  }
  return null;
}

/** The system's code when no file can be opened now, else null; for failures whose own error does not tell. */
export function lackOfDescriptors(): string | null {
  try {
    closeSync(openSync(devNull, 'r'));
    return null;
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    return shortages.has(code) ? code : null;
  }
}
