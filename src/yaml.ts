/** YAML files with line numbers in their errors. */

import { readFileSync } from 'node:fs';
import { isMap, LineCounter, type Node, type Pair, parseDocument, type Scalar, visit } from 'yaml';
import type { z } from 'zod';

/**
 * Reads a YAML file by a schema, with `${NAME}` replaced from the environment. What is wrong is added to `problems`, each
 * with its line; null when the file cannot be used. `setting` is what named the file.
 */
export function readYaml<Schema extends z.ZodType>(
  setting: string,
  path: string,
  schema: Schema,
  env: NodeJS.ProcessEnv,
  problems: string[],
): z.output<Schema> | null {
  let source: string;
  try {
    source = readFileSync(path, 'utf8');
  } catch (error) {
    problems.push(`${setting}: cannot read ${path} (${(error as NodeJS.ErrnoException).code}).`);
    return null;
  }
  const lines = new LineCounter();
  const document = parseDocument(source, { lineCounter: lines });
  const at = (offset: number | undefined) => `${path}:${offset === undefined ? 1 : lines.linePos(offset).line}`;
  for (const error of document.errors) {
    problems.push(`${at(error.pos[0])}: ${error.message.split('\n')[0]}`);
  }
  if (document.errors.length > 0) return null;
  visit(document, {
    Scalar(_, node) {
      if (typeof node.value === 'string')
        fillIn(node, env, (name) => {
          problems.push(`${at(node.range?.[0])}: the environment variable ${name} is not set.`);
        });
    },
  });
  const parsed = schema.safeParse(document.toJS() ?? {});
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      const keys = issue.code === 'unrecognized_keys' ? issue.keys : [null];
      for (const key of keys) {
        const steps = key === null ? issue.path : [...issue.path, key];
        const message = key === null ? plain(issue.message) : 'not a setting; check the spelling.';
        problems.push(`${at(offsetOf(document.contents, steps))}: ${steps.join('.') || 'the file'}: ${message}`);
      }
    }
  }
  return parsed.success ? parsed.data : null;
}

/** Replaces `${NAME}` by the environment's value; a plain `${NAME}` alone may become a number or a boolean. */
function fillIn(node: Scalar, env: NodeJS.ProcessEnv, missing: (name: string) => void): void {
  const filled = String(node.value).replace(/\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g, (_, name: string) => {
    const value = env[name];
    if (value === undefined) missing(name);
    return value ?? '';
  });
  if (filled === node.value) return;
  const bare = node.type === 'PLAIN' && /^\$\{\w+\}$/.test(String(node.value));
  node.value =
    bare && /^-?\d+(\.\d+)?$/.test(filled)
      ? Number(filled)
      : bare && /^(true|false)$/.test(filled)
        ? filled === 'true'
        : filled;
}

/** Where in the source a path is; the nearest parent when the path itself is not there. */
function offsetOf(root: unknown, path: readonly PropertyKey[]): number | undefined {
  let node = root as Node | null;
  let offset = node?.range?.[0];
  for (const step of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => String((item.key as Scalar).value) === String(step)) as
        | Pair<Scalar, Node>
        | undefined;
      if (!pair) return offset;
      offset = pair.key.range?.[0] ?? offset;
      node = pair.value;
    } else if (node && 'items' in node) {
      node = (node.items as Node[])[Number(step)] ?? null;
      offset = node?.range?.[0] ?? offset;
    } else {
      return offset;
    }
  }
  return offset;
}

/** A validation message without the words every one begins with. */
export function plain(message: string): string {
  return message.replace(/^Invalid input: /, '');
}
