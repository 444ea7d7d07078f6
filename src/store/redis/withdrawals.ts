/** Withdrawn tokens as all replicas have them: written in Redis, told to all, and answered for once all have ended theirs. */

import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { inTime } from '../../wait.js';
import { mostOfTenant, type Revocation, type Revocations } from '../revocations.js';
import { done } from './calls.js';
import type { Keys } from './keys.js';
import { type Ask, patientMs } from './link.js';
import type { Fields } from './reader.js';
import { count, load, offer, revoke, tell } from './withdrawing.js';

/** What a replica does about them. */
export interface Withdrawing {
  /** Ends sessions; how many. With `keep` no other can be started. */
  revoke(revocation: Revocation, keep: boolean): Promise<number>;
  /** These were not known here: their sessions end. */
  learned(revocations: readonly Revocation[]): void;
}

/** What came of one. */
export interface Withdrawn {
  readonly ended: number;
  readonly isKept: boolean;
  readonly issuedUntil: number;
  readonly expiresAt: number;
  /** Replicas that live, this one not counted, and those of them that have not said that theirs are ended. */
  readonly others: number;
  readonly silent: number;
}

const pageSize = 500;
const confirmMs = 1000;
const inboxMs = 60_000;
/** A part of a field: `-` where anything is meant. */
const part = '(-|[\\w-]{22})';
const fieldShape = new RegExp(`^([ut])\\.${part}\\.${part}\\.([\\w-]{22})$`);

export class Withdrawals {
  readonly #keys: Keys;
  readonly #replica: string;
  readonly #list: Revocations;
  readonly #limit: () => number;
  readonly #invalid: () => void;
  readonly #waiting = new Map<string, Confirmations>();
  #on: Withdrawing = { revoke: async () => 0, learned: () => undefined };

  /** @param list the copy that this replica has */
  constructor(keys: Keys, replica: string, list: Revocations, limit: () => number, invalid: () => void) {
    this.#keys = keys;
    this.#replica = replica;
    this.#list = list;
    this.#limit = limit;
    this.#invalid = invalid;
  }

  /** Says who ends sessions. */
  attend(on: Withdrawing): void {
    this.#on = on;
  }

