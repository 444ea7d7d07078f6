/** The fake upstream: accepts every session, discards what it gets, and sends what it is told to, as fast as TCP takes it. */

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Duplex } from 'node:stream';
import { audioDelta, opening, sessionCreated, sessionUpdated, textDelta } from './events.js';
import { ageMicros, frame, frameCounter, stamp } from './frames.js';
import type { Command, Report } from './messages.js';

interface Session {
  readonly index: number;
  readonly socket: Duplex;
  opened: boolean;
}

const created = frame(sessionCreated, false);
const updated = frame(sessionUpdated, false);
const sessions = new Set<Session>();
let next = 0;
let events = 0;
let latencies: number[] = [];
let pacer: NodeJS.Timeout | null = null;

const [certificate, key] = process.argv.slice(2);
const server =
  certificate && key ? createTlsServer({ cert: readFileSync(certificate), key: readFileSync(key) }) : createServer();

server.on('upgrade', (request, socket) => {
  const accept = createHash('sha1')
    .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest('base64');
  const session: Session = { index: next++, socket, opened: false };
  sessions.add(session);
  socket.on('error', () => socket.destroy());
  socket.on('close', () => sessions.delete(session));
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  socket.write(created);
  const count = frameCounter((opcode, _length, start) => {
    if (opcode === 8) {
      socket.end(Buffer.from([0x88, 0]));
    } else if (opcode === 9) {
      socket.write(Buffer.from([0x8a, 0]));
    } else if (opcode === 1) {
      if (start.includes('"session.update"')) {
        socket.write(updated);
        return;
      }
      events++;
      const age = ageMicros(start);
      if (age !== null && latencies.length < 2_000_000) latencies.push(age);
    }
  });
  socket.on('data', count);
});

/** Writes the frame until `count` are gone, no faster than the reader takes them. */
function flood({ socket }: Session, bytes: Buffer, count: number): void {
  let left = count;
  const more = () => {
    while (left > 0) {
      left--;
      if (!socket.write(bytes)) {
        socket.once('drain', more);
        return;
      }
    }
  };
  more();
}

function open(session: Session): void {
  if (session.opened) return;
  session.opened = true;
  for (const event of opening(session.index)) session.socket.write(frame(event, false));
}

/** Eight audio and twelve text deltas a second to every session, spread over the second. */
function pace(): void {
  let tick = 0;
  pacer = setInterval(() => {
    tick++;
    for (const session of sessions) {
      open(session);
      const phase = (tick + session.index) % 50;
      if (phase % 6 === 0 && phase < 48) session.socket.write(frame(audioDelta(session.index, stamp()), false));
      if (phase % 4 === 1 && phase < 48) session.socket.write(frame(textDelta(session.index, stamp()), false));
    }
  }, 20);
}

process.on('message', (command: Command) => {
  if (command.do === 'reset') {
    events = 0;
    latencies = [];
  } else if (command.do === 'flood') {
    for (const session of sessions) {
      open(session);
      const event =
        command.what === 'audio' ? audioDelta(session.index, 'event_f') : textDelta(session.index, 'event_f');
      flood(session, frame(event, false), command.count);
    }
  } else if (command.do === 'pace') {
    pace();
  } else if (command.do === 'stop') {
    if (pacer) clearInterval(pacer);
    pacer = null;
  } else if (command.do === 'hold') {
    for (const { socket } of sessions) socket.pause();
  }
  process.send?.({
    events,
    latencies: command.do === 'report' ? latencies : [],
    sessions: sessions.size,
  } satisfies Report);
});

server.listen(Number(process.env.BENCH_PORT ?? 0), '127.0.0.1', () => {
  const address = server.address();
  process.send?.({ port: typeof address === 'object' ? address?.port : 0 });
});
process.on('disconnect', () => process.exit(0));
