/** What would be right in place of a value that has the wrong type. */

/** Seconds, and bytes, of the units people write. */
const seconds: Readonly<Record<string, number>> = { ms: 0.001, s: 1, sec: 1, m: 60, min: 60, h: 3600, d: 86_400 };
const bytes: Readonly<Record<string, number>> = {
  ...{ b: 1, k: 1024, kb: 1024, kib: 1024, m: 1024 ** 2, mb: 1024 ** 2, mib: 1024 ** 2 },
  ...{ g: 1024 ** 3, gb: 1024 ** 3, gib: 1024 ** 3 },
};
/** What one of a setting is, by the end of its name. */
const units: readonly (readonly [end: string, of: Readonly<Record<string, number>>, one: number])[] = [
  ['_ms', seconds, 0.001],
  ['_seconds', seconds, 1],
  ['_bytes', bytes, 1],
];

/** A hint such as `write 30`, or null. `expected` is the type the setting has, `name` the last part of its path. */
export function hintFor(expected: string, value: unknown, name: string): string | null {
  if (value === null) return 'it is empty; write a value, or leave the setting out';
  if (expected === 'string') return isPlain(value) ? `write it in quotes: "${value}"` : null;
  if (expected === 'array') return isPlain(value) || typeof value === 'string' ? `write a list: [${value}]` : null;
  if (typeof value !== 'string' && typeof value !== 'number') return null;
  const written = String(value).trim().toLowerCase();
  if (expected === 'boolean') {
    const meant = onOrOff(written);
    return meant === null ? null : `write ${meant}, without quotes`;
  }
  const meant = expected === 'number' || expected === 'int' ? numberOf(written, name) : null;
  return meant === null ? null : `write ${meant}, without quotes and unit`;
}

/** What people write for on and off, or null. */
export function onOrOff(text: string): boolean | null {
  if (['on', 'true', 'yes', 'y', '1', 'enabled'].includes(text)) return true;
  return ['off', 'false', 'no', 'n', '0', 'disabled'].includes(text) ? false : null;
}

function isPlain(value: unknown): boolean {
  return typeof value === 'number' || typeof value === 'boolean';
}

function numberOf(text: string, name: string): number | null {
  const [, digits, unit = ''] = /^(-?\d+(?:[_,]\d{3})*(?:\.\d+)?)\s*([a-z]*)$/.exec(text) ?? [];
  if (digits === undefined) return null;
  const number = Number(digits.replace(/[_,]/g, ''));
  if (unit === '') return number;
  const [, of, one] = units.find(([end]) => name.endsWith(end)) ?? [];
  const factor = of?.[unit];
  return factor === undefined || one === undefined ? null : Math.round((number * factor * 1000) / one) / 1000;
}
