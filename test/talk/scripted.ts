import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import type { JsonObject } from '../../src/protocol/event.js';

/** One client as a scripted relay sees it. */
export interface Peer {
  readonly socket: WebSocket;
  readonly request: IncomingMessage;
  /** All events so far, sound included. */
  readonly events: JsonObject[];
  send(...events: JsonObject[]): void;
  /** The next event of this type that was not yet taken. */
  next(type: string): Promise<JsonObject>;
  /** All sound so far, decoded from base64. */
  audio(): Buffer;
  readonly closed: Promise<{ code: number; reason: string }>;
}

export interface ScriptedOptions {
  /** Answers what is not an upgrade; and, with `refuse`, the upgrade too. */
  readonly refuse?: RequestListener;
  readonly tls?: { key: string; cert: string };
}

/** A server that plays `script` to each client; returns its base URL. Torn down with the test. */
export async function scripted(script: (peer: Peer) => unknown, options: ScriptedOptions = {}): Promise<string> {
  const { refuse, tls } = options;
  const server = tls ? createTlsServer(tls) : createServer();
  const wss = new WebSocketServer({ noServer: true });
  const sockets = new Set<Socket>();
  server.on(tls ? 'secureConnection' : 'connection', (socket: Socket) => {
    sockets.add(socket.on('close', () => sockets.delete(socket)));
  });
  // Without an upgrade listener Node hands the request to the ordinary one.
  if (refuse) server.on('request', refuse);
  else
    server.on('upgrade', (request, socket: Socket, head) => {
      wss.handleUpgrade(request, socket, head, (client) => script(peerOf(client, request)));
    });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  return `http${tls ? 's' : ''}://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function peerOf(socket: WebSocket, request: IncomingMessage): Peer {
  const events: JsonObject[] = [];
  const waiting: { type: string; resolve: (event: JsonObject) => void }[] = [];
  const taken = new Set<JsonObject>();
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() }));
  });
  const match = () => {
    for (const [i, { type, resolve }] of [...waiting.entries()].reverse()) {
      const event = events.find((candidate) => candidate.type === type && !taken.has(candidate));
      if (!event) continue;
      taken.add(event);
      waiting.splice(i, 1);
      resolve(event);
    }
  };
  socket.on('message', (data) => {
    events.push(JSON.parse(data.toString()));
    match();
  });
  return {
    socket,
    request,
    events,
    closed,
    send: (...list) => {
      for (const event of list) socket.send(JSON.stringify(event));
    },
    next: (type) =>
      new Promise((resolve) => {
        waiting.push({ type, resolve });
        match();
      }),
    audio: () =>
      Buffer.concat(
        events
          .filter(({ type }) => type === 'input_audio_buffer.append')
          .map(({ audio }) => Buffer.from(String(audio), 'base64')),
      ),
  };
}
