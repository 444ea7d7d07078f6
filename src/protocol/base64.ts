/**
 * Exact base64 without a string and without a decoded copy: Node reads base64 from strings only, which for every audio
 * event would make one that is garbage at once. Sixteen bytes at a time are checked by WebAssembly instead.
 */

/** The part of the global that is used; Node's type definitions leave it to those of the browser. */
declare const WebAssembly: {
  readonly Module: new (code: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: object };
};

// Made from base64.wat, which says what it does; a test compares the two.
const code = Buffer.from(
  'AGFzbQEAAAABBgFgAX8BfwMCAQAFAwEAAgcXAgZtZW1vcnkCAAppc0FscGhhYmV0AAAKXwFdAgF/AntB/wH9DyEDA0AgAf0ABAAhAiADIAJBIP0P' +
    '/VBB4QD9D/1xQRr9D/0mIAJBL/0P/XFBC/0P/Sb9UCACQSv9D/0j/VD9TiEDIAFBEGoiASAASQ0ACyAD/WML',
  'base64',
);
const { memory, isAlphabet } = new WebAssembly.Instance(new WebAssembly.Module(code)).exports as {
  memory: { buffer: ArrayBuffer };
  isAlphabet: (length: number) => number;
};
// Written by every check and read only by it, so it carries nothing from one session to another.
const scratch = new Uint8Array(memory.buffer);
const chunkBytes = 65_536;
const step = 16;
const LETTER = 0x41;
const EQUALS = 0x3d;

/** The bytes that `message` from `start` to `end` decodes to; 0 when that is empty or not exact base64 (RFC 4648 section 4). */
export function exactBase64Bytes(message: Buffer, start: number, end: number): number {
  const length = end - start;
  if (length === 0 || length % 4 !== 0) return 0;
  const padding = message[end - 1] !== EQUALS ? 0 : message[end - 2] !== EQUALS ? 1 : 2;
  const last = end - padding;
  for (let at = start; at < last; at += chunkBytes) {
    const chunk = message.subarray(at, Math.min(at + chunkBytes, last));
    scratch.set(chunk);
    scratch.fill(LETTER, chunk.length, chunk.length + step);
    if (isAlphabet(chunk.length) === 0) return 0;
  }
  return (length / 4) * 3 - padding;
}
