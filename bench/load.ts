/** The load generator: clients that open sessions through whatever is measured, and send prepared frames. */

import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { append, isWhole, largeAppend } from './events.js';
import { frame, frameCounter, Order, pong, round, stamp } from './frames.js';
import type { Command, Report } from './messages.js';
import { everySlot, slotsPerSecond } from './slots.js';

interface Client {
  readonly socket: Socket;
  readonly index: number;
}

const appends = round((id) => frame(append(id), true));
const clients: Client[] = [];
let sent = 0;
let events = 0;
let faults = 0;
let latencies: number[] = [];
let pacer: (() => void) | null = null;
/** Made before it is needed, so that making it delays nobody. */
let large: Buffer = Buffer.alloc(0);

function handshake(url: URL, token: string): string {
  const lines = [
    `GET ${url.pathname}${url.search} HTTP/1.1`,
    `Host: ${url.host}`,
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
    'Sec-WebSocket-Version: 13',
    `api-key: ${token}`,
  ];
  return `${lines.join('\r\n')}\r\n\r\n`;
}

/** Resolves when the session may be used: `session.created` has come. */
function open(url: URL, token: string, index: number): Promise<Client> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(url.port), url.hostname);
    socket.setNoDelay();
    socket.on('error', reject);
    let head = '';
    socket.write(handshake(url, token));
    const client = { socket, index };
    const order = new Order();
    const count = frameCounter((opcode, _length, start, isSample) => {
      if (opcode === 9) socket.write(pong(start, true));
      if (opcode !== 1) return;
      if (start.includes('"session.created"')) {
        resolve(client);
        return;
      }
      if (start.includes('"response.created"') || start.includes('"response.output_item.added"')) return;
      if (start.includes('"type":"error"')) reject(new Error(start.toString()));
      events++;
      const before = order.faults;
      const age = order.next(start);
      faults += order.faults - before;
      if (isSample && !isWhole(start)) faults++;
      if (age !== null && latencies.length < 2_000_000) latencies.push(age);
    });
    const onHead = (chunk: Buffer) => {
      head += chunk.toString('latin1');
      const end = head.indexOf('\r\n\r\n');
      if (end < 0) return;
      if (!head.startsWith('HTTP/1.1 101')) {
        reject(new Error(head.slice(0, 400)));
        return;
      }
      socket.off('data', onHead);
      socket.on('data', count);
      const rest = Buffer.from(head.slice(end + 4), 'latin1');
      if (rest.length > 0) count(rest);
    };
    socket.on('data', onHead);
    socket.on('close', () => reject(new Error(`closed: ${head.slice(0, 200)}`)));
  });
}

/** One handshake that is refused; resolves to the status. */
function knock(url: URL, token: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(url.port), url.hostname);
    socket.on('error', reject);
    socket.on('data', (chunk) => {
      resolve(Number(chunk.toString('latin1', 9, 12)));
      socket.destroy();
    });
    socket.write(handshake(url, token));
  });
}

function flood({ socket }: Client, count: number): Promise<void> {
  return new Promise((resolve) => {
    let left = count;
    const more = () => {
      while (left > 0) {
        left--;
        sent++;
        if (!socket.write(appends[(count - left - 1) % appends.length] as Buffer)) {
          socket.once('drain', more);
          return;
        }
      }
      resolve();
    };
    more();
  });
}

/** Ten appends a second from every client; each has its own moment, as people have. */
function pace(): void {
  pacer = everySlot((slot) => {
    for (const client of clients) {
      if ((slot + client.index) % (slotsPerSecond / 10) !== 0) continue;
      sent++;
      client.socket.write(frame(append(stamp()), true));
    }
  });
}

async function obey(command: Command): Promise<void> {
  if (command.do === 'reset') {
    sent = 0;
    events = 0;
    latencies = [];
  } else if (command.do === 'connect') {
    const url = new URL(command.url);
    // In groups, as a front door gets them; all at once would measure the length of the accept queue.
    for (let done = 0; done < command.count; done += 50) {
      const group = Array.from({ length: Math.min(50, command.count - done) }, (_, i) =>
        open(url, command.token, done + i),
      );
      clients.push(...(await Promise.all(group)));
    }
  } else if (command.do === 'knock') {
    const url = new URL(command.url);
    for (let done = 0; done < command.count; done += 20) {
      const statuses = await Promise.all(Array.from({ length: 20 }, () => knock(url, command.token)));
      if (statuses.some((status) => status !== 401)) throw new Error(`not refused: ${statuses.join()}`);
    }
  } else if (command.do === 'flood') {
    await Promise.all(clients.map((client) => flood(client, command.count)));
  } else if (command.do === 'pace') {
    pace();
  } else if (command.do === 'stop') {
    pacer?.();
    pacer = null;
  } else if (command.do === 'hold') {
    for (const { socket } of clients) socket.pause();
  } else if (command.do === 'prepare') {
    large = frame(largeAppend(command.bytes), true);
  } else if (command.do === 'large') {
    await new Promise<void>((resolve) => clients[0]?.socket.write(large, () => resolve()));
  }
}

process.on('message', (command: Command) => {
  const started = performance.now();
  obey(command).then(
    () =>
      process.send?.({
        sent,
        events,
        faults,
        latencies: command.do === 'report' ? latencies : [],
        sessions: clients.length,
        milliseconds: performance.now() - started,
      } satisfies Report),
    (error: unknown) => {
      process.stderr.write(`load generator: ${String(error)}\n`);
      process.exit(1);
    },
  );
});
process.on('disconnect', () => process.exit(0));
process.send?.({ port: 0 });
