/**
 * `error.param`, also where the message quotes it, in the words of whoever reads it. Best effort: a path that no table
 * names stays as it is.
 */

import type { Json, JsonObject } from '../event.js';
import { responseRequestFields, sessionFields } from './session.js';
import { isObject } from './tables.js';

const paths = [
  ...sessionFields.map((row) => [`session.${row.preview}`, `session.${row.ga.join('.')}`] as const),
  ...responseRequestFields.map((row) => [`response.${row.preview}`, `response.${row.ga.join('.')}`] as const),
];

const previewPaths = paths.map(([preview, ga]) => [ga, preview] as const);

/** The body of an `error` event with `error.param` as a path of the GA objects. */
export function errorToGa(body: JsonObject): JsonObject {
  return withParam(body, (param) => renamed(param, paths));
}

/** The body of an `error` event with `error.param` as a path of the preview objects. */
export function errorToPreview(body: JsonObject): JsonObject {
  return withParam(body, paramToPreview);
}

/** The path of a field of a GA event as a preview client calls it. */
export function paramToPreview(param: string): string {
  return renamed(param, previewPaths);
}

function withParam(body: JsonObject, rename: (param: string) => string): JsonObject {
  const { error } = body;
  if (!isObject(error) || typeof error.param !== 'string') return body;
  const param: Json = rename(error.param);
  if (param === error.param) return body;
  const { message } = error;
  const told = typeof message === 'string' ? { message: message.replaceAll(`'${error.param}'`, `'${param}'`) } : {};
  return { ...body, error: { ...error, ...told, param } };
}

function renamed(param: string, table: readonly (readonly [from: string, to: string])[]): string {
  for (const [from, to] of table) {
    if (!param.startsWith(from)) continue;
    const rest = param.slice(from.length);
    if (rest === '' || rest.startsWith('.') || rest.startsWith('[')) return to + rest;
  }
  return param;
}
