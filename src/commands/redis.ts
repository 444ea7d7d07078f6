/** What `realtime-relay check` says of Redis: where it is, what it is, and what the relay may do there. */

import { randomBytes } from 'node:crypto';
import type { Settings } from '../config/settings.js';
import { loginOf } from '../control/shared.js';
import { answered, type Connection, codeOf, connect, NoAnswer } from '../store/redis/connection.js';
import { keysUnder } from '../store/redis/keys.js';
import { probe } from '../store/redis/scripts.js';
import { oneLine } from '../terminal.js';

const withinMs = 2000;

/** Says it in one line, and in others what is probably not meant; nothing where there is no Redis. */
export async function lookAtRedis(settings: Settings, say: (line: string) => void): Promise<void> {
  const { redis } = settings;
  if (!redis) return;
  if (!redis.keys) {
    say(
      'warning: RELAY_REDIS_KEY is not set: who can write to Redis can be any user of the relay, and read their names.',
    );
  }
  const where = redis.addresses
    .map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`)
    .join(', ');
  const login = loginOf(settings, () => undefined);
  let connection: Connection | null = null;
  try {
    const opening = connect({ ...redis, login: login.login }, () => undefined);
    connection = await answered(opening, withinMs);
    const found = await answered(examine(connection, redis.prefix), withinMs);
    const as = found.user === null ? 'user unknown' : `user ${found.user}`;
    const how = redis.tls ? 'with TLS' : 'without TLS';
    say(
      `redis: ${[where, found.version, found.mode, found.policy, how, as].join(', ')}; may: ${found.may.join(', ') || 'nothing'}`,
    );
    for (const warning of found.warnings) say(`warning: redis: ${warning}`);
  } catch (error) {
    const why = error instanceof NoAnswer ? 'no answer in time' : codeOf(error);
    say(
      `warning: redis: not reachable (${oneLine(why, 60)}); at ${where}. A relay starts without it, and is alone until it is there.`,
    );
  } finally {
    connection?.close();
    login.close();
  }
}

interface Found {
  readonly version: string;
  readonly mode: string;
  readonly policy: string;
  readonly user: string | null;
  readonly may: readonly string[];
  readonly warnings: readonly string[];
}

async function examine(connection: Connection, prefix: string): Promise<Found> {
  const key = keysUnder(prefix).common(`check:${randomBytes(9).toString('base64url')}`);
  const send = (...args: string[]) => connection.send(key, args).catch((error: unknown) => new Refused(codeOf(error)));
  const info = String(await send('INFO'));
  const field = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? null;
  const user = await send('ACL', 'WHOAMI');
  const tried: readonly (readonly [string, unknown])[] = [
    ['write', await send('SET', key, '1', 'PX', '5000')],
    ['read', await send('GET', key)],
    ['scripts', await connection.run(probe, [key], ['9e15']).catch((error: unknown) => new Refused(codeOf(error)))],
    ['streams', await streams(send, `${key}:x`)],
  ];
  await send('DEL', key);
  const isAllowed = (name: string) => tried.some(([one, answer]) => one === name && !(answer instanceof Refused));
  const refused = tried.filter(([, answer]) => answer instanceof Refused);
  const policy = field('maxmemory_policy');
  const version = field('redis_version');
  const warnings = [
    ...refused.map(([what, answer]) => `${what}: refused (${(answer as Refused).code}).`),
    ...(version !== null && Number.parseInt(version, 10) < 6 ? ['the relay needs Redis 6.0 or later.'] : []),
    ...(policy !== null && policy !== 'noeviction'
      ? [`maxmemory-policy is ${oneLine(policy, 40)}: withdrawn tokens and budgets may be thrown away; set noeviction.`]
      : []),
  ];
  return {
    version: version === null ? 'of an unknown version' : `Redis ${oneLine(version, 40)}`,
    mode: oneLine(field('redis_mode') ?? 'mode unknown', 40),
    policy: oneLine(policy ?? 'policy unknown', 40),
    user: typeof user === 'string' ? oneLine(user, 60) : null,
    may: ['read', 'write', 'scripts', 'streams'].filter(isAllowed),
    warnings,
  };
}

/** Redis refused it with this code. */
class Refused {
  constructor(readonly code: string) {}
}

async function streams(send: (...args: string[]) => Promise<unknown>, key: string): Promise<unknown> {
  const added = await send('XADD', key, '*', 'a', '1');
  const read = await send('XREAD', 'COUNT', '1', 'STREAMS', key, '0');
  await send('DEL', key);
  return added instanceof Refused ? added : read;
}
