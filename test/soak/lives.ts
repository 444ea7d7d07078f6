/** Ways in which clients come and go, and what a relay may not keep of them. */

import { once } from 'node:events';
import { createConnection } from 'node:net';
import { WebSocket } from 'ws';
import type { MeasuredRelay, Sample } from '../support/memory.js';

const atOnce = 40;
const settleSeconds = 20;

/** Opens a session and resolves once it may talk. */
export async function open(relay: MeasuredRelay, headers: Record<string, string>): Promise<WebSocket> {
  const client = dial(relay, headers);
  await once(client, 'message');
  return client;
}

export function dial(relay: MeasuredRelay, headers: Record<string, string>): WebSocket {
  const client = new WebSocket(`${relay.address}/openai/v1/realtime?model=x`, { headers, perMessageDeflate: false });
  client.on('error', () => undefined);
  return client;
}

export async function gone(client: WebSocket, leave: () => void): Promise<void> {
  const closed = new Promise((resolve) => client.once('close', resolve));
  if (client.readyState === WebSocket.CLOSED) return;
  leave();
  await closed;
}

export const ask = JSON.stringify({ type: 'response.create', response: { output_modalities: ['audio'] } });

type Live = (relay: MeasuredRelay, headers: Record<string, string>) => Promise<void>;

/** Ways in which a client comes and goes. */
export const lives: Readonly<Record<string, Live>> = {
  async 'says goodbye'(relay, headers) {
    const client = await open(relay, headers);
    await gone(client, () => client.close(1000));
  },
  async 'drops its connection'(relay, headers) {
    const client = await open(relay, headers);
    await gone(client, () => client.terminate());
  },
  async 'says goodbye during the dial'(relay, headers) {
    const client = dial(relay, headers);
    await once(client, 'open');
    await gone(client, () => client.close(1000));
  },
  async 'drops its connection during the dial'(relay, headers) {
    const client = dial(relay, headers);
    await once(client, 'open');
    await gone(client, () => client.terminate());
  },
  async 'drops its connection during the handshake'(relay, headers) {
    const { hostname, port } = new URL(relay.address);
    const socket = createConnection(Number(port), hostname);
    const lines = [
      'GET /openai/v1/realtime?model=x HTTP/1.1',
      'Host: relay',
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ];
    socket.on('error', () => undefined);
    socket.write(`${lines.join('\r\n')}\r\n\r\n`, () => socket.destroy());
    await new Promise((resolve) => socket.once('close', resolve));
  },
  async 'says goodbye during an answer'(relay, headers) {
    const client = await open(relay, headers);
    client.send(ask);
    await once(client, 'message');
    await gone(client, () => client.close(1000));
  },
  async 'drops its connection during an answer'(relay, headers) {
    const client = await open(relay, headers);
    client.send(ask);
    await once(client, 'message');
    await gone(client, () => client.terminate());
  },
};

/** Runs `count` calls of `work`, some at once. */
export async function many(count: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

export function handles({ resources }: Sample): number {
  return Object.entries(resources).reduce((sum, [kind, count]) => (kind === 'Timeout' ? sum : sum + count), 0);
}

export function timers({ resources }: Sample): number {
  return resources.Timeout ?? 0;
}
/** Looks until nothing is held that `fresh` did not hold, or until time is up: sockets close a little after their sessions. */
export async function settled(relay: MeasuredRelay, fresh: Sample): Promise<Sample> {
  const until = Date.now() + settleSeconds * 1000;
  let now = await relay.look();
  while (Date.now() < until) {
    if (now.sessions === 0 && handles(now) <= handles(fresh) && timers(now) <= timers(fresh)) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
    now = await relay.look();
  }
  return now;
}
