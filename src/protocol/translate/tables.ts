/** Tables of fields that have another name, place or value in the other dialect, and the two ways to apply one. */

import { isObject, type Json, type JsonObject } from '../event.js';

export { isObject };

/** One field that differs between the dialects: a preview key, and a path in the GA object. */
export interface Field {
  readonly preview: string;
  readonly ga: readonly string[];
  readonly toGa: (value: Json) => Json;
  readonly toPreview: (value: Json) => Json;
}

type Convert = (value: Json) => Json;

const same: Convert = (value) => value;

/** A row of a field table; `ga` is a dotted path. */
export function field(preview: string, ga: string, toGa: Convert = same, toPreview: Convert = same): Field {
  return { preview, ga: ga.split('.'), toGa, toPreview };
}

/** The object without some of its keys; the object itself when it has none of them. */
export function omit(object: JsonObject, ...keys: readonly string[]): JsonObject {
  if (!keys.some((key) => Object.hasOwn(object, key))) return object;
  // fromEntries defines own properties, so that a key named __proto__ stays an ordinary key.
  return Object.fromEntries(Object.entries(object).filter(([key]) => !keys.includes(key)));
}

/** A flat preview object as the nested GA one. Absent fields stay absent, null stays null, unknown fields survive. */
export function nest(flat: JsonObject, fields: readonly Field[]): JsonObject {
  let nested = omit(flat, ...fields.map((row) => row.preview));
  for (const row of fields) {
    const value = flat[row.preview];
    if (value !== undefined) nested = withPath(nested, row.ga, row.toGa(value));
  }
  return nested;
}

/** A nested GA object as the flat preview one; what the table does not name stays where it is. */
export function flatten(nested: JsonObject, fields: readonly Field[]): JsonObject {
  const flat: JsonObject = {};
  let rest = nested;
  for (const row of fields) {
    const value = valueAt(nested, row.ga);
    if (value !== undefined) flat[row.preview] = row.toPreview(value);
    rest = withoutPath(rest, row.ga);
  }
  return { ...rest, ...flat };
}

/** The value at a path of nested objects, or undefined. */
export function valueAt(object: JsonObject, path: readonly string[]): Json | undefined {
  let value: Json | undefined = object;
  for (const key of path) value = isObject(value) ? value[key] : undefined;
  return value;
}

/** A copy that holds a value at a path; objects on the way are made only where they are missing. */
export function withPath(object: JsonObject, path: readonly string[], value: Json): JsonObject {
  const [key, ...rest] = path;
  if (key === undefined) return object;
  const child = object[key];
  return { ...object, [key]: rest.length === 0 ? value : withPath(isObject(child) ? child : {}, rest, value) };
}

function withoutPath(object: JsonObject, path: readonly string[]): JsonObject {
  const [key, ...rest] = path;
  if (key === undefined) return object;
  if (rest.length === 0) return omit(object, key);
  const child = object[key];
  if (!isObject(child)) return object;
  const left = withoutPath(child, rest);
  return Object.keys(left).length === 0 ? omit(object, key) : { ...object, [key]: left };
}
