/** Reads the declarations of a `.d.ts` file of the vendor's client: as much of the language as those files use. */

import { readFileSync } from 'node:fs';

export type Type =
  | { readonly kind: 'literal'; readonly value: string }
  | { readonly kind: 'plain'; readonly name: string }
  | { readonly kind: 'list'; readonly of: Type }
  | { readonly kind: 'union'; readonly of: readonly Type[] }
  | { readonly kind: 'object'; readonly fields: ReadonlyMap<string, Type> };

type Unresolved = () => Type;

const token = /'(?:[^'\\]|\\.)*'|[A-Za-z_$][\w$.]*|\d+|[{}()[\]<>|&?:;,=]/g;

/** The exported types of a file, by name; a name of another file is a plain type. */
export function declarationsOf(file: string): (name: string) => Type {
  const text = readFileSync(file, 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, '');
  const tokens = text.match(token) ?? [];
  const declared = new Map<string, Unresolved>();
  const resolved = new Map<string, Type>();
  let at = 0;
  const take = () => tokens[at++] as string;
  const accept = (what: string) => tokens[at] === what && ++at > 0;

  function resolve(name: string, scope: string): Type {
    const wanted = name.replace(/^RealtimeAPI\./, '');
    for (let parts = scope === '' ? [] : scope.split('.'); ; parts = parts.slice(0, -1)) {
      const full = [...parts, wanted].join('.');
      const declaration = declared.get(full);
      if (declaration !== undefined) {
        const known = resolved.get(full) ?? declaration();
        resolved.set(full, known);
        return known;
      }
      if (parts.length === 0) return { kind: 'plain', name };
    }
  }

  function union(scope: string): Unresolved {
    accept('|');
    const parts = [primary(scope)];
    while (accept('|')) parts.push(primary(scope));
    return parts.length === 1 ? (parts[0] as Unresolved) : () => ({ kind: 'union', of: parts.map((part) => part()) });
  }

  function primary(scope: string): Unresolved {
    let type = simple(scope);
    while (accept('&')) simple(scope);
    while (accept('[')) {
      accept(']');
      const of = type;
      type = () => ({ kind: 'list', of: of() });
    }
    return type;
  }

  function simple(scope: string): Unresolved {
    if (accept('(')) {
      const inner = union(scope);
      accept(')');
      return inner;
    }
    if (accept('{')) return fields(scope);
    const name = take();
    if (name.startsWith("'")) return () => ({ kind: 'literal', value: name.slice(1, -1) });
    if (!accept('<')) return () => resolve(name, scope);
    const given = [union(scope)];
    while (accept(',')) given.push(union(scope));
    accept('>');
    return name === 'Array'
      ? () => ({ kind: 'list', of: (given[0] as Unresolved)() })
      : () => ({ kind: 'plain', name });
  }

  function fields(scope: string): Unresolved {
    const found: [string, Unresolved][] = [];
    while (!accept('}')) {
      if (accept('[')) {
        while (!accept(']')) at++;
        accept(':');
        union(scope);
      } else {
        const name = take().replace(/^'|'$/g, '');
        accept('?');
        accept(':');
        found.push([name, union(scope)]);
      }
      accept(';');
    }
    return () => ({ kind: 'object', fields: new Map(found.map(([name, type]) => [name, type()])) });
  }

  function skipBlock(): void {
    while (take() !== '{');
    for (let depth = 1; depth > 0; ) {
      const next = take();
      if (next === '{') depth++;
      else if (next === '}') depth--;
    }
  }

  function declarations(scope: string, end: string | undefined): void {
    while (at < tokens.length && tokens[at] !== end) {
      const word = take();
      if (word === 'class') skipBlock();
      else if (word === 'interface' || word === 'type' || word === 'namespace') {
        const name = [scope, take()].filter(Boolean).join('.');
        if (word === 'type') {
          accept('=');
          declared.set(name, union(scope));
          accept(';');
        } else if (word === 'namespace') {
          accept('{');
          declarations(name, '}');
          accept('}');
        } else {
          if (tokens[at] === 'extends') while (tokens[at] !== '{') at++;
          accept('{');
          declared.set(name, fields(scope));
        }
      }
    }
  }
  declarations('', undefined);
  return (name) => resolve(name, '');
}

/** What a type may be: its members without `null`. */
export function membersOf(type: Type): readonly Type[] {
  const all = type.kind === 'union' ? type.of.flatMap(membersOf) : [type];
  return all.filter((one) => one.kind !== 'plain' || one.name !== 'null');
}
