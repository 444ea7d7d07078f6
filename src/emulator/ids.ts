import { randomBytes, randomInt } from 'node:crypto';

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
/** Live ids begin with the second of their making, counted from here. Source: recordings of live sessions. */
const epochSeconds = 1_576_800_000;

/** An opaque id in the form and length of the service's: `item_…`, `resp_…`. */
export function newId(prefix: 'event' | 'item' | 'resp' | 'call' | 'conv' | 'sess' | 'rtc'): string {
  if (prefix === 'rtc') return `rtc_${randomBytes(16).toString('hex')}`;
  if (prefix === 'call') return `call_${random(16)}`;
  return `${prefix}_${base62(Math.floor(Date.now() / 1000) - epochSeconds)}${random(16)}`;
}

/** Letters and digits that nobody can foretell. */
export function random(length: number): string {
  let text = '';
  for (let i = 0; i < length; i++) text += digits[randomInt(digits.length)];
  return text;
}

function base62(value: number): string {
  let text = '';
  for (let rest = value; rest > 0; rest = Math.floor(rest / digits.length)) text = digits[rest % digits.length] + text;
  return text.padStart(5, '0').slice(-5);
}
