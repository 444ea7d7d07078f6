/** Texts of the configuration in which something of the user's token is filled in. */

/** What is filled in: a claim by its name or path, or who issued the token. */
export type Source = { readonly claim: string } | { readonly issuer: true };

/** A text in pieces, as it is written and what is filled in. */
export type Template = readonly (string | Source)[];

type Claims = Readonly<Record<string, unknown>>;

const slots = /\{\{\s*([^{}]*?)\s*\}\}/g;

/** Takes a text apart. Throws an Error for what looks like a template and is none. */
export function parseTemplate(text: string): Template {
  const pieces: (string | Source)[] = [];
  let end = 0;
  for (const { 0: slot, 1: inner = '', index } of text.matchAll(slots)) {
    pieces.push(text.slice(end, index), sourceOf(inner, slot));
    end = index + slot.length;
  }
  pieces.push(text.slice(end));
  if (pieces.some((piece) => typeof piece === 'string' && piece.includes('{{'))) {
    throw new Error('holds {{ that no template begins with; there are {{claims.name}} and {{issuer}}');
  }
  return pieces.filter((piece) => piece !== '');
}

function sourceOf(inner: string, slot: string): Source {
  if (inner === 'issuer') return { issuer: true };
  const [, claim] = /^claims\.([^\s']+)$/.exec(inner) ?? [];
  if (claim === undefined) throw new Error(`holds ${slot}; there are {{claims.name}} and {{issuer}}`);
  return { claim };
}

/** Whether something is filled in. */
function isTemplate(template: Template): boolean {
  return template.some((piece) => typeof piece !== 'string');
}

/** A claim of a token. Some issuers name claims by URL, so a claim with dots in its own name comes before a path. */
export function claimAt(claims: Claims, path: string): unknown {
  if (Object.hasOwn(claims, path)) return claims[path];
  let at: unknown = claims;
  for (const key of path.split('.')) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return undefined;
    at = (at as Claims)[key];
  }
  return at;
}

/** A piece of a filter; `list`: several values may stand there, with `|` between them. */
export type FilterPiece = string | { readonly source: Source; readonly list: boolean };

const literal = /'(?:[^']|'')*'/g;
const listBefore = /\bsearch\.in\s*\(\s*[^,()']+,\s*$/;
const listBehind = /^\s*,\s*'\|'\s*\)/;
const delimiterBefore = /\bsearch\.in\s*\(\s*[^,()']+,\s*'(?:[^']|'')*'\s*,\s*$/;
const matchBefore = /\bsearch\.ismatch(?:scoring)?\s*\([^()]*$/;

/**
 * Takes an OData filter apart. What is filled in stands within quotes, and a list only where nothing but `|` separates values:
 * elsewhere one user's value could become two. Throws an Error that says what is wrong.
 */
export function parseFilter(filter: string): FilterPiece[] {
  const pieces: FilterPiece[] = [];
  let end = 0;
  const outside = (text: string) => {
    if (text.includes("'")) throw new Error('has a quote that is not closed');
    if (text.includes('{{')) throw new Error("has a template outside of quotes; write '{{claims.name}}'");
    return text;
  };
  for (const { 0: quoted, index } of filter.matchAll(literal)) {
    pieces.push(outside(filter.slice(end, index)), "'");
    end = index + quoted.length;
    const inner = parseTemplate(quoted.slice(1, -1));
    const list = isTemplate(inner) && isList(filter.slice(0, index), filter.slice(end));
    pieces.push(...inner.map((piece) => (typeof piece === 'string' ? piece : { source: piece, list })), "'");
  }
  pieces.push(outside(filter.slice(end)));
  return pieces;
}

function isList(before: string, behind: string): boolean {
  if (matchBefore.test(before)) throw new Error('has a template in search.ismatch, whose operators a user could write');
  if (delimiterBefore.test(before)) throw new Error("has a template for the delimiter of search.in; write '|'");
  if (!listBefore.test(before)) return false;
  if (!listBehind.test(behind))
    throw new Error("has a list in search.in without its delimiter; write search.in(…, '{{claims.name}}', '|')");
  return true;
}
