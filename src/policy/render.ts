/** A profile's session with what is known of the user filled in. */

import type { Json, JsonObject } from '../protocol/event.js';
import type { Profile } from './profile.js';
import { claimAt } from './templates.js';
import { presented } from './tools.js';

const placeholder = /\{\{\s*claims\.([^\s{}]+)\s*\}\}/g;
// A claim becomes part of the instructions: it gets no line of its own and not much room.
const control = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}]/gu;
const maxClaim = 256;

/**
 * The GA session object to send upstream for one user: `{{claims.name}}` is replaced, in every string of the profile's
 * session, by that claim of the user's token, and by nothing when it is missing; the profile's own tools are added. A claim
 * is inserted as it is, never expanded again, without control characters and cut at 256 characters.
 */
export function renderSession(profile: Profile, claims: Readonly<Record<string, unknown>>): JsonObject {
  let shared = forAll.get(profile);
  if (shared === undefined) {
    shared = usesClaims(profile) ? null : frozen(renderFor(profile, {}));
    forAll.set(profile, shared);
  }
  return shared ?? renderFor(profile, claims);
}

/** The sessions of profiles that ask for no claim: one object for all users. Null for the others. */
const forAll = new WeakMap<Profile, JsonObject | null>();

/** Whether what a profile imposes depends on the claims of a token. */
export function usesClaims({ session }: Pick<Profile, 'session'>): boolean {
  return isPersonal(session);
}

function isPersonal(value: unknown): boolean {
  if (typeof value === 'string') return value.search(placeholder) >= 0;
  return typeof value === 'object' && value !== null && Object.values(value).some(isPersonal);
}

function frozen<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  for (const inner of Object.values(value)) frozen(inner);
  return Object.freeze(value);
}

function renderFor(profile: Profile, claims: Readonly<Record<string, unknown>>): JsonObject {
  const session = render(profile.session, claims) as JsonObject;
  const tools = profile.tools.map((tool): JsonObject => ({ type: 'function', ...(presented(tool) as JsonObject) }));
  if (tools.length > 0) session.tools = [...((session.tools as Json[] | undefined) ?? []), ...tools];
  return session;
}

function render(value: unknown, claims: Readonly<Record<string, unknown>>): Json | undefined {
  if (typeof value === 'string') return renderText(value, claims);
  if (typeof value !== 'object' || value === null) return value as Json | undefined;
  if (Array.isArray(value)) return value.map((element) => render(element, claims) ?? null);
  const rendered: JsonObject = {};
  for (const [key, field] of Object.entries(value)) {
    const filled = render(field, claims);
    if (filled !== undefined) rendered[key] = filled;
  }
  return rendered;
}

/** A text with claims filled in, as `renderSession` does. */
export function renderText(text: string, claims: Readonly<Record<string, unknown>>): string {
  return text.replace(placeholder, (_, path: string) => claimText(claims, path));
}

function claimText(claims: Readonly<Record<string, unknown>>, path: string): string {
  const value = claimAt(claims, path);
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value !== 'string') return '';
  return Array.from(value.replace(control, '')).slice(0, maxClaim).join('');
}
