/** What upstream says that it runs, so that a fresh leg can be held to it. */

import { createHash } from 'node:crypto';
import { setFields } from '../../policy/locks.js';
import { valueAt } from '../../policy/shape.js';
import { isObject, type JsonObject } from '../../protocol/event.js';

/** By path; prompts are long, and every session has one. */
export type Echo = ReadonlyMap<string, string>;

/** Without which the client would hear another voice, or noise. */
const always = ['audio.output.voice', 'audio.output.format', 'audio.input.format', 'output_modalities'];

/** What an acknowledged session says of what was imposed. */
export function echoOf(acknowledged: JsonObject, imposed: JsonObject): Echo {
  const paths = new Set([...setFields(imposed), ...always]);
  return new Map([...paths].map((path) => [path, digestOf(valueAt(acknowledged, path.split('.')))] as const));
}

/** The first path of which a fresh leg says something else; undefined where there is none. */
export function differing(echo: Echo, acknowledged: JsonObject): string | undefined {
  const differs = ([path, digest]: readonly [string, string]) =>
    digestOf(valueAt(acknowledged, path.split('.'))) !== digest;
  return [...echo].find(differs)?.[0];
}

/** Whether the model answers by itself is changed back and forth, and is told anew whenever it matters. */
function digestOf(given: unknown): string {
  const value = isObject(given) ? { ...given, create_response: undefined } : given;
  return createHash('sha256')
    .update(JSON.stringify(value) ?? '')
    .digest('base64')
    .slice(0, 16);
}
