import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, onTestFinished } from 'vitest';
import { MemoryStore, type Room } from '../../src/store/memory.js';
import { type Connection, connect } from '../../src/store/redis/connection.js';
import { type Keys, keysUnder } from '../../src/store/redis/keys.js';
import { Link, type LinkEvents } from '../../src/store/redis/link.js';
import { RedisStore } from '../../src/store/redis/shared.js';
import { freePort } from './port.js';

/** Whether the tests that need a real Redis can run; those who develop without one are not kept from the rest. */
export const hasRedis = spawnSync('redis-server', ['--version']).status === 0;
if (!hasRedis) console.warn('redis-server is not installed: the tests that need it are skipped.');

/** A redis-server of a test. */
export interface RedisServer {
  readonly port: number;
  readonly url: string;
  readonly place: Parameters<typeof connect>[0];
  readonly pid: number;
  /** Runs one command, as `redis-cli` does. */
  command(...args: string[]): Promise<unknown>;
  /** Lets it stand still, and go on. */
  pause(): void;
  resume(): void;
  /** Ends it at once; `start` begins another one in its place, with nothing in it. */
  kill(): Promise<void>;
  start(): Promise<void>;
  close(): Promise<void>;
}

/** Starts a server that ends with the file of the test. */
export async function startRedis(...args: string[]): Promise<RedisServer> {
  for (let left = 5; ; left--) {
    try {
      return await startAt(await freePort(), args);
    } catch (error) {
      if (left === 0) throw error;
    }
  }
}

/** Rejects where the server ends before it is ready: whoever has its port may be the server of another test. */
async function startAt(port: number, args: readonly string[]): Promise<RedisServer> {
  const place = {
    addresses: [{ host: '127.0.0.1', port }],
    ...{ tls: false, database: 0, isCluster: false, login: {} },
  };
  // What one that replicates another writes, the next one that is started there would read.
  const folder = mkdtempSync(join(tmpdir(), 'relay-redis-'));
  let process: ChildProcess;
  let admin: Connection | null = null;

  async function start(): Promise<void> {
    const own = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder];
    process = spawn('redis-server', [...own, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    let isReady = false;
    for await (const chunk of process.stdout as AsyncIterable<Buffer>) {
      isReady = String(chunk).includes('Ready to accept connections');
      if (isReady) break;
    }
    if (!isReady) throw new Error(`the redis-server for port ${port} has ended`);
    process.stdout?.resume();
  }

  async function kill(): Promise<void> {
    admin?.close();
    admin = null;
    if (process.exitCode !== null || process.signalCode !== null) return;
    const over = once(process, 'exit');
    process.kill('SIGKILL');
    await over;
  }

  await start();
  const server: RedisServer = {
    port,
    url: `redis://127.0.0.1:${port}`,
    place,
    get pid() {
      return process.pid as number;
    },
    async command(...command) {
      admin ??= await connect(place, () => {
        admin = null;
      });
      return admin.send('', command);
    },
    pause: () => void process.kill('SIGSTOP'),
    resume: () => void process.kill('SIGCONT'),
    kill,
    start,
    close: kill,
  };
  afterAll(async () => {
    await kill();
    rmSync(folder, { recursive: true, force: true });
  });
  return server;
}

/** All keys under a prefix. */
export async function keysOf({ command }: RedisServer, prefix: string): Promise<string[]> {
  const found: string[] = [];
  let cursor = '0';
  do {
    const [next, keys] = (await command('SCAN', cursor, 'MATCH', `${prefix}*`, 'COUNT', '1000')) as [string, string[]];
    cursor = next;
    found.push(...keys);
  } while (cursor !== '0');
  return found;
}

/** Makes all that is kept under a prefix older: the ends of what it holds, its own end, and the day that it is of. */
export async function age(server: RedisServer, prefix: string, ms: number): Promise<void> {
  const { command } = server;
  for (const key of await keysOf(server, prefix)) {
    if ((await command('TYPE', key)) === 'zset') {
      const members = (await command('ZRANGE', key, '0', '-1', 'WITHSCORES')) as unknown[];
      for (const [member, score] of pairsOf(members)) await command('ZADD', key, String(score - ms), member);
    }
    const left = Number(await command('PTTL', key)) - ms;
    if (left <= 0) await command('DEL', key);
    else await command('PEXPIRE', key, String(left));
    if (left > 0 && ms >= 43_200_000) await command('RENAME', key, key.replace(/:\d{4}-\d\d-\d\d:/, ':before:'));
  }
}

/** As the version of the protocol has it: in pairs, or one after the other. */
function pairsOf(members: readonly unknown[]): [string, number][] {
  if (Array.isArray(members[0])) return (members as [string, number][]).map(([name, score]) => [name, Number(score)]);
  return members.flatMap((name, index) =>
    index % 2 === 0 ? [[String(name), Number(members[index + 1])] as [string, number]] : [],
  );
}

interface Wish {
  readonly prefix?: string;
  readonly now?: () => number;
  readonly room?: Partial<Room>;
  readonly whenLost?: 'local' | 'refuse';
  readonly isCluster?: boolean;
  readonly on?: Partial<LinkEvents>;
}

let stores = 0;

/** A store in a Redis, by itself under its prefix unless that is given; it ends with the test. */
export async function redisStore(
  server: RedisServer,
  { prefix = `test${++stores}:`, now, room = {}, whenLost = 'local', isCluster = false, on = {} }: Wish = {},
): Promise<{ store: RedisStore; link: Link; keys: Keys; prefix: string }> {
  const keys = keysUnder(prefix);
  const nothing = () => undefined;
  const events: LinkEvents = {
    ...{ answered: nothing, failed: nothing, away: nothing, back: nothing, returning: async () => undefined },
    ...on,
  };
  if (!on.failed) {
    const failures: unknown[] = [];
    events.failed = (call, error) => void failures.push([call, error]);
    onTestFinished(() => expect(failures).toEqual([]));
  }
  const link = new Link((lost) => connect({ ...server.place, isCluster }, lost), keys.probe, events);
  const local = new MemoryStore({ room, ...(now && { now }) });
  const store = new RedisStore({
    ...{ link, keys, local, invalid: nothing, whenLost: () => whenLost },
    ...(now && { now }),
  });
  onTestFinished(async () => {
    await store.close();
    link.close();
  });
  await link.start();
  return { store, link, keys, prefix };
}
