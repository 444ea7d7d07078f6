/** How well a document meets what a query asks for. */
import type { Field } from './definition.js';
import type { Entry } from './documents.js';
import { type Wish, wordsIn } from './terms.js';

/** A document that was found. */
export interface Hit {
  readonly entry: Entry;
  readonly score: number;
  /** What the semantic ranker made of it, where it took part. */
  readonly reranked: number | null;
}

/** The best first. */
export function sorted(hits: Hit[]): Hit[] {
  return hits.sort((one, other) => other.score - one.score);
}

/** The names of fields in a list with commas. */
export function namesIn(list: string): string[] {
  return list.split(',').map((name) => name.trim());
}

/** How well an entry meets a wish in these fields: null where it does not. `weigh` says how much a word tells. */
export function match(
  wish: Wish,
  entry: Entry,
  fields: readonly Field[],
  weigh: (word: string) => number,
): number | null {
  switch (wish.kind) {
    case 'never':
      return null;
    case 'not':
      return match(wish.of, entry, fields, weigh) === null ? 0 : null;
    case 'any':
      return best(wish.of.map((one) => match(one, entry, fields, weigh)));
    case 'all':
      return every(wish.of.map((one) => match(one, entry, fields, weigh)));
    case 'clauses': {
      if (wish.not.some((one) => match(one, entry, fields, weigh) !== null)) return null;
      const may = best(wish.may.map((one) => match(one, entry, fields, weigh)));
      if (wish.must.length === 0) return wish.may.length > 0 ? may : null;
      const must = every(wish.must.map((one) => match(one, entry, fields, weigh)));
      return must === null ? null : must + (may ?? 0);
    }
    default: {
      const among = wish.field === null ? fields : fields.filter(({ name }) => name === wish.field);
      return best(among.map((field) => found(wish, entry.words.get(field.name) ?? [], field, weigh)));
    }
  }
}

function found(
  { kind, text }: Wish & { kind: 'word' | 'phrase' | 'pattern' },
  words: readonly string[],
  field: Field,
  weigh: (word: string) => number,
): number | null {
  if (kind === 'pattern') {
    const matches = words.filter((word) => fitsPattern(field.isWhole ? text : text.toLowerCase(), word)).length;
    return matches > 0 ? 1 : null;
  }
  // A word may be several for the analyzer; these then are a phrase.
  const sought = field.isWhole ? [text] : wordsIn(text);
  if (sought.length === 0) return null;
  let count = 0;
  for (let at = 0; at + sought.length <= words.length; at++) {
    if (sought.every((word, ahead) => words[at + ahead] === word)) count += 1;
  }
  const weight = sought.reduce((sum, word) => sum + weigh(word), 0);
  return count === 0 ? null : (weight * count) / (count + 1.2);
}

/** `*` stands for any letters, `?` for one. Walks back at most to the last `*`, so that no pattern takes long. */
function fitsPattern(pattern: string, word: string): boolean {
  let at = 0;
  let star = -1;
  let mark = 0;
  for (let index = 0; index < word.length; ) {
    if (pattern[at] === '?' || (pattern[at] !== '*' && pattern[at] === word[index])) {
      at += 1;
      index += 1;
    } else if (pattern[at] === '*') {
      star = at++;
      mark = index;
    } else if (star >= 0) {
      at = star + 1;
      index = ++mark;
    } else return false;
  }
  while (pattern[at] === '*') at += 1;
  return at === pattern.length;
}

function best(scores: readonly (number | null)[]): number | null {
  const met = scores.filter((score) => score !== null);
  return met.length === 0 ? null : met.reduce((sum, score) => sum + score, 0);
}

function every(scores: readonly (number | null)[]): number | null {
  return scores.includes(null) ? null : best(scores);
}
