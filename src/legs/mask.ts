/** Masks payloads in place (RFC 6455 section 5.3); applied twice it gives the payload back. */

import { randomFillSync } from 'node:crypto';
import { createRequire } from 'node:module';

interface Native {
  unmask(bytes: Buffer, key: Buffer): void;
}

/** `bufferutil` is optional, as it is for `ws`: it is compiled, and not every machine can. */
function native(): Native | null {
  try {
    return createRequire(import.meta.url)('bufferutil') as Native;
  } catch {
    return null;
  }
}

const compiled = native();
/** Under this many bytes the call into compiled code costs more than the loop. */
const smallBytes = 32;

function xor(bytes: Buffer, key: Buffer): void {
  for (let i = 0; i < bytes.length; i++) bytes[i] = (bytes[i] as number) ^ (key[i & 3] as number);
}

/** Masks or unmasks `bytes` with a key of four bytes. */
export function mask(bytes: Buffer, key: Buffer): void {
  if (compiled === null || bytes.length < smallBytes) xor(bytes, key);
  else compiled.unmask(bytes, key);
}

// Asking the system for each key by itself would cost more than masking.
const pool = Buffer.allocUnsafeSlow(8192);
let used = pool.length;

/** Fills `bytes`, which are few, with what nobody can foretell. */
export function fillRandom(bytes: Buffer): void {
  if (used + bytes.length > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  for (let i = 0; i < bytes.length; i++) bytes[i] = pool[used++] as number;
}
