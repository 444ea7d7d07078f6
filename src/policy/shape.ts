/** Allow-lists as data: a shape copies from a value what it knows and drops the rest. */

import { isObject, type Json, type JsonObject } from '../protocol/event.js';

export { isObject };

/** Rebuilds a value from its permitted parts; undefined when nothing of it is permitted. */
export type Shape = (value: Json | undefined) => Json | undefined;

/** Permitted fields by name. */
export type Fields = Readonly<Record<string, Shape>>;

/** An own field of an object; what it inherits is not there. */
export function fieldOf(value: JsonObject, key: string): Json | undefined {
  return Object.hasOwn(value, key) ? value[key] : undefined;
}

/** The value at a dotted path of own fields, or undefined. */
export function valueAt(value: Json | undefined, path: readonly PropertyKey[]): Json | undefined {
  let at: Json | undefined = value;
  for (const key of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return undefined;
    at = (at as JsonObject)[key as string];
  }
  return at;
}

/** Sets the value at a path, making the objects on the way. The path is one of ours, never a peer's. */
export function setAt(target: JsonObject, path: readonly string[], value: Json): void {
  const [key = '', ...rest] = path;
  if (rest.length === 0) {
    target[key] = value;
    return;
  }
  const next = fieldOf(target, key);
  const child: JsonObject = isObject(next) ? next : {};
  target[key] = child;
  setAt(child, rest, value);
}

/** Any string. */
export const text: Shape = (value) => (typeof value === 'string' ? value : undefined);
/** Any number. */
export const number: Shape = (value) => (typeof value === 'number' ? value : undefined);
/** A boolean. */
export const flag: Shape = (value) => (typeof value === 'boolean' ? value : undefined);
/** Anything at all: only for what a trusted client may see whole. */
export const anything: Shape = (value) => value;

/** One of these strings. */
export function oneOf(...allowed: readonly string[]): Shape {
  return (value) => (typeof value === 'string' && allowed.includes(value) ? value : undefined);
}

/** Whatever the first of these shapes permits. */
export function either(...shapes: readonly Shape[]): Shape {
  return (value) => {
    for (const shape of shapes) {
      const permitted = shape(value);
      if (permitted !== undefined) return permitted;
    }
    return undefined;
  };
}

/** The shape, or null. */
export function nullable(shape: Shape): Shape {
  return (value) => (value === null ? null : shape(value));
}

/** An object with these fields and no others. */
export function object(fields: Fields): Shape {
  return (value) => (isObject(value) ? fieldsOf(value, fields) : undefined);
}

/** A list; elements that the shape does not permit are left out. */
export function list(shape: Shape): Shape {
  return (value) => {
    if (!Array.isArray(value)) return undefined;
    const permitted = value.map(shape);
    // What `filter` makes has room for many more, which every session would keep.
    return permitted.includes(undefined) ? permitted.filter((one) => one !== undefined) : (permitted as Json[]);
  };
}

/** A list whose elements are all permitted: what is left of another would say something that upstream did not. */
export function whole(shape: Shape): Shape {
  const elements = list(shape);
  return (value) => {
    const permitted = elements(value);
    return Array.isArray(value) && Array.isArray(permitted) && permitted.length === value.length
      ? permitted
      : undefined;
  };
}

/** The permitted fields of an object. */
export function fieldsOf(value: JsonObject, fields: Fields): JsonObject {
  const rebuilt: JsonObject = {};
  for (const key in fields) {
    const permitted = fields[key]?.(fieldOf(value, key));
    if (permitted !== undefined) rebuilt[key] = permitted;
  }
  return rebuilt;
}

/**
 * Whether text is base64 (RFC 4648 section 4) with nothing in it that decoders disagree about. Node's decoder drops what
 * it does not know, so a full length proves all but the two letters of the URL alphabet.
 */
export function isExactBase64(value: string): boolean {
  const padding = value.endsWith('==') ? 2 : value.endsWith('=') ? 1 : 0;
  if (Buffer.from(value, 'base64').length !== (value.length / 4) * 3 - padding) return false;
  return !value.includes('-') && !value.includes('_');
}

const flaws: readonly (readonly [RegExp, string])[] = [
  [/^data:/, 'without the beginning of a data: URL'],
  [/[^\w+/=\s-]/, 'without other characters'],
  [/[-_]/, 'in the alphabet with + and /, not in the one for URLs with - and _'],
  [/[\r\n]/, 'without line ends'],
  [/\s/, 'without blanks'],
  [/=/, 'without padding before its end'],
];

/** What text that is not exact base64 should be, in words by which an encoder can be set. */
export function exactBase64For(value: string): string {
  const letters = value.replace(/={1,2}$/, '');
  const [, flaw] = flaws.find(([seen]) => seen.test(letters)) ?? [];
  if (flaw) return `exact base64 ${flaw}`;
  return letters.length % 4 === 1 ? 'exact base64 of whole bytes' : 'exact base64 with its padding (=)';
}
