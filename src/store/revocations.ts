/** What was withdrawn before its time: the tokens a user had at a moment, or one token. Kept in the memory of a process. */

import { h } from './hash.js';

/** One withdrawal, with names as hashes: whoever keeps or carries it need not know whom it is about. Times are in seconds since 1970. */
export interface Revocation {
  readonly kind: 'user' | 'token';
  /** Of the claim `sub`, or `jti`. */
  readonly name: string;
  /** Null: whatever the issuer is. */
  readonly issuer: string | null;
  /** Null: whatever the tenant is, also none. */
  readonly tenant: string | null;
  /** Of a user: what was issued up to then (the claim `iat`, in whole seconds) is withdrawn. */
  readonly issuedUntil: number;
  /** When none of what it withdraws can be good any more, so that it may be forgotten. */
  readonly expiresAt: number;
}

/** What a token says that a revocation may be about. */
export interface Revocable {
  readonly issuer: string;
  readonly subject: string;
  readonly tenant: string | null;
  readonly claims: Readonly<Record<string, unknown>>;
}

/** A withdrawal as it is kept, of what somebody has named. */
export function hashed({ kind, name, issuer, tenant, issuedUntil, expiresAt }: Revocation): Revocation {
  return { kind, name: h(name), issuer: orNull(issuer), tenant: orNull(tenant), issuedUntil, expiresAt };
}

/** Whether a revocation is about this user or this token, whenever it was issued. */
export function concerns({ kind, name, issuer, tenant }: Revocation, held: Revocable): boolean {
  const own = namesOf(held);
  const isNamed = name === (kind === 'user' ? own.subject : own.token);
  return isNamed && (issuer === null || issuer === own.issuer) && (tenant === null || tenant === own.tenant);
}

/** What somebody is called in revocations. */
interface Names {
  readonly issuer: string;
  readonly tenant: string | null;
  readonly subject: string;
  /** Null for a token without an id. */
  readonly token: string | null;
}

const names = new WeakMap<Revocable, Names>();

/** Hashed once for as long as somebody is known. */
function namesOf(held: Revocable): Names {
  const known = names.get(held);
  if (known) return known;
  const { issuer, tenant, subject, claims } = held;
  const token = typeof claims.jti === 'string' ? h(claims.jti) : null;
  const made = { issuer: h(issuer), tenant: orNull(tenant), subject: h(subject), token };
  names.set(held, made);
  return made;
}

function orNull(text: string | null): string | null {
  return text === null ? null : h(text);
}

/** A withdrawal and its end by the clock that nobody sets, in milliseconds. */
interface Kept {
  readonly revocation: Revocation;
  readonly endsAt: number;
}

/** The part of the list that those of one tenant may be. */
export const mostOfTenant = 1 / 4;

/** All that is withdrawn and not yet forgotten. */
export class Revocations {
  readonly #entries = new Map<string, Kept>();
  readonly #byTenant = new Map<string, number>();
  readonly #now: () => number;
  readonly #wall: () => number;
  #limit: number;
  // Nothing can be forgotten before this, so a full list is not searched for each that finds no room in it.
  #nextEnd = Number.POSITIVE_INFINITY;

  /** @param limit of the list; what was withdrawn is never forgotten early to make room */
  constructor(limit: number, now?: () => number) {
    this.#limit = limit;
    this.#now = now ?? (() => performance.now());
    this.#wall = now ?? Date.now;
  }

  get size(): number {
    this.#forget();
    return this.#entries.size;
  }

  /** Sets another limit; what is over it stays. */
  resize(limit: number): void {
    this.#limit = limit;
  }

  *[Symbol.iterator](): Iterator<Revocation> {
    for (const { revocation } of this.#entries.values()) yield revocation;
  }

  /** Adds one, or makes it one with an earlier one about the same; false when the list is full. */
  add(revocation: Revocation): boolean {
    const key = keyOf(revocation);
    const before = this.#entries.get(key);
    if (!before && !this.#hasRoomFor(revocation)) return false;
    const expiresAt = Math.max(revocation.expiresAt, before?.revocation.expiresAt ?? 0);
    const issuedUntil = Math.max(revocation.issuedUntil, before?.revocation.issuedUntil ?? 0);
    const endsAt = this.#now() + expiresAt * 1000 - this.#wall();
    this.#entries.set(key, { revocation: { ...revocation, issuedUntil, expiresAt }, endsAt });
    if (!before) this.#count(revocation, 1);
    this.#nextEnd = Math.min(this.#nextEnd, endsAt);
    return true;
  }

  /** Whether a token is withdrawn; one that does not say when it was issued counts as old. */
  covers(held: Revocable): boolean {
    if (this.#entries.size === 0) return false;
    const { iat } = held.claims;
    const { issuer, tenant, subject, token } = namesOf(held);
    const scopes = [null, issuer].flatMap((from) => [...new Set([null, tenant])].map((of) => [from, of] as const));
    return scopes.some(([from, of]) => {
      const find = (kind: Revocation['kind'], name: string) =>
        this.#entries.get(keyOf({ kind, name, issuer: from, tenant: of }))?.revocation;
      const user = find('user', subject);
      if (user && !(typeof iat === 'number' && Math.floor(iat) > user.issuedUntil)) return true;
      return token !== null && find('token', token) !== undefined;
    });
  }

  /** No tenant fills it for all others. */
  #hasRoomFor(revocation: Revocation): boolean {
    const isFull = () =>
      this.#entries.size >= this.#limit ||
      (this.#byTenant.get(tenantOf(revocation)) ?? 0) >= Math.max(1, this.#limit * mostOfTenant);
    if (isFull()) this.#forget();
    return !isFull();
  }

  #count(revocation: Revocation, change: 1 | -1): void {
    if (revocation.tenant === null) return;
    const tenant = tenantOf(revocation);
    const count = (this.#byTenant.get(tenant) ?? 0) + change;
    if (count > 0) this.#byTenant.set(tenant, count);
    else this.#byTenant.delete(tenant);
  }

  #forget(): void {
    const now = this.#now();
    if (now < this.#nextEnd) return;
    const wall = this.#wall();
    this.#nextEnd = Number.POSITIVE_INFINITY;
    for (const [key, { revocation, endsAt }] of this.#entries) {
      // By both clocks: tokens are good by the wall clock, and what was set forward may be set back.
      const left = Math.max(endsAt - now, revocation.expiresAt * 1000 - wall);
      if (left <= 0) {
        this.#entries.delete(key);
        this.#count(revocation, -1);
      } else this.#nextEnd = Math.min(this.#nextEnd, now + left);
    }
  }
}

/** A tenant is one of its issuer. */
function tenantOf({ issuer, tenant }: Pick<Revocation, 'issuer' | 'tenant'>): string {
  return `${issuer}.${tenant}`;
}

function keyOf({ kind, name, issuer, tenant }: Omit<Revocation, 'issuedUntil' | 'expiresAt'>): string {
  return JSON.stringify([kind, issuer, tenant, name]);
}
