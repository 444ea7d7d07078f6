/** A small vocabulary to write the accepted shape of a client event down as data, with the complaints Azure makes. */
import type { Json } from '../protocol/event.js';

/** Why an event was not carried out: becomes the `error` event. */
export interface Complaint {
  readonly code: string;
  readonly message: string;
  readonly param: string | null;
}

/** Looks at one value; null when it is fine. `path` names the value the way Azure's `param` does. */
export type Check = (value: Json | undefined, path: string) => Complaint | null;

/** A complaint with a code that has no field to blame unless one is given. */
export function complaint(code: string, message: string, param: string | null = null): Complaint {
  return { code, message, param };
}

/** The complaint about a field that this dialect, model or event does not have. */
export function unknownParameter(path: string): Complaint {
  return complaint('unknown_parameter', `Unknown parameter: '${path}'.`, path);
}

/** The complaint about a field of the wrong JSON type. */
function wrongType(path: string, expected: string, value: Json | undefined): Complaint {
  const message = `Invalid type for '${path}': expected ${expected}, but got ${nounOf(value)} instead.`;
  return complaint('invalid_type', message, path);
}

/** The complaint about a field whose value is out of range. */
function wrongValue(path: string, message: string): Complaint {
  return complaint('invalid_value', message, path);
}

/** A text, no longer than `max` characters and matching `pattern`. */
export function string(limits: { max?: number; pattern?: RegExp } = {}): Check {
  const { max = Number.POSITIVE_INFINITY, pattern } = limits;
  return (value, path) => {
    if (typeof value !== 'string') return wrongType(path, 'a string', value);
    if (value.length > max) {
      const message = `Invalid '${path}': string too long. Expected a string with maximum length ${max}, but got a string with length ${value.length} instead.`;
      return wrongValue(path, message);
    }
    if (pattern && !pattern.test(value)) {
      return wrongValue(path, `Invalid '${path}': string does not match pattern. Expected ${pattern.source}.`);
    }
    return null;
  };
}

/** A number from `min` to `max`, both included. */
export function number(min: number, max: number, kind: 'integer' | 'decimal' = 'decimal'): Check {
  return (value, path) => {
    const noun = kind === 'integer' ? 'an integer' : 'a decimal';
    if (typeof value !== 'number' || (kind === 'integer' && !Number.isInteger(value))) {
      return wrongType(path, noun, value);
    }
    if (value < min || value > max) {
      const bound = value < min ? `>= ${min}` : `<= ${max}`;
      return wrongValue(path, `Invalid '${path}': expected a value ${bound}, but got ${value} instead.`);
    }
    return null;
  };
}

/** True or false. */
export const boolean: Check = (value, path) =>
  typeof value === 'boolean' ? null : wrongType(path, 'a boolean', value);

/** One of these words. */
export function oneOf(...values: string[]): Check {
  return (value, path) => {
    if (typeof value !== 'string') return wrongType(path, `one of ${listed(values)}`, value);
    return values.includes(value) ? null : unsupported(path, value, values);
  };
}

/** The same, or null. */
export function nullable(check: Check): Check {
  return (value, path) => (value === null ? null : check(value, path));
}

/** Accepts what any of the checks accepts; complains with the words of the check chosen by the value's JSON type. */
export function either(forStrings: Check, otherwise: Check): Check {
  return (value, path) => (typeof value === 'string' ? forStrings(value, path) : otherwise(value, path));
}

/** A list of at most `max` values that are each fine, 4096 when left out. */
export function array(check: Check, limits: { max?: number } = {}): Check {
  const { max = 4096 } = limits;
  return (value, path) => {
    if (!Array.isArray(value)) return wrongType(path, 'an array', value);
    if (value.length > max) {
      return wrongValue(path, `Invalid '${path}': array too long. Expected at most ${max} elements.`);
    }
    return firstOf(value, (element, index) => check(element, `${path}[${index}]`));
  };
}

/**
 * An object with exactly these fields. A missing required field is told before an unknown one, and `type` before any
 * other unknown one: that is what a body of the other dialect gets from Azure.
 */
export function object(fields: Readonly<Record<string, Check>>, required: readonly string[] = []): Check {
  return (value, path) => {
    if (!isObject(value)) return wrongType(path, 'an object', value);
    const at = (key: string) => (path === '' ? key : `${path}.${key}`);
    const missing = required.find((key) => value[key] === undefined);
    if (missing !== undefined) {
      const message = `Missing required parameter: '${at(missing)}'.`;
      return complaint('missing_required_parameter', message, at(missing));
    }
    const unknown = Object.keys(value).filter((key) => !Object.hasOwn(fields, key));
    if (unknown[0] !== undefined) return unknownParameter(at(unknown.includes('type') ? 'type' : unknown[0]));
    return firstOf(Object.entries(value), ([key, field]) => fields[key]?.(field, at(key)) ?? null);
  };
}

