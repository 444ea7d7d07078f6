/** The names of keys. No name of a user or a token is in them; they are the same for two versions that run at once. */

import { h } from '../hash.js';
import type { Purpose } from '../store.js';

/** The names of the keys under a prefix. */
export interface Keys {
  readonly probe: string;
  /** The places of a key. */
  places(group: string, purpose: Purpose, key: string): string;
  /** The three of a budget on the day that begins at `day`, in milliseconds since 1970. */
  pot(group: string, counter: string, day: number): readonly [used: string, ends: string, parts: string];
  /** The unused texts of somebody, by what their name was hashed to. */
  unused(owner: string): string;
  /** A one-time text. */
  text(key: string): string;
  /** Of what all replicas have in common: all in one slot. */
  common(name: string): string;
}

const letters: Readonly<Partial<Record<Purpose, string>>> = { sessions: 'p', keys: 'k' };

/** What is counted in one step is of one group, `t:<tenant>` or `u:<user>`, and so in one slot. */
export function keysUnder(prefix: string): Keys {
  const tagged = (group: string, rest: string) => `${prefix}{${group.slice(0, 2)}${h(group.slice(2))}}:${rest}`;
  return {
    probe: `${prefix}{probe}:x`,
    places: (group, purpose, key) => tagged(group, `${letters[purpose] ?? purpose}:${h(key)}`),
    pot(group, counter, day) {
      const [, kind, owner] = /^([a-z_]+:[a-z]+):(.*)$/s.exec(counter) ?? [null, 'other', counter];
      const date = new Date(day).toISOString().slice(0, 10);
      const rest = `${kind}:${date}:${h(owner ?? '')}`;
      return [tagged(group, `b:${rest}`), tagged(group, `h:${rest}`), tagged(group, `a:${rest}`)];
    },
    unused: (owner) => `${prefix}{u:${owner}}:s`,
    text: (key) => `${prefix}s:${h(key)}`,
    common: (name) => `${prefix}{rev}:${name}`,
  };
}
