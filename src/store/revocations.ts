/** What was withdrawn before its time: the tokens a user had at a moment, or one token. Kept in the memory of a process. */

/** One withdrawal; times are in seconds since 1970. */
export interface Revocation {
  readonly kind: 'user' | 'token';
  /** The claim `sub`, or `jti`. */
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

/** Whether a revocation is about this user or this token, whenever it was issued. */
export function concerns({ kind, name, issuer, tenant }: Revocation, held: Revocable): boolean {
  const isNamed = name === (kind === 'user' ? held.subject : held.claims.jti);
  return isNamed && (issuer === null || issuer === held.issuer) && (tenant === null || tenant === held.tenant);
}

/** A withdrawal and its end by the clock that nobody sets, in milliseconds. */
interface Kept {
  readonly revocation: Revocation;
  readonly endsAt: number;
}

/** All that is withdrawn and not yet forgotten. */
export class Revocations {
  readonly #entries = new Map<string, Kept>();
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
    if (!before && this.#entries.size >= this.#limit && this.size >= this.#limit) return false;
    const expiresAt = Math.max(revocation.expiresAt, before?.revocation.expiresAt ?? 0);
    const issuedUntil = Math.max(revocation.issuedUntil, before?.revocation.issuedUntil ?? 0);
    const endsAt = this.#now() + expiresAt * 1000 - this.#wall();
    this.#entries.set(key, { revocation: { ...revocation, issuedUntil, expiresAt }, endsAt });
    this.#nextEnd = Math.min(this.#nextEnd, endsAt);
    return true;
  }

  /** Whether a token is withdrawn; one that does not say when it was issued counts as old. */
  covers({ issuer, subject, tenant, claims }: Revocable): boolean {
    if (this.#entries.size === 0) return false;
    const { jti, iat } = claims;
    const scopes = [null, issuer].flatMap((from) => [...new Set([null, tenant])].map((of) => [from, of] as const));
    return scopes.some(([from, of]) => {
      const find = (kind: Revocation['kind'], name: string) =>
        this.#entries.get(keyOf({ kind, name, issuer: from, tenant: of }))?.revocation;
      const user = find('user', subject);
      if (user && !(typeof iat === 'number' && Math.floor(iat) > user.issuedUntil)) return true;
      return typeof jti === 'string' && find('token', jti) !== undefined;
    });
  }

  #forget(): void {
    const now = this.#now();
    if (now < this.#nextEnd) return;
    const wall = this.#wall();
    this.#nextEnd = Number.POSITIVE_INFINITY;
    for (const [key, { revocation, endsAt }] of this.#entries) {
      // By both clocks: tokens are good by the wall clock, and what was set forward may be set back.
      const left = Math.max(endsAt - now, revocation.expiresAt * 1000 - wall);
      if (left <= 0) this.#entries.delete(key);
      else this.#nextEnd = Math.min(this.#nextEnd, now + left);
    }
  }
}

function keyOf({ kind, name, issuer, tenant }: Omit<Revocation, 'issuedUntil' | 'expiresAt'>): string {
  return JSON.stringify([kind, issuer, tenant, name]);
}
