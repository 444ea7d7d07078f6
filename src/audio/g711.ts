/** Telephone speech, one byte a sample at 8 kHz: mu-law (`audio/pcmu`) and A-law (`audio/pcma`). Source: ITU-T G.711. */

const ulawToPcm = Int16Array.from({ length: 256 }, (_, byte) => {
  const bits = ~byte & 0xff;
  const magnitude = ((((bits & 0x0f) << 3) + 0x84) << ((bits >> 4) & 7)) - 0x84;
  return bits & 0x80 ? -magnitude : magnitude;
});

const alawToPcm = Int16Array.from({ length: 256 }, (_, byte) => {
  // G.711 sends A-law with the even bits inverted.
  const bits = byte ^ 0x55;
  const segment = (bits >> 4) & 7;
  const step = ((bits & 0x0f) << 4) + 8;
  const magnitude = segment === 0 ? step : (step + 0x100) << (segment - 1);
  return bits & 0x80 ? magnitude : -magnitude;
});

// Encoding looks only at the top 14 (mu-law) and 13 (A-law) bits, as G.711 does: a table of that size is the encoder.
const ulawOf14Bits = Uint8Array.from({ length: 1 << 14 }, (_, index) => {
  const value = index - (1 << 13);
  const biased = Math.min((value < 0 ? ~value : value) + 33, 0x1fff);
  const segment = 26 - Math.clz32(biased);
  const bits = (segment << 4) | ((biased >> (segment + 1)) & 0x0f);
  return ~(value < 0 ? bits | 0x80 : bits) & 0xff;
});

const alawOf13Bits = Uint8Array.from({ length: 1 << 13 }, (_, index) => {
  const value = index - (1 << 12);
  const magnitude = value < 0 ? ~value : value;
  const segment = Math.max(0, 27 - Math.clz32(magnitude));
  const bits = (segment << 4) | ((magnitude >> Math.max(1, segment)) & 0x0f);
  return (value < 0 ? bits : bits | 0x80) ^ 0x55;
});

/** PCM16 from mu-law bytes. */
export function decodeUlaw(bytes: Uint8Array): Int16Array {
  return Int16Array.from(bytes, (byte) => ulawToPcm[byte] ?? 0);
}

/** Mu-law bytes from PCM16. */
export function encodeUlaw(samples: Int16Array): Uint8Array {
  return Uint8Array.from(samples, (sample) => ulawOf14Bits[(sample >> 2) + (1 << 13)] ?? 0xff);
}

/** PCM16 from A-law bytes. */
export function decodeAlaw(bytes: Uint8Array): Int16Array {
  return Int16Array.from(bytes, (byte) => alawToPcm[byte] ?? 0);
}

/** A-law bytes from PCM16. */
export function encodeAlaw(samples: Int16Array): Uint8Array {
  return Uint8Array.from(samples, (sample) => alawOf13Bits[(sample >> 3) + (1 << 12)] ?? 0xd5);
}
