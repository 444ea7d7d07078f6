/** Where the state is that several replicas have in common, and what the relay does while that is out of reach. */

import { isIP } from 'node:net';
import { z } from 'zod';
import { bareHost, isInside, isLoopback } from '../outbound/addresses.js';
import type { Environment } from './environment.js';
import type { ConfigFile } from './file.js';
import type { RedisSettings } from './settings.js';

/** `redis:` of the YAML file. */
export const redisSchema = z.strictObject({
  when_lost: z
    .enum(['local', 'refuse'])
    .default('local')
    .describe('While Redis is out of reach: `local` lets in whom this replica has room for; `refuse` lets in nobody.'),
  ready: z
    .enum(['ignore', 'require'])
    .default('ignore')
    .describe('`require`: `/readyz` is 503 while Redis is out of reach.'),
});

const variables = ['RELAY_REDIS_ENTRA', 'RELAY_REDIS_CLUSTER', 'RELAY_REDIS_PREFIX', 'RELAY_REDIS_KEY'] as const;

/** Null without `RELAY_REDIS_URL`. What is wrong is added to `problems`, never with the value: it may hold a password. */
export function redisOf(
  env: Environment,
  { redis }: Pick<ConfigFile, 'redis'>,
  given: Readonly<Record<string, string>>,
  problems: string[],
  warnings: string[],
): RedisSettings | null {
  if (!env.RELAY_REDIS_URL) {
    const ignored = [...variables, 'RELAY_REDIS_SCOPE'].filter((name) => given[name] !== undefined);
    if (redis) ignored.push('redis');
    for (const name of ignored) warnings.push(`${name} is ignored: RELAY_REDIS_URL is not set.`);
    return null;
  }
  const say = (problem: string) => problems.push(`RELAY_REDIS_URL: ${problem}`);
  const written = env.RELAY_REDIS_URL.split(',').map((one) => one.trim());
  const places = written.map(placeOf);
  const [first] = places;
  if (!first || places.some((place) => place === null)) {
    say(
      'not an address; expected redis[s]://[user[:password]@]host[:port][/db], with db from 0 to 15, ' +
        'and several only with RELAY_REDIS_CLUSTER=on.',
    );
    return null;
  }
  const all = places.filter((place) => place !== null);
  const { tls, username, password, database } = first;
  const isCluster = env.RELAY_REDIS_CLUSTER;
  if (all.length > 1 && !isCluster) say('lists several addresses; those are for RELAY_REDIS_CLUSTER=on.');
  if (isCluster && all.some((place) => place.database !== 0)) say('a cluster has only the database 0.');
  if (all.some((place) => place.tls !== tls)) say('all addresses must begin alike, with redis:// or with rediss://.');
  const isOther = (place: Place) => place.username !== username || place.password !== password;
  if (all.some((place) => (place.username || place.password) && isOther(place))) {
    say('all addresses must have the same user and password, or only the first.');
  }
  if (!tls && !all.every(({ host }) => isInsideName(host))) {
    say('must be rediss://; plain redis:// is for loopback and private addresses only.');
  }
  if (env.RELAY_REDIS_ENTRA) {
    if (password) say('must not hold a password together with RELAY_REDIS_ENTRA=on.');
    if (!tls && !all.every(({ host }) => isLoopback(host))) say('must be rediss:// with RELAY_REDIS_ENTRA=on.');
  }
  return {
    addresses: all.map(({ host, port }) => ({ host, port })),
    ...{ tls, username, password, database, isCluster },
    scope: env.RELAY_REDIS_ENTRA ? env.RELAY_REDIS_SCOPE : null,
    prefix: env.RELAY_REDIS_PREFIX,
    keys: env.RELAY_REDIS_KEY ?? null,
    ...(redis ?? redisSchema.parse({})),
  };
}

/** One address of the setting. */
interface Place {
  readonly tls: boolean;
  readonly host: string;
  readonly port: number;
  readonly username: string;
  readonly password: string;
  readonly database: number;
}

function placeOf(written: string): Place | null {
  if (!URL.canParse(written)) return null;
  const { protocol, hostname, port, pathname, username, password } = new URL(written);
  const [, database] = /^\/?(\d|1[0-5])?$/.exec(pathname) ?? [null, null];
  const host = bareHost(hostname).toLowerCase();
  if (!/^rediss?:$/.test(protocol) || host === '' || database === null || /[?#]/.test(written)) return null;
  // What stands in brackets is an address, and what does not is a name or one.
  if (hostname.startsWith('[') ? isIP(host) !== 6 : !/^[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?\.?$/.test(host)) return null;
  try {
    return {
      tls: protocol === 'rediss:',
      host,
      port: port === '' ? 6379 : Number(port),
      username: decodeURIComponent(username),
      password: decodeURIComponent(password),
      database: Number(database ?? 0),
    };
  } catch {
    // A % that stands for nothing.
    return null;
  }
}

const insideEnds = ['.localhost', '.local', '.internal', '.svc', '.svc.cluster.local'];

/** Whether a name or address can only be one of a private network; where a name leads is looked at when it is known. */
function isInsideName(host: string): boolean {
  if (isIP(host) !== 0) return isInside(host);
  const name = host.replace(/\.$/, '');
  return !name.includes('.') || insideEnds.some((end) => name.endsWith(end));
}
