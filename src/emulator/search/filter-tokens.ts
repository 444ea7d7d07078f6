/** The words of an OData expression. */
import { SearchError } from './error.js';

export interface Token {
  readonly kind: 'string' | 'number' | 'date' | 'name' | 'sign';
  /** Of a string: what it says, without its quotes. */
  readonly text: string;
  readonly at: number;
}

/** Sticky patterns, in the order in which they are tried. A quote in a string is doubled. */
const patterns = [
  ['string', /'((?:[^']|'')*)'/y],
  ['date', /(\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d))/y],
  ['number', /(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![A-Za-z_])/y],
  ['name', /([A-Za-z_][A-Za-z0-9_]*(?:[./][A-Za-z_][A-Za-z0-9_]*)*)/y],
  ['sign', /([(),:])/y],
] as const;
const maxCharacters = 64 * 1024;
const blanks = /\s*/y;

/** Throws a SearchError where the text has something that OData does not. */
export function tokensOf(text: string): Token[] {
  if (text.length > maxCharacters) throw invalid('The expression is too long.');
  const tokens: Token[] = [];
  for (let at = skip(text, 0); at < text.length; ) {
    const token = tokenAt(text, at);
    if (!token) throw invalid(`Syntax error: character '${text[at]}' is not valid at position ${at}.`);
    tokens.push({ kind: token.kind, text: token.text, at });
    at = skip(text, token.end);
  }
  return tokens;
}

function tokenAt(text: string, at: number): { kind: Token['kind']; text: string; end: number } | null {
  for (const [kind, pattern] of patterns) {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (!found) continue;
    const said = String(found[1]);
    return { kind, text: kind === 'string' ? said.replaceAll("''", "'") : said, end: pattern.lastIndex };
  }
  return null;
}

function skip(text: string, at: number): number {
  blanks.lastIndex = at;
  blanks.exec(text);
  return blanks.lastIndex;
}

function invalid(detail: string): SearchError {
  return new SearchError(400, `Invalid expression: ${detail}\r\nParameter name: $filter`);
}
