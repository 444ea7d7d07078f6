/** Changes the sample rate of PCM16 mono by a polyphase filter: a sinc under a Kaiser window, one set of taps per phase. */

const zeroCrossings = 32;
// With 32 zero crossings a stop band of 80 dB takes 8 % of the lower Nyquist frequency on each side of the cut-off.
const stopBandDb = 80;
const rollOff = 0.92;
// Odd ratios such as 44101:24000 would need a filter per output sample; the nearest of 1024 is within -67 dB.
const maxPhases = 1024;
const lowestRate = 1000;
const highestRate = 192_000;

/**
 * The whole of `samples` at another rate, in Hz; the sound stays where it was in time. Throws a RangeError for rates
 * outside 1,000 to 192,000.
 */
export function resample(samples: Int16Array, from: number, to: number): Int16Array {
  const next = createResampler(from, to);
  if (from === to) return samples;
  const padded = new Int16Array(samples.length + halfWidth(from, to) + 1);
  padded.set(samples);
  return next(padded).subarray(0, Math.ceil((samples.length * to) / from));
}

/**
 * The same for a stream: call the result with each chunk in order, and it gives what is ready, without seams. Its output
 * runs 32 samples of the lower rate behind (4 ms for 8 kHz); that much silence at the end brings out the rest.
 */
export function createResampler(from: number, to: number): (chunk: Int16Array) => Int16Array {
  for (const rate of [from, to]) {
    if (!Number.isInteger(rate) || rate < lowestRate || rate > highestRate) {
      throw new RangeError(`The sample rate ${rate} Hz is not supported; use ${lowestRate} to ${highestRate} Hz.`);
    }
  }
  if (from === to) return (chunk) => chunk;

  const divisor = greatestCommonDivisor(from, to);
  const up = to / divisor;
  const down = from / divisor;
  const half = halfWidth(from, to);
  const phases = Math.min(up, maxPhases);
  // One phase more than there are, so that rounding up to the next whole sample needs no special case.
  const taps = Array.from({ length: phases + 1 }, (_, phase) => filter(phase / phases, half, from, to));

  let held = new Int16Array(half - 1);
  // The next output lies at held[center] plus offset / up of a sample.
  let center = half - 1;
  let offset = 0;

  return (chunk) => {
    const input = new Int16Array(held.length + chunk.length);
    input.set(held);
    input.set(chunk, held.length);
    const output = new Int16Array(Math.ceil((Math.max(0, input.length - half - center) * up) / down) + 1);
    let count = 0;
    while (center + half < input.length) {
      const weights = taps[Math.round((offset / up) * phases)] as Float32Array;
      const first = center - half + 1;
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += (weights[i] as number) * (input[first + i] as number);
      output[count++] = Math.max(-32768, Math.min(32767, Math.round(sum)));
      offset += down;
      center += Math.floor(offset / up);
      offset %= up;
    }
    held = input.slice(center - half + 1);
    center = half - 1;
    return output.subarray(0, count);
  };
}

/** How many samples of the input the filter looks at on each side. */
function halfWidth(from: number, to: number): number {
  return Math.ceil(zeroCrossings * Math.max(1, from / to));
}

/** The weights of the samples around a point that lies `fraction` after the one in the middle. */
function filter(fraction: number, half: number, from: number, to: number): Float32Array {
  const cutoff = rollOff * Math.min(1, to / from);
  const weights = Float64Array.from({ length: 2 * half }, (_, i) => {
    const distance = i - (half - 1) - fraction;
    return sinc(cutoff * distance) * kaiser(distance / half);
  });
  // The sum of the weights is the gain at 0 Hz; made 1 for every phase, or a constant would ripple.
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return Float32Array.from(weights, (weight) => weight / sum);
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

// Kaiser's own formula for the shape that gives a stop band over 50 dB.
const kaiserBeta = 0.1102 * (stopBandDb - 8.7);

function kaiser(x: number): number {
  return Math.abs(x) > 1 ? 0 : besselI0(kaiserBeta * Math.sqrt(1 - x * x)) / besselI0(kaiserBeta);
}

function besselI0(x: number): number {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > sum * 1e-12; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
