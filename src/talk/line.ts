/** The WebSocket to the relay: events in and out, and every way it can fail as a sentence. */

import type { IncomingMessage } from 'node:http';
import { WebSocket } from 'ws';
import { exits } from '../errors.js';
import { audioUp } from '../protocol/catalogue.js';
import type { JsonObject } from '../protocol/event.js';
import { type ErrorEvent, explainBreak, explainClose, explainNetwork, explainRefusal } from './failures.js';

const handshakeMs = 15_000;
const goodbyeMs = 1000;
const refusalBodyMs = 2000;
const maxRefusalBytes = 64 * 1024;
const maxEventBytes = 32 * 1024 * 1024;
const maxBacklogBytes = 1024 * 1024;

/** What a line needs; `ended` comes at most once, and not after `close`. */
export interface LineOptions {
  readonly url: URL;
  /** The URL as it may be shown. */
  readonly place: string;
  readonly token: string;
  readonly insecure: boolean;
  /** After this many milliseconds of connecting. */
  readonly opened: (ms: number) => void;
  readonly event: (event: JsonObject) => void;
  /** The connection is over or never was; the argument tells why, given the last `error` event. */
  readonly ended: (explain: (announced: ErrorEvent | null) => string) => void;
}

/** An open or opening connection to a relay. */
export interface Line {
  readonly isOpen: boolean;
  send(event: JsonObject): void;
  /** Sends a piece of sound, or returns false when the network has fallen behind. */
  sendAudio(bytes: Uint8Array): boolean;
  /** Says goodbye; resolves when the connection is gone, soon in any case. */
  close(): Promise<void>;
}

/** Dials the relay. */
export function openLine({ url, place, token, insecure, opened, event, ended }: LineOptions): Line {
  const startedAt = performance.now();
  let isOver = false;
  const end = (explain: (announced: ErrorEvent | null) => string) => {
    if (isOver) return;
    isOver = true;
    ended(explain);
  };

  const socket = new WebSocket(url, {
    headers: { Authorization: `Bearer ${token}`, 'User-Agent': 'realtime-relay-talk' },
    handshakeTimeout: handshakeMs,
    maxPayload: maxEventBytes,
    perMessageDeflate: false,
    rejectUnauthorized: !insecure,
  });
  let wasOpen = false;
  socket.on('open', () => {
    wasOpen = true;
    opened(Math.round(performance.now() - startedAt));
  });
  socket.on('message', (data, isBinary) => {
    if (isOver) return;
    const parsed = isBinary ? null : parse(data.toString());
    if (parsed) event(parsed);
    else end(() => `${place} sent something that is not a Realtime event; is there a relay at this address?`);
  });
  socket.on('unexpected-response', (_request, response) => {
    void readBody(response).then((body) => {
      const { statusCode: status = 0, headers } = response;
      end(() =>
        explainRefusal({ status, retryAfter: headers['retry-after'], location: headers.location, body }, place),
      );
      socket.terminate();
    });
  });
  socket.on('error', (error) => end(() => (wasOpen ? explainBreak(error) : explainNetwork(error, place))));
  socket.on('close', (code, reason) => end((announced) => explainClose(code, reason.toString(), announced)));

  return {
    get isOpen() {
      return socket.readyState === WebSocket.OPEN;
    },
    send(message) {
      if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
    },
    sendAudio(bytes) {
      if (socket.readyState !== WebSocket.OPEN || socket.bufferedAmount > maxBacklogBytes) return false;
      const audio = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
      socket.send(`{"type":"${audioUp}","audio":"${audio}"}`);
      return true;
    },
    close() {
      isOver = true;
      if (socket.readyState === WebSocket.CLOSED) return Promise.resolve();
      return new Promise((resolve) => {
        const timer = setTimeout(() => socket.terminate(), goodbyeMs);
        socket.once('close', () => {
          clearTimeout(timer);
          resolve();
        });
        socket.close(exits.normal.close);
      });
    },
  };
}

function parse(message: string): JsonObject | null {
  try {
    const value: unknown = JSON.parse(message);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : null;
  } catch {
    // What is not JSON is told to the operator by the caller.
    return null;
  }
}

/** The start of a refusal's body; what does not come in time is left out. */
function readBody(response: IncomingMessage): Promise<string> {
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    let length = 0;
    const finish = () => {
      clearTimeout(timer);
      response.destroy();
      resolve(Buffer.concat(parts).toString('utf8', 0, maxRefusalBytes));
    };
    const timer = setTimeout(finish, refusalBodyMs);
    response.on('data', (part: Buffer) => {
      parts.push(part);
      length += part.length;
      if (length > maxRefusalBytes) finish();
    });
    response.once('end', finish).once('error', finish).once('aborted', finish);
  });
}
