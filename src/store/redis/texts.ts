/** One-time texts in Redis: each is one key, and its name stands in a set of those that its owner has not used. */

import { h } from '../hash.js';
import type { OneTime } from '../store.js';
import { entered, got, limitOf, packText, unpackText } from './calls.js';
import type { Keys } from './keys.js';
import { doorMs, type Link, patientMs } from './link.js';
import { look, put, remove, reserve, take } from './scripts.js';

const mostTextLength = 64 * 1024;

/** The part of a store that keeps them. */
export interface Texts {
  put(text: OneTime): Promise<'kept' | 'taken'>;
  get(how: 'look' | 'take', key: string): Promise<string | null>;
}

/** @param invalid told of what was read and is not of the right form: whoever can write to Redis may have written anything */
export function createTexts(link: Link, keys: Keys, invalid: (call: 'look' | 'take') => void): Texts {
  return {
    async put({ key, value, ttlSeconds, of, limit }) {
      if (value.length > mostTextLength) throw new RangeError('a one-time value is at most 64 KiB');
      const lifeMs = Math.ceil(ttlSeconds * 1000);
      const own = keys.unused(h(of));
      const room = () => ({ keys: [own], args: [h(key), limitOf(limit), lifeMs] });
      const [outcome] = entered.parse(await link.ask('put', reserve, room, patientMs));
      if (outcome !== 'in') return 'taken';
      const packed = packText(value, of);
      await link.ask('put', put, () => ({ keys: [keys.text(key)], args: [packed, lifeMs] }), patientMs);
      return 'kept';
    },
    async get(how, key) {
      const script = how === 'look' ? look : take;
      const [, packed] = got.parse(await link.ask(how, script, () => ({ keys: [keys.text(key)], args: [] }), doorMs));
      if (packed === null) return null;
      const found = unpackText(packed);
      if (!found) {
        invalid(how);
        return null;
      }
      if (how === 'take') {
        const place = () => ({ keys: [keys.unused(found.owner)], args: [h(key)] });
        void link.ask('take', remove, place, patientMs).catch(reported);
      }
      return found.text;
    },
  };
}

/** It was reported where Redis was asked; its place runs out by itself. */
function reported(_error: unknown): void {}
