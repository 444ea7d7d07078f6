/** JSON Schema (2020-12) of a function's arguments, compiled. */

import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';
import type { Json, JsonObject } from '../protocol/event.js';
import { type ProfileTool, presented } from './tools.js';

/** What is wrong with arguments: path and reason as the schema has them, never a value; null when nothing is. */
export type Parameters = (args: JsonObject) => string | null;

const maxProblem = 200;
/** Over it a pattern that backtracks could keep the process from everybody. */
const maxMatched = 1024;

/** A pattern that no longer text matches. The compiler knows patterns apart by their text. */
class Pattern {
  readonly #expression: RegExp;

  constructor(source: string, flags: string) {
    this.#expression = new RegExp(source, flags);
  }

  test(text: string): boolean {
    return text.length <= maxMatched && this.#expression.test(text);
  }

  toString(): string {
    return String(this.#expression);
  }
}

const regExp = Object.assign((source: string, flags: string) => new Pattern(source, flags), { code: 'new RegExp' });

const options = { strict: false, validateFormats: false, logger: false, code: { regExp } } as const;
/** Knows what a schema is. */
const grammar = new Ajv2020(options);

/**
 * Compiles the parameters of a tool. Nothing is coerced or filled in, `format` is a note only, and a text of over 1,024
 * characters matches no pattern. Throws an Error that says what is wrong with the schema.
 */
export function compileParameters(tool: ProfileTool): Parameters {
  const schema = presented(tool).parameters ?? {};
  if (!('type' in schema) || schema.type !== 'object') throw new Error('must have type: object at its top');
  if (!grammar.validateSchema(schema)) throw new Error(grammar.errorsText(grammar.errors, { dataVar: 'parameters' }));
  // One for each schema, since their $id may be alike.
  const validate = new Ajv2020({ ...options, meta: false, validateSchema: false }).compile(schema);
  if ('$async' in validate) throw new Error('must not be $async');
  const names = namesIn(schema);
  const judge: Parameters = (args) => (validate(args) ? null : problemOf(validate, args, names));
  // A schema that only leads to itself is found by the first arguments it is held against.
  judge({});
  return judge;
}

function problemOf({ errors }: ValidateFunction, args: JsonObject, names: ReadonlySet<string>): string {
  // The last one is of the outermost schema, where several apply.
  const error = errors?.at(-1);
  if (!error) return 'they do not fit';
  const text = `${pathOf(error.instancePath, args, names)} ${reasonOf(error)}`.trim();
  return text.length > maxProblem ? `${text.slice(0, maxProblem - 1)}…` : text;
}

function reasonOf({ keyword, params, message }: ErrorObject): string {
  if (keyword === 'enum') return `must be one of ${JSON.stringify(params.allowedValues).slice(1, -1)}`;
  if (keyword === 'const') return `must be ${JSON.stringify(params.allowedValue)}`;
  return message ?? 'does not fit';
}

/** With a star for each key that is not the schema's, but the model's. */
function pathOf(pointer: string, args: JsonObject, names: ReadonlySet<string>): string {
  let at: Json | undefined = args;
  const steps = pointer.split('/').slice(1);
  const shown = steps.map((step) => {
    const key = step.replaceAll('~1', '/').replaceAll('~0', '~');
    const isKnown = Array.isArray(at) || names.has(key);
    at = (at as JsonObject)[key];
    return isKnown ? key : '*';
  });
  return shown.join('.');
}

/** The keys under all `properties` of a schema. */
function namesIn(schema: object, names = new Set<string>()): ReadonlySet<string> {
  for (const [key, inner] of Object.entries(schema)) {
    if (typeof inner !== 'object' || inner === null) continue;
    if (key === 'properties') for (const name of Object.keys(inner)) names.add(name);
    namesIn(inner, names);
  }
  return names;
}
