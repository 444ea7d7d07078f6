/** Connections whose bytes travel between the process where they came in and the one that has their session. */

import { Duplex } from 'node:stream';
import type { Stream } from '../control/streams.js';

/** Carries what a client sends to the other end, and back; each end is told when the other is gone. */
export function carry(socket: Duplex, head: Buffer, stream: Stream): void {
  let unsent: Buffer | null = null;
  const send = (bytes: Buffer) => {
    if (stream.send(bytes)) return;
    unsent = bytes;
    socket.pause();
  };
  stream.start({
    received(piece) {
      socket.write(piece, () => stream.took(piece.length));
    },
    room() {
      const bytes = unsent;
      unsent = null;
      if (bytes === null) return;
      send(bytes);
      if (unsent === null) socket.resume();
    },
    ended: () => void socket.end(),
  });
  socket.on('data', send);
  socket.on('end', () => socket.end());
  socket.on('close', () => stream.end());
  if (head.length > 0) send(head);
  socket.resume();
}

/** The connection as the process has it that has the session. */
export function carriedBy(stream: Stream): Duplex {
  let unsent: { bytes: Buffer; done: (error?: Error | null) => void } | null = null;
  let untaken = 0;
  const duplex = new Duplex({
    read() {
      if (untaken > 0) stream.took(untaken);
      untaken = 0;
    },
    write(bytes: Buffer, _encoding, done) {
      if (stream.send(bytes)) done();
      else unsent = { bytes, done };
    },
    final(done) {
      stream.end();
      done();
    },
    destroy(error, done) {
      stream.end();
      done(error);
    },
  });
  stream.start({
    received(piece) {
      if (duplex.push(piece)) stream.took(piece.length);
      else untaken += piece.length;
    },
    room() {
      const waiting = unsent;
      unsent = null;
      if (waiting === null) return;
      if (stream.send(waiting.bytes)) waiting.done();
      else unsent = waiting;
    },
    ended: () => void duplex.destroy(),
  });
  duplex.on('error', () => undefined);
  return duplex;
}