  /** Reads all that Redis has, and adds what only this replica knows of. */
  async load(ask: Ask): Promise<void> {
    const [ends, issued] = [this.#keys.common('z'), this.#keys.common('d')];
    const learned: Revocation[] = [];
    const known = new Set([...this.#list].map((one) => `${fieldOf(one)} ${one.issuedUntil} ${one.expiresAt}`));
    for (let from = 0; ; from += pageSize) {
      const [, ...page] = listed.parse(
        await ask('load', load, () => ({ keys: [ends, issued], args: [from, pageSize] }), patientMs),
      );
      for (let at = 0; at < page.length; at += 3) {
        const [field = '', until, end] = page.slice(at, at + 3);
        const one = revocationOf(field, Number(until), Number(end));
        if (one === null) this.#invalid();
        else if (!known.has(`${field} ${one.issuedUntil} ${one.expiresAt}`) && this.#list.add(one)) learned.push(one);
      }
      if (page.length < pageSize * 3) break;
    }
    if (learned.length > 0) this.#on.learned(learned);
    await this.offer(ask);
  }

  /** Redis may have lost some: where it has fewer than this replica, it is offered them all. */
  async check(ask: Ask): Promise<void> {
    const [, size] = counted.parse(
      await ask('load', count, () => ({ keys: [this.#keys.common('z')], args: [] }), patientMs),
    );
    if (size < this.#list.size) await this.offer(ask);
  }

  async offer(ask: Ask): Promise<void> {
    const all = [...this.#list];
    const keys = ['z', 'd', 'x'].map((name) => this.#keys.common(name));
    for (let from = 0; from < all.length; from += pageSize) {
      const args = all
        .slice(from, from + pageSize)
        .flatMap((one) => [fieldOf(one), one.issuedUntil, Math.ceil(one.expiresAt)]);
      await ask('load', offer, () => ({ keys, args }), patientMs);
    }
  }

  /** Writes one for all replicas, ends those of this one, and waits a second for the others. */
  async revoke(revocation: Revocation, ask: Ask): Promise<Withdrawn> {
    const request = randomBytes(12).toString('base64url');
    const { tenant, issuer, issuedUntil, expiresAt } = revocation;
    const limit = this.#limit();
    const ofTenant = tenant === null ? 'z' : `t:${issuer ?? '-'}.${tenant}`;
    const keys = ['z', 'd', 'x', 'r', ofTenant].map((name) => this.#keys.common(name));
    const quarter = tenant === null ? -1 : Math.max(1, Math.floor(limit * mostOfTenant));
    const life = Math.max(1, Math.ceil(expiresAt - issuedUntil));
    const args = [fieldOf(revocation), life, limit, quarter, this.#replica, request];
    const confirmations = new Confirmations();
    this.#waiting.set(request, confirmations);
    try {
      const answer = written.parse(await ask('revoke', revoke, () => ({ keys, args }), patientMs));
      const [, at, end, kept, ...replicas] = answer;
      const others = replicas.filter((replica) => replica !== this.#replica);
      const own = this.#on.revoke({ ...revocation, issuedUntil: at, expiresAt: end }, kept === 1);
      const [here, { ended, silent }] = await Promise.all([own, confirmations.of(others, confirmMs)]);
      const told = { issuedUntil: at, expiresAt: end, others: others.length, silent };
      return { ended: here + ended, isKept: kept === 1, ...told };
    } finally {
      this.#waiting.delete(request);
    }
  }

  /** To be called with what stands in the stream of revocations. */
  async received(fields: Fields, ask: Ask): Promise<void> {
    const { f: field = '', u: until, e: end, k: kept, o: origin = '', r: request = '' } = fields;
    const one = revocationOf(field, Number(until), Number(end));
    if (one === null) return this.#invalid();
    // That replica has done it before it wrote it down here.
    if (origin === this.#replica) return;
    const ended = await this.#on.revoke(one, kept === '1');
    if (origin === '') return;
    const answer = ['t', 'ended', 'r', request, 'o', this.#replica, 'n', ended];
    const inbox = this.#keys.common(`c:${origin}`);
    done.parse(await ask('revoke', tell, () => ({ keys: [inbox], args: [inboxMs, ...answer] }), patientMs));
  }

  /** To be called with what another replica says about one of this one's. */
  confirmed({ r: request = '', o: replica = '', n: ended }: Fields): void {
    this.#waiting.get(request)?.heard(replica, Number(ended) || 0);
  }
}

/** What other replicas say of one request; it may come before it is known who lives. */
class Confirmations {
  readonly #ended = new Map<string, number>();
  #look: () => void = () => undefined;

  heard(replica: string, ended: number): void {
    if (!this.#ended.has(replica)) this.#ended.set(replica, ended);
    this.#look();
  }

  /** Waits until all of these have said so, or for so long. */
  async of(replicas: readonly string[], ms: number): Promise<{ ended: number; silent: number }> {
    const silent = () => replicas.filter((replica) => !this.#ended.has(replica)).length;
    const all = new Promise<void>((resolve) => {
      this.#look = () => {
        if (silent() === 0) resolve();
      };
      this.#look();
    });
    await inTime(all, ms);
    return { ended: [...this.#ended.values()].reduce((sum, one) => sum + one, 0), silent: silent() };
  }
}

/** As it is called in Redis; the same for all versions. */
function fieldOf({ kind, issuer, tenant, name }: Revocation): string {
  return `${kind[0]}.${issuer ?? '-'}.${tenant ?? '-'}.${name}`;
}

function revocationOf(field: string, issuedUntil: number, expiresAt: number): Revocation | null {
  const [, kind, issuer, tenant, name] = fieldShape.exec(field) ?? [];
  if (name === undefined || !Number.isSafeInteger(issuedUntil) || !Number.isSafeInteger(expiresAt)) return null;
  const orNull = (text: string | undefined) => (text === undefined || text === '-' ? null : text);
  return {
    ...{ kind: kind === 'u' ? 'user' : 'token', name, issuer: orNull(issuer), tenant: orNull(tenant) },
    ...{ issuedUntil, expiresAt },
  };
}

const ok = z.literal('ok');
const whole = z.number().int();
const listed = z.tuple([ok], z.string());
const counted = z.tuple([ok, whole]);
const written = z.tuple([ok, whole, whole, whole], z.string());