/** An object with any fields, such as a JSON schema. */
export const anyObject: Check = (value, path) => (isObject(value) ? null : wrongType(path, 'an object', value));

/** String pairs, as many and as long as the service keeps. */
export const metadata: Check = (value, path) => {
  if (!isObject(value)) return wrongType(path, 'an object', value);
  const entries = Object.entries(value);
  if (entries.length > 16) return wrongValue(path, `Invalid '${path}': too many properties. Expected at most 16.`);
  return firstOf(entries, ([key, text]) => {
    if (key.length > 64) return wrongValue(path, `Invalid '${path}': a key is longer than 64 characters.`);
    return string({ max: 512 })(text, `${path}.${key}`);
  });
};

/** Chooses the check by a field of the value, such as `type`; `otherwise` is the variant when the field is absent. */
export function variants(tag: string, checks: Readonly<Record<string, Check>>, otherwise?: string): Check {
  return (value, path) => {
    if (!isObject(value)) return wrongType(path, 'an object', value);
    const chosen = value[tag] ?? otherwise;
    const at = `${path}.${tag}`;
    if (chosen === undefined) {
      return complaint('missing_required_parameter', `Missing required parameter: '${at}'.`, at);
    }
    if (typeof chosen !== 'string') return wrongType(at, 'a string', chosen);
    const check = Object.hasOwn(checks, chosen) ? checks[chosen] : undefined;
    return check ? check(value, path) : unsupported(at, chosen, Object.keys(checks));
  };
}

/** One of a few lists of strings, in any order: output modalities. */
export function combination(...allowed: readonly (readonly string[])[]): Check {
  return (value, path) => {
    if (!Array.isArray(value)) return wrongType(path, 'an array', value);
    const same = (list: readonly string[]) => list.length === value.length && list.every((one) => value.includes(one));
    if (allowed.some(same)) return null;
    const show = (list: readonly Json[]) => `[${list.map((one) => `'${String(one)}'`).join(', ')}]`;
    const supported = allowed.map(show).join(' and ');
    const clipped = show(value.slice(0, 4));
    return wrongValue(path, `Invalid modalities: ${clipped}. Supported combinations are: ${supported}.`);
  };
}

/** The bytes of exact base64, or null. */
export function base64Bytes(text: string): Buffer | null {
  const bytes = Buffer.from(text, 'base64');
  // Node skips what is not base64, so anything illegal shows as missing bytes; only the URL alphabet it also takes.
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const exact = text.length % 4 === 0 && bytes.length === (text.length / 4) * 3 - padding;
  return exact && !text.includes('-') && !text.includes('_') ? bytes : null;
}

/** The complaint about audio that is not base64. */
export function notAudio(path: string): Complaint {
  return wrongValue(path, `Invalid '${path}'. Expected base64-encoded audio bytes but got an invalid value.`);
}

/** Exact base64. */
export const base64: Check = (value, path) => {
  if (typeof value !== 'string') return wrongType(path, 'a string', value);
  return base64Bytes(value) ? null : notAudio(path);
};

/** Whether a JSON value is an object, not an array and not null. */
export function isObject(value: Json | undefined): value is { [key: string]: Json | undefined } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function unsupported(path: string, value: string, values: readonly string[]): Complaint {
  const shown = value.slice(0, 100);
  return wrongValue(path, `Invalid value: '${shown}'. Supported values are: ${listed(values)}.`);
}

function listed(values: readonly string[]): string {
  const quoted = values.map((value) => `'${value}'`);
  if (quoted.length < 3) return quoted.join(' and ');
  return `${quoted.slice(0, -1).join(', ')}, and ${quoted.at(-1)}`;
}

function nounOf(value: Json | undefined): string {
  if (value === undefined || value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'an integer' : 'a decimal';
  return { string: 'a string', boolean: 'a boolean', object: 'an object' }[typeof value as 'string'];
}

function firstOf<T>(values: readonly T[], check: (value: T, index: number) => Complaint | null): Complaint | null {
  for (const [index, value] of values.entries()) {
    const found = check(value, index);
    if (found) return found;
  }
  return null;
}
