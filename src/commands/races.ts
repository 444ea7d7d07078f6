/** `realtime-relay check --redis`: the races that replicas run, against somebody's own Redis, under a prefix of its own. */

import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Settings } from '../config/settings.js';
import { loginOf } from '../control/shared.js';
import { MemoryStore } from '../store/memory.js';
import { Commons } from '../store/redis/commons.js';
import { answered, type Connection, codeOf, connect, type RedisPlace } from '../store/redis/connection.js';
import { hashed, Revocations } from '../store/revocations.js';
import type { Entry, Reservation } from '../store/store.js';
import { oneLine } from '../terminal.js';
import { inTime } from '../wait.js';

/** What came of one race: its figures, or what was wrong. */
interface Race {
  readonly what: string;
  run(all: Trio): Promise<string>;
}
type Trio = readonly [Commons, Commons, Commons];

const startMs = 3000;
const allMs = 30_000;
/** Whatever becomes of this process, nothing of it stays longer. */
const lifeMs = 60_000;
const group = 'u:check';

/** Runs them one after the other; whether all came out as they must. Keys are deleted in any case. */
export async function raceRedis(settings: Settings, say: (line: string) => void): Promise<boolean> {
  const { redis } = settings;
  if (!redis) throw new Error('there is no Redis to race against');
  const { login, close: logOut } = loginOf(settings, () => undefined);
  const place: RedisPlace = { ...redis, login };
  const keys = new Set<string>();
  let failure: unknown = null;
  const failed = (_call: unknown, error: unknown) => {
    failure ??= error;
  };
  const prefix = `${redis.prefix}check:${randomBytes(9).toString('base64url')}:`;
  const all = ['a', 'b', 'c'].map((replica) => contender(place, { prefix, replica, keys, failed })) as unknown as Trio;
  const until = performance.now() + allMs;
  const cleanUp = async () => {
    await Promise.all(all.map((one) => one.close()));
    await deleteAll(place, keys);
    logOut();
  };
  const interrupted = () => void cleanUp().finally(() => process.exit(130));
  process.once('SIGINT', interrupted);
  try {
    const isThere = await inTime(Promise.all(all.map(({ link }) => link.start())), startMs);
    if (!isThere) {
      say(`FAILED connect — ${oneLine(codeOf(failure), 60)}`);
      return false;
    }
    let isGood = true;
    for (const { what, run } of races) {
      const before = performance.now();
      const outcome = await answered(run(all), Math.max(1, until - before)).then(
        (figures) => ({ verdict: 'ok', figures }),
        (error: unknown) => ({ verdict: 'FAILED', figures: oneLine((error as Error).message, 200) }),
      );
      isGood &&= outcome.verdict === 'ok';
      say(`${outcome.verdict} ${what} — ${outcome.figures}, ${Math.round(performance.now() - before)} ms`);
    }
    return isGood;
  } finally {
    process.off('SIGINT', interrupted);
    await cleanUp();
  }
}

interface Contender {
  readonly prefix: string;
  readonly replica: string;
  readonly keys: Set<string>;
  failed(call: unknown, error: unknown): void;
}

/** A replica without a relay, whose keys are remembered and end soon. */
function contender(place: RedisPlace, { prefix, replica, keys, failed }: Contender): Commons {
  const nothing = () => undefined;
  return new Commons({
    ...{ place, prefix, replica, identity: 'check', revocations: new Revocations(1000), local: new MemoryStore() },
    secrets: [],
    mostRevocations: () => 1000,
    whenLost: () => 'refuse',
    connect: async (to, lost) => remembering(await connect(to, lost), keys),
    on: {
      ...{ answered: nothing, failed, back: nothing, emptied: nothing, overLimit: nothing },
      ...{ invalid: nothing, foreign: nothing, evicts: nothing, away: failed },
    },
  });
}

function remembering(connection: Connection, keys: Set<string>): Connection {
  return {
    ...connection,
    async run(script, names, args) {
      const answer = connection.run(script, names, args);
      for (const key of names) {
        keys.add(key);
        connection.send(key, ['PEXPIRE', key, String(lifeMs)]).catch(() => undefined);
      }
      return answer;
    },
  };
}

async function deleteAll(place: RedisPlace, keys: Set<string>): Promise<void> {
  if (keys.size === 0) return;
  try {
    const connection = await connect(place, () => undefined);
    for (const key of keys) await connection.send(key, ['DEL', key]);
    connection.close();
  } catch {
    // They end by themselves.
  }
}

