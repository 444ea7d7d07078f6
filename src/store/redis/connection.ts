/** A connection to Redis, or to the nodes of a cluster: the only place that knows the library. */

import { createHash } from 'node:crypto';
import { isIP } from 'node:net';
import { createClient, createCluster } from '@redis/client';
import { addressError, isInside, judgedLookup } from '../../outbound/addresses.js';
import { inTime } from '../../wait.js';
import type { Login } from './login.js';

/** Where Redis is, and as whom it is asked. */
export interface RedisPlace {
  /** One, or some of the nodes of a cluster. */
  readonly addresses: readonly { readonly host: string; readonly port: number }[];
  readonly tls: boolean;
  readonly database: number;
  readonly isCluster: boolean;
  readonly login: Login;
}

/** A script with the name that Redis knows it by. */
export interface Script {
  readonly text: string;
  readonly sha: string;
}

export function scriptOf(text: string): Script {
  return { text, sha: createHash('sha1').update(text).digest('hex') };
}

/** An open connection. */
export interface Connection {
  /** Runs a script on keys of one slot. */
  run(script: Script, keys: readonly string[], args: readonly string[]): Promise<unknown>;
  /** Sends a command to whoever has the key. */
  send(key: string, args: readonly string[]): Promise<unknown>;
  close(): void;
}

/** Redis did not answer in time; what it was asked may still be carried out. */
export class NoAnswer extends Error {
  constructor(ms: number) {
    super(`Redis did not answer within ${ms} ms.`);
    this.name = 'NoAnswer';
  }
}

/** A standstill of this process is no silence of Redis: of the time waited it counts as one of so many parts. */
const parts = 5;

/** What Redis or the library says, once it is said in time. The library's own time-outs end at the socket. */
export async function answered<T>(answer: Promise<T>, ms: number): Promise<T> {
  for (let left = parts; left > 0; left--) if (await inTime(answer, ms / parts)) return answer;
  throw new NoAnswer(ms);
}

const connectMs = 1000;
const mostWaiting = 10_000;

/**
 * Connects. Rejects when that takes more than a second.
 * @param lost told once when an open connection ends by itself
 */
export async function connect(place: RedisPlace, lost: (error: unknown) => void): Promise<Connection> {
  let isOpen = false;
  const ended = (error: unknown) => {
    if (isOpen) lost(error);
  };
  const { send, open, close } = place.isCluster ? cluster(place, ended) : single(place, ended);
  try {
    await answered(open(), connectMs);
    isOpen = true;
  } catch (error) {
    close();
    throw error;
  }
  return {
    send,
    close,
    async run({ text, sha }, keys, args) {
      const rest = [String(keys.length), ...keys, ...args];
      const [key = ''] = keys;
      try {
        return await send(key, ['EVALSHA', sha, ...rest]);
      } catch (error) {
        if (codeOf(error) !== 'NOSCRIPT') throw error;
        return send(key, ['EVAL', text, ...rest]);
      }
    },
  };
}

/** The first word of an error that Redis answered, which is its code; or the system's code, or the name of what was thrown. */
export function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  const { code } = error as NodeJS.ErrnoException;
  if (typeof code === 'string') return code;
  return /^([A-Z]{2,20})(?: |$)/.exec(error.message)?.[1] ?? error.name;
}

interface Opening {
  send(key: string, args: readonly string[]): Promise<unknown>;
  open(): Promise<unknown>;
  close(): void;
}

function single(place: RedisPlace, lost: (error: unknown) => void): Opening {
  const [address = { host: '127.0.0.1', port: 6379 }] = place.addresses;
  const client = createClient({
    ...common(place),
    socket: { ...socketOf(place), ...address },
    database: place.database,
  });
  const end = once(lost);
  client.on('error', end);
  client.on('end', () => end(new Error('Redis closed the connection.')));
  return {
    send: (_key, args) => client.sendCommand(args),
    open: () => client.connect(),
    close: () => {
      end(null);
      if (client.isOpen) client.destroy();
    },
  };
}

function cluster(place: RedisPlace, lost: (error: unknown) => void): Opening {
  const url = ({ host, port }: RedisPlace['addresses'][number]) => ({ socket: { host, port } });
  const client = createCluster({
    rootNodes: place.addresses.map(url),
    defaults: { ...common(place), socket: socketOf(place) },
    // What a cluster says its nodes are is no more to be trusted than what a name leads to.
    nodeAddressMap(address) {
      const [, host = '', port = ''] = /^(.*):(\d+)$/.exec(address) ?? [];
      if (!place.tls && isIP(host) !== 0 && !isInside(host)) throw addressError(host);
      return { host, port: Number(port) };
    },
  });
  const end = once(lost);
  client.on('error', end);
  client.on('node-error', end);
  return {
    send: (key, args) => client.sendCommand(key, false, [...args]),
    open: () => client.connect(),
    close: () => {
      end(null);
      client.destroy();
    },
  };
}

function common({ login }: RedisPlace) {
  return {
    ...login,
    disableOfflineQueue: true,
    commandsQueueMaxLength: mostWaiting,
    // Would need a right of its own.
    disableClientInfo: true,
    // Would stretch time-outs to ten seconds on Azure Managed Redis.
    maintNotifications: 'disabled' as const,
  };
}

function socketOf({ tls, addresses: [first] }: RedisPlace) {
  const name = first && isIP(first.host) === 0 ? { servername: first.host } : {};
  const shared = { connectTimeout: connectMs, reconnectStrategy: false as const };
  return tls ? { ...shared, ...name, tls: true as const } : { ...shared, lookup: judgedLookup('inside') };
}

/** Tells the first of what it is told; null: nothing is to be told any more. */
function once(tell: (error: unknown) => void): (error: unknown) => void {
  let isOver = false;
  return (error) => {
    if (isOver) return;
    isOver = true;
    if (error !== null) tell(error);
  };
}
