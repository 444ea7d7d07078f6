/** The fake upstream: accepts every session, discards what it gets, and sends what it is told to, as fast as TCP takes it. */

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Duplex } from 'node:stream';
import { audioDelta, bareTextDelta, isWhole, opening, sessionCreated, sessionUpdated, textDelta } from './events.js';
import { frame, frameCounter, Order, pong, round, stamp } from './frames.js';
import type { Command, Report } from './messages.js';
import { everySlot, slotsPerSecond } from './slots.js';

interface Session {
  readonly index: number;
  readonly socket: Duplex;
  opened: boolean;
}

const created = frame(sessionCreated, false);
const updated = frame(sessionUpdated, false);
const sessions = new Set<Session>();
let next = 0;
let sent = 0;
let events = 0;
let faults = 0;
let latencies: number[] = [];
let pacer: (() => void) | null = null;

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
  const order = new Order();
  const count = frameCounter((opcode, _length, start, isSample) => {
    if (opcode === 8) {
      socket.end(Buffer.from([0x88, 0]));
    } else if (opcode === 9) {
      socket.write(pong(start, false));
    } else if (opcode === 1) {
      if (start.includes('"session.update"')) {
        socket.write(updated);
        return;
      }
      events++;
      const before = order.faults;
      const age = order.next(start);
      faults += order.faults - before;
      if (isSample && !isWhole(start)) faults++;
      if (age !== null && latencies.length < 2_000_000) latencies.push(age);
    }
  });
  socket.on('data', count);
});

/** Writes the frames in turn until `count` are gone, no faster than the reader takes them. */
function flood({ socket }: Session, frames: readonly Buffer[], count: number): void {
  let left = count;
  const more = () => {
    while (left > 0) {
      left--;
      sent++;
      if (!socket.write(frames[(count - left - 1) % frames.length] as Buffer)) {
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

/** Slots between two audio deltas and between two text deltas of a session. */
const audioSlots = Math.floor(slotsPerSecond / 8);
const textSlots = Math.floor(slotsPerSecond / 12);

/** Eight audio and twelve text deltas a second to every session, each session at its own moment. */
function pace(): void {
  for (const session of sessions) open(session);
  pacer = everySlot((slot) => {
    for (const session of sessions) {
      const phase = slot + session.index;
      if (phase % audioSlots === 0) send(session, audioDelta);
      if (phase % textSlots === 1) send(session, textDelta);
    }
  });
}

function send({ socket, index }: Session, make: typeof audioDelta): void {
  sent++;
  socket.write(frame(make(index, stamp()), false));
}

process.on('message', (command: Command) => {
  if (command.do === 'reset') {
    sent = 0;
    events = 0;
    latencies = [];
  } else if (command.do === 'flood') {
    for (const session of sessions) {
      open(session);
      const make = { audio: audioDelta, text: textDelta, 'bare text': bareTextDelta }[command.what];
      flood(
        session,
        round((id) => frame(make(session.index, id), false)),
        command.count,
      );
    }
  } else if (command.do === 'pace') {
    pace();
  } else if (command.do === 'stop') {
    pacer?.();
    pacer = null;
  } else if (command.do === 'hold') {
    for (const { socket } of sessions) socket.pause();
  }
  process.send?.({
    sent,
    events,
    faults,
    latencies: command.do === 'report' ? latencies : [],
    sessions: sessions.size,
  } satisfies Report);
});

server.listen(Number(process.env.BENCH_PORT ?? 0), '127.0.0.1', () => {
  const address = server.address();
  process.send?.({ port: typeof address === 'object' ? address?.port : 0 });
});
process.on('disconnect', () => process.exit(0));