function entry(key: string, limit: number, holder: string, holds: readonly Reservation[] = [], ttlSeconds = 30): Entry {
  return { place: { purpose: 'sessions', group, key, limit, ttlSeconds }, holds, holder, owner: 'check' };
}

const reservation = (counter: string, limit: number, isExact: boolean): Reservation => {
  return { counter, group, limit, most: isExact ? 1 : 10, least: 1, isExact };
};

function must(isSo: boolean, otherwise: string): void {
  if (!isSo) throw new Error(otherwise);
}

/** Lets so many do something at once, at all three in turn, and counts whom it succeeds. */
async function count(rivals: number, all: Trio, attempt: (one: Commons, index: number) => Promise<boolean>) {
  const done = await Promise.all(Array.from({ length: rivals }, (_, at) => attempt(all[at % 3] as Commons, at)));
  return done.filter(Boolean).length;
}

const races: readonly Race[] = [
  {
    what: 'one place left, 50 who want it',
    async run(all) {
      for (let round = 0; round < 40; round++) {
        const key = `place-${round}`;
        for (const holder of ['x', 'y']) await all[0].store.enter(entry(key, 3, `${key}-${holder}`));
        const inside = await count(50, all, async ({ store }, at) => {
          return (await store.enter(entry(key, 3, `${key}-${at}`))).outcome === 'in';
        });
        must(inside === 1, `${inside} got it in round ${round + 1}`);
      }
      return '40 rounds of 40';
    },
  },
  {
    what: 'a secret that 8 present at once',
    async run(all) {
      for (let round = 0; round < 200; round++) {
        const key = `secret-${round}`;
        await all[0].store.put({ key, value: 'value', ttlSeconds: 30, of: 'check', limit: 1000 });
        const had = await count(8, all, async ({ store }) => (await store.take(key)) !== null);
        must(had === 1, `${had} had it in round ${round + 1}`);
      }
      return '200 rounds of 200';
    },
  },
  {
    what: 'budgets',
    async run(all) {
      const sessions = reservation('sessions_per_day:user:check', 20, true);
      const inside = await count(60, all, async ({ store }, at) => {
        return (await store.enter(entry(`budget-${at}`, 1, `budget-${at}`, [sessions]))).outcome === 'in';
      });
      must(inside === 20, `${inside} of 60 got in where 20 may`);
      const tokens = reservation('tokens_per_day:user:check', 1_000_000, false);
      const spend = async ({ store }: Commons, holder: string) => {
        for (let total = 1; total <= 50; total++)
          await store.settle(holder, [{ ...tokens, total: total * 7, told: 0 }]);
      };
      await Promise.all(all.map((one, at) => spend(one, `spender-${at}`)));
      const { reserved } = await all[0].store.settle('looker', [{ ...tokens, most: 0, total: 0, told: 0 }]);
      must(reserved[0]?.used === 1050, `${reserved[0]?.used} tokens were counted of 1050`);
      return '20 of 60 sessions, 1050 of 1050 tokens';
    },
  },
  {
    what: 'places that end by themselves',
    async run(all) {
      const taken = await all[0].store.enter(entry('lease', 1, 'first', [], 1));
      const other = await all[1].store.enter(entry('lease', 1, 'second'));
      must(taken.outcome === 'in' && other.outcome === 'taken', 'a place was had twice');
      await pause(1100);
      must((await all[1].store.enter(entry('lease', 1, 'second'))).outcome === 'in', 'it was not free after its time');
      return 'free after 1 s';
    },
  },
  {
    what: 'a withdrawal, told to two others',
    async run(all) {
      for (const { withdrawals } of all) withdrawals.attend({ revoke: async () => 1, learned: () => undefined });
      const now = Math.floor(Date.now() / 1000);
      const whose = { kind: 'user' as const, name: 'check', issuer: null, tenant: null };
      const due = hashed({ ...whose, issuedUntil: now, expiresAt: now + 30 });
      const before = performance.now();
      const { ended, silent } = await all[0].withdrawals.revoke(due, all[0].link.ask);
      must(silent === 0 && ended === 3, `${silent} of 2 did not hear of it within a second`);
      return `2 of 2 in ${Math.round(performance.now() - before)} ms`;
    },
  },
];
