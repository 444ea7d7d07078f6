/** What of the user's claims goes to an endpoint. What cannot be said whole is not said: half an identity may be another's. */

import { claimAt, type FilterPiece, type Source, type Template } from '../policy/templates.js';
import type { Json, JsonObject } from '../protocol/event.js';
import type { ToolCall } from './tool.js';

type User = ToolCall['principal'];

const maxLength = 256;
/** What a header may hold; blanks at an end would be cut off. */
const headerValue = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;
const unprintable = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u;

function sourceValue(source: Source, user: User): unknown {
  return 'issuer' in source ? user.issuer : claimAt(user.claims, source.claim);
}

/** The text of a string, number or boolean; null for anything else. */
function scalar(value: unknown): string | null {
  if (typeof value === 'string') return value;
  return typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value)) ? String(value) : null;
}

/** A header's value, or null where a claim in it is missing or cannot stand there. */
export function headerFor(template: Template, user: User): string | null {
  const pieces = template.map((piece) => (typeof piece === 'string' ? piece : headerText(sourceValue(piece, user))));
  return pieces.includes(null) ? null : pieces.join('');
}

/** Values of a list stand with commas between them: one that has a comma would become two. */
function headerText(value: unknown): string | null {
  const texts = (Array.isArray(value) ? value : [value]).map(scalar);
  if (Array.isArray(value) && texts.some((text) => text?.includes(','))) return null;
  if (texts.some((text) => text === null || !headerValue.test(text))) return null;
  const joined = texts.join(',');
  return joined !== '' && joined.length <= maxLength ? joined : null;
}

/** A filter for one user, and what of the user is in it. */
interface Filter {
  readonly text: string;
  readonly values: readonly string[];
}

/** The filter for one user, or null where a claim in it is missing: then nothing is found, and nothing asked. */
export function filterFor(pieces: readonly FilterPiece[], user: User): Filter | null {
  const values: string[] = [];
  const texts: string[] = [];
  for (const piece of pieces) {
    if (typeof piece === 'string') {
      texts.push(piece);
      continue;
    }
    const value = sourceValue(piece.source, user);
    // Of a list the rest is still right: less of it opens less.
    const all = piece.list && Array.isArray(value) ? value : [value];
    const usable = all.map(filterText).filter((text) => text !== null);
    if (usable.length === 0) return null;
    values.push(...usable);
    texts.push(usable.join('|').replaceAll("'", "''"));
  }
  return { text: texts.join(''), values };
}

function filterText(value: unknown): string | null {
  const text = scalar(value);
  if (text === null || text === '' || text.length > maxLength || text.includes('|') || unprintable.test(text))
    return null;
  return text;
}

/** The claims of these names that the user has, each under the name it is asked by. */
export function claimsFor(names: readonly string[], { claims }: User): JsonObject {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = claimAt(claims, name);
      return value === undefined ? [] : [[name, value as Json]];
    }),
  );
}
