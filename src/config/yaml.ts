/** YAML files with line numbers in their errors. */

import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  type Scalar,
  visit,
} from 'yaml';
import type { z } from 'zod';
import { hintFor } from './hints.js';
import { isReference, type Lookup, resolve } from './references.js';
import { readText } from './utf8.js';

type Path = readonly PropertyKey[];
type Complain = (offset: number | undefined, path: Path, problem: string) => void;

/** How often one anchor may be used, nested uses multiplied: a file of a few lines must not become millions of them. */
const maxAliases = 1000;

/** Where credentials stand: blanks and line ends around them are never meant. */
const credentials = new Set<PropertyKey>(['authorization', 'headers', 'api_key', 'secret', 'secrets', 'bearer']);

/** What a file holds, and where. */
interface YamlFile<Data> {
  readonly data: Data;
  /** A sentence that begins with a setting of the file, with its line. */
  locate(sentence: string): string;
}

/**
 * Reads a YAML file by a schema, with references replaced by `lookUp`. Anchors and merge keys work; what is called `x-…` at
 * the top is only there to be referred to. What is wrong is added to `problems`, each with its line; null when the file cannot
 * be used. `setting` is what named the file.
 */
export function readYaml<Schema extends z.ZodType>(
  setting: string,
  path: string,
  schema: Schema,
  lookUp: Lookup,
  problems: string[],
): YamlFile<z.output<Schema>> | null {
  const shown = path.slice(0, 200);
  const file = readText(path);
  if ('problem' in file) {
    const { problem, line, code } = file;
    problems.push(code ? `${setting}: cannot read ${shown} (${code}).` : `${setting}: ${shown}:${line}: ${problem}.`);
    return null;
  }
  const lines = new LineCounter();
  const document = parseDocument(file.text, { lineCounter: lines, merge: true });
  const at = (offset: number | undefined) => `${shown}:${offset === undefined ? 1 : lines.linePos(offset).line}`;
  for (const error of document.errors) {
    problems.push(`${at(error.pos[0])}: ${error.message.split('\n')[0]}`);
  }
  if (document.errors.length > 0) return null;
  const wrong = new Set<string>();
  const complain: Complain = (offset, steps, problem) => {
    const name = steps.join('.');
    wrong.add(name);
    problems.push(`${at(offset)}: ${name || 'the file'}: ${problem}`);
  };
  fillIn(document, file.text, lookUp, complain);
  const data = dataOf(document, complain);
  if (data === null) return null;

  const parsed = schema.safeParse(data);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      const keys = issue.code === 'unrecognized_keys' ? issue.keys : [null];
      for (const key of keys) {
        const steps = key === null ? issue.path : [...issue.path, key];
        if (wrong.has(steps.join('.'))) continue;
        const message = key === null ? explained(issue, data) : 'not a setting; check the spelling.';
        problems.push(`${at(offsetOf(document, steps))}: ${steps.join('.') || 'the file'}: ${message}`);
      }
    }
  }
  if (!parsed.success || wrong.size > 0) return null;
  return {
    data: parsed.data,
    locate(sentence) {
      const [setting = ''] = /^[a-z_]+(?:\.[\w-]+)*(?=[: ])/.exec(sentence) ?? [];
      const [top = '', ...rest] = setting.split('.');
      if (pairOf(document, document.contents, top) === undefined) return sentence;
      return `${sentence.replace(/\.$/, '')} (${at(offsetOf(document, [top, ...rest]))}).`;
    },
  };
}

/** Replaces the references in all texts; alone and without quotes one may become a number or a boolean. */
function fillIn(document: Document, source: string, lookUp: Lookup, complain: Complain): void {
  visit(document, {
    Alias(_, node, parents) {
      const target = node.resolve(document);
      const offset = node.range?.[0];
      if (!target)
        complain(offset, pathOf(parents, node), `there is no anchor &${node.source} before this *${node.source}.`);
      else if (parents.includes(target)) complain(offset, pathOf(parents, node), `*${node.source} is within itself.`);
    },
    Scalar(_, node, parents) {
      const text = node.value;
      if (typeof text !== 'string') return;
      const path = pathOf(parents, node);
      const [start = 0, end = source.length] = node.range ?? [];
      const filled = resolve(text, lookUp, (problem, written) => {
        const found = source.indexOf(written, start);
        complain(found < 0 || found >= end ? start : found, path, problem);
      });
      const isBare = node.type === 'PLAIN' && isReference(text);
      if (isBare) node.value = plainValue(filled);
      else node.value = path.some((step) => credentials.has(step)) ? filled.trim() : filled;
    },
  });
}

