/** The words of a query, in the simple and in the full syntax, and how well a document matches them. */
import { SearchError } from './error.js';

/** What a query asks for. */
export type Wish =
  | { readonly kind: 'word' | 'phrase' | 'pattern'; readonly text: string; readonly field: string | null }
  | { readonly kind: 'all' | 'any'; readonly of: readonly Wish[] }
  | { readonly kind: 'not'; readonly of: Wish }
  /** Of the full syntax: what must be, what may be, what must not. */
  | {
      readonly kind: 'clauses';
      readonly must: readonly Wish[];
      readonly may: readonly Wish[];
      readonly not: readonly Wish[];
    }
  /** Taken, and never met: ranges and regular expressions. */
  | { readonly kind: 'never' };

const maxDepth = 50;

/** Text as the standard analyzer cuts it. */
export function wordsIn(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) ?? [];
}

/** The simple syntax: `+`, `|`, a `-` before a word, quotes, a `*` behind one, parentheses. Whatever it is, it is taken. */
export function simpleWish(text: string, mode: 'any' | 'all'): Wish | null {
  const tokens = text.match(/"[^"]*"?|[()+|]|-(?=\S)|[^\s()+|"]+/g) ?? [];
  let at = 0;
  const single = (depth: number): Wish | null => {
    const token = tokens[at++] ?? '';
    if (token === '-') {
      const of = single(depth);
      return of && { kind: 'not', of };
    }
    if (token === '(' && depth < maxDepth) {
      const inner = sequence(depth + 1);
      if (tokens[at] === ')') at += 1;
      return inner;
    }
    if (/^[()+|]$/.test(token)) return null;
    if (token.startsWith('"')) return { kind: 'phrase', text: token.replaceAll('"', ''), field: null };
    return wordOrPattern(token, null);
  };
  const sequence = (depth: number): Wish | null => {
    let found: Wish | null = null;
    while (at < tokens.length && tokens[at] !== ')') {
      const sign = tokens[at] === '+' || tokens[at] === '|' ? tokens[at++] : null;
      const next = single(depth);
      if (!next) continue;
      const kind: 'all' | 'any' = sign === '+' ? 'all' : sign === '|' ? 'any' : mode;
      found = found ? { kind, of: [found, next] } : next;
    }
    return found;
  };
  const found: Wish[] = [];
  for (; at < tokens.length; at++) {
    const part = sequence(0);
    if (part) found.push(part);
  }
  return found.length > 0 ? { kind: mode, of: found } : null;
}

/** The full syntax, that of Lucene. Throws a SearchError where it is broken. */
export function fullWish(text: string, mode: 'any' | 'all'): Wish | null {
  const pattern =
    /"((?:[^"\\]|\\.)*)"|(&&|\|\||[()+!:]|-(?=\S))|(\/(?:[^/\\]|\\.)*\/)|([[{][^\]}]*[\]}])|([~^]\d*(?:\.\d+)?)|((?:[^\s()+!:"~^[\]{}/\\&|]|\\.|&(?!&)|\|(?!\|))(?:[^\s():"~^[\]{}/\\]|\\.)*)/y;
  const tokens: { kind: 'phrase' | 'sign' | 'other' | 'boost' | 'word'; text: string }[] = [];
  for (let from = 0; from < text.length; ) {
    const blank = /\s/.test(text[from] as string);
    pattern.lastIndex = from;
    const found = blank ? null : pattern.exec(text);
    if (!blank && !found) throw broken(from);
    if (found) tokens.push(tokenOf(found));
    from = blank ? from + 1 : pattern.lastIndex;
  }
  let at = 0;
  const peek = () => tokens[at];
  const isSign = (...texts: string[]) => {
    const token = peek();
    return token !== undefined && (token.kind === 'sign' || token.kind === 'word') && texts.includes(token.text);
  };
  const single = (field: string | null, depth: number): Wish => {
    const token = tokens[at++];
    if (!token || depth > maxDepth) throw broken(at);
    if (token.text === '(' && token.kind === 'sign') {
      const inner = sequence(field, depth + 1);
      if (!isSign(')') || !inner) throw broken(at);
      at += 1;
      skipBoost();
      return inner;
    }
    if (token.kind === 'sign' || token.kind === 'boost' || isOperator(token)) throw broken(at);
    if (token.kind === 'word' && isSign(':')) {
      at += 1;
      return single(token.text, depth + 1);
    }
    skipBoost();
    if (token.kind === 'other') return { kind: 'never' };
    if (token.kind === 'phrase') return { kind: 'phrase', text: token.text, field };
    return wordOrPattern(token.text, field);
  };
  const skipBoost = () => {
    while (peek()?.kind === 'boost') at += 1;
  };
  const sequence = (field: string | null, depth: number): Wish | null => {
    const must: Wish[] = [];
    const may: Wish[] = [];
    const not: Wish[] = [];
    let joined: 'and' | 'or' | null = null;
    while (at < tokens.length && !isSign(')')) {
      if (isSign('AND', 'OR', '&&', '||')) {
        if (joined || must.length + may.length + not.length === 0) throw broken(at);
        joined = isSign('AND', '&&') ? 'and' : 'or';
        at += 1;
        const before = joined === 'and' ? may.pop() : undefined;
        if (before) must.push(before);
        continue;
      }
      const isWanted = isSign('+');
      const isUnwanted = isSign('-', '!', 'NOT');
      if (isWanted || isUnwanted) at += 1;
      const wish = single(field, depth);
      if (isUnwanted) not.push(wish);
      else if (isWanted || joined === 'and' || (mode === 'all' && joined !== 'or')) must.push(wish);
      else may.push(wish);
      joined = null;
    }
    if (joined) throw broken(at);
    return must.length + may.length + not.length === 0 ? null : { kind: 'clauses', must, may, not };
  };
  const found = sequence(null, 0);
  if (at < tokens.length) throw broken(at);
  return found;
}

type FullToken = { kind: 'phrase' | 'sign' | 'other' | 'boost' | 'word'; text: string };

function tokenOf([, phrase, sign, regular, range, boost, word]: RegExpExecArray): FullToken {
  const plain = (text: string) => text.replaceAll(/\\(.)/g, '$1');
  if (phrase !== undefined) return { kind: 'phrase', text: plain(phrase) };
  if (sign !== undefined) return { kind: 'sign', text: sign };
  if (boost !== undefined) return { kind: 'boost', text: boost };
  if (regular !== undefined || range !== undefined) return { kind: 'other', text: '' };
  return { kind: 'word', text: plain(String(word)) };
}

function isOperator({ kind, text }: FullToken): boolean {
  return kind === 'word' && ['AND', 'OR', 'NOT'].includes(text);
}

function wordOrPattern(text: string, field: string | null): Wish {
  return { kind: /[*?]/.test(text) && /[^*?]/.test(text) ? 'pattern' : 'word', text, field };
}

function broken(at: number): SearchError {
  const message = `Failed to parse query string at line 1, column ${at}. See https://aka.ms/azure-search-full-query for supported syntax.`;
  return new SearchError(400, `${message}\r\nParameter name: search`);
}
