/** As much of Bicep as it takes to notice what a compiler would say first: names, references, brackets. */

import { readFileSync } from 'node:fs';
import { posix } from 'node:path';

export interface Template {
  readonly path: string;
  /** Without comments and without what stands in quotes, but for `${…}`. */
  readonly code: string;
  readonly text: string;
  readonly params: readonly { readonly name: string; readonly required: boolean }[];
  readonly outputs: readonly string[];
  readonly modules: readonly { readonly name: string; readonly path: string; readonly given: readonly string[] }[];
  /** Parameters, variables, resources and modules. */
  readonly symbols: readonly string[];
}

const root = new URL('../../deploy/azure/', import.meta.url);

export function templateOf(path: string): Template {
  const text = readFileSync(new URL(path, root), 'utf8');
  const code = text
    .replace(/^\s*\/\/.*$/gm, '')
    .replace(/'(?:[^'\\]|\\.)*'/g, (quoted) => `'${[...quoted.matchAll(/\$\{[^}]*\}/g)].join(' ')}'`);
  const named = (pattern: RegExp) => [...code.matchAll(pattern)].map(([, name]) => name as string);
  return {
    path,
    text,
    code,
    params: [...code.matchAll(/^param (\w+) \w+( =)?/gm)].map(([, name, byDefault]) => ({
      name: name as string,
      required: byDefault === undefined,
    })),
    outputs: named(/^output (\w+) /gm),
    modules: [...text.matchAll(/^module (\w+) '([^']+)' = (?:if \(\w+\) )?\{([\s\S]*?)\n\}/gm)].map(
      ([, name, file, body]) => ({
        name: name as string,
        path: posix.join(posix.dirname(path), file as string),
        given: [...(body as string).matchAll(/^ {4}(\w+): /gm)].map(([, key]) => key as string),
      }),
    ),
    symbols: named(/^(?:param|var|resource|module) (\w+)\b/gm),
  };
}

/** Brackets that are not closed, or closed by another. */
export function unbalanced({ code }: Template): string[] {
  const open: string[] = [];
  const pairs: Readonly<Record<string, string>> = { ')': '(', ']': '[', '}': '{' };
  for (const [line, content] of code.split('\n').entries()) {
    for (const sign of content.match(/[()[\]{}]/g) ?? []) {
      if (!(sign in pairs)) open.push(sign);
      else if (open.pop() !== pairs[sign]) return [`line ${line + 1}: ${sign}`];
    }
  }
  return open;
}

const functions =
  'uniqueString subscription subscriptionResourceId guid empty union concat json if base64 replace newGuid fail'.split(
    ' ',
  );
const words = 'targetScope param var resource module output string int object bool true false existing secure'.split(
  ' ',
);

/** Names in expressions that nothing declares. */
export function undeclared({ code, symbols }: Template): string[] {
  const expressions = code
    .replace(/^@\w+\(.*\)$/gm, '')
    .replace(/^(param|var|resource|module|output) \w+/gm, '')
    .replace(/(?<=[{,\s])\w+:/g, '')
    .replace(/\.\w+/g, '');
  const names = [...expressions.matchAll(/(?<![\w'])[A-Za-z_]\w*/g)].map(([name]) => name);
  return [...new Set(names)].filter((name) => ![...symbols, ...functions, ...words].includes(name));
}

/** Declared names that are used nowhere; a resource may stand for itself. */
export function unused({ code }: Template): string[] {
  const declared = [...code.matchAll(/^(?:param|var|module) (\w+)\b/gm)].map(([, name]) => name as string);
  const uses = code.replace(/^(?:param|var|module) \w+\b/gm, '').replace(/\b\w+:/g, '');
  return declared.filter((name) => !new RegExp(`\\b${name}\\b`).test(uses));
}