function plainValue(text: string): string | number | boolean {
  if (/^-?\d+(\.\d+)?$/.test(text)) return Number(text);
  return /^(true|false)$/.test(text) ? text === 'true' : text;
}

/** The document as data without what is called `x-…` at its top; null when its aliases cannot be followed. */
function dataOf(document: Document, complain: Complain): unknown {
  let data: unknown;
  try {
    data = document.toJS({ maxAliasCount: maxAliases }) ?? {};
  } catch (error) {
    let first: Alias | undefined;
    visit(document, {
      Alias(_, node) {
        first = node;
        return visit.BREAK;
      },
    });
    complain(first?.range?.[0], [], `its anchors cannot be followed: ${(error as Error).message}.`);
    return null;
  }
  if (!isMap(document.contents)) return data;
  return Object.fromEntries(Object.entries(data as object).filter(([key]) => !key.startsWith('x-')));
}

/** The path of settings that leads to a node. */
function pathOf(parents: readonly unknown[], node: Node): Path {
  return [...parents, node].flatMap<PropertyKey>((each, index, all) => {
    if (isPair(each)) return isScalar(each.key) ? [String(each.key.value)] : [];
    const parent = all[index - 1];
    return isSeq(parent) ? [parent.items.indexOf(each)] : [];
  });
}

/** Where in the source a path is; the nearest parent when the path itself is not there. */
function offsetOf(document: Document, path: Path): number | undefined {
  let node: unknown = document.contents;
  let offset = (node as Node | null)?.range?.[0];
  for (const step of path) {
    node = followed(document, node);
    if (isMap(node)) {
      const pair = pairOf(document, node, step);
      if (!pair) return offset;
      offset = (pair.key as Scalar).range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(step)] ?? node.items.find((item) => isNamed(document, item, step)) ?? null;
      offset = (node as Node | null)?.range?.[0] ?? offset;
    } else {
      return offset;
    }
  }
  return offset;
}

/** The pair of a key, which may have come by a merge key. */
function pairOf(document: Document, map: unknown, key: PropertyKey): { key: unknown; value: unknown } | undefined {
  const node = followed(document, map);
  if (isSeq(node)) return node.items.map((one) => pairOf(document, one, key)).find(Boolean);
  if (!isMap(node)) return undefined;
  const named = (name: string) => node.items.find((pair) => nameOf(pair.key) === name);
  return named(String(key)) ?? pairOf(document, named('<<')?.value, key);
}

/** Whether an item of a list has this `name`, by which sentences call it. */
function isNamed(document: Document, item: unknown, name: PropertyKey): boolean {
  const value = pairOf(document, item, 'name')?.value;
  return isScalar(value) && value.value === name;
}

function nameOf(key: unknown): string | undefined {
  const value = isScalar(key) ? key.value : key;
  return typeof value === 'symbol' ? value.description : String(value);
}

function followed(document: Document, node: unknown): unknown {
  return isAlias(node) ? node.resolve(document) : node;
}

/** A validation message with what would be right, where that can be told. */
function explained(issue: z.core.$ZodIssue, data: unknown): string {
  const message = plain(issue.message);
  if (issue.code === 'too_small' && issue.origin === 'string' && issue.minimum === 1) {
    return 'is empty; write a value, or leave the setting out.';
  }
  if (issue.code !== 'invalid_type') return message;
  const value = issue.path.reduce<unknown>((all, step) => (all as Record<PropertyKey, unknown> | null)?.[step], data);
  const hint = hintFor(issue.expected, value, String(issue.path.at(-1) ?? ''));
  return hint === null ? message : `${message}; ${hint}.`;
}

/** A validation message without the words every one begins with. */
export function plain(message: string): string {
  return message.replace(/^Invalid input: /, '');
}
