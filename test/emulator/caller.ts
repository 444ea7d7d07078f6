import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { onTestFinished } from 'vitest';
import { WebSocket } from 'ws';
import { type Emulator, type EmulatorOptions, startEmulator } from '../../src/emulator/emulator.js';

/** One event as it came; tests look into it freely. */
export interface Seen {
  readonly type: string;
  readonly [key: string]: unknown;
}

export const gaPath = '/openai/v1/realtime?model=gpt-realtime';
export const previewPath = '/openai/realtime?api-version=2025-04-01-preview&deployment=gpt-realtime';

/** An emulator that ends with the test. */
export async function emulate(options: EmulatorOptions = {}): Promise<Emulator> {
  const emulator = await startEmulator({ speed: Number.POSITIVE_INFINITY, ...options });
  onTestFinished(() => emulator.close());
  return emulator;
}

/** A client that queues what comes, so that nothing is missed. */
export class Caller {
  readonly seen: Seen[] = [];
  readonly frames: { data: Buffer; isBinary: boolean }[] = [];
  readonly socket: WebSocket;
  readonly closed: Promise<{ code: number; reason: string }>;
  answer: IncomingMessage | null = null;
  #taken = 0;
  #wake: (() => void)[] = [];

  constructor(emulator: Emulator, path: string, headers: Record<string, string> = { 'api-key': 'emulator-key' }) {
    this.socket = new WebSocket(emulator.url.replace('http', 'ws') + path, {
      headers,
      perMessageDeflate: false,
      rejectUnauthorized: false,
    });
    this.socket.on('upgrade', (answer) => {
      this.answer = answer;
    });
    this.socket.on('message', (data, isBinary) => {
      this.frames.push({ data: data as Buffer, isBinary });
      try {
        this.seen.push(JSON.parse(data.toString()) as Seen);
      } catch {
        this.seen.push({ type: '(not JSON)' });
      }
      for (const wake of this.#wake.splice(0)) wake();
    });
    this.socket.on('error', () => undefined);
    this.closed = new Promise((resolve) => {
      this.socket.on('close', (code, reason) => {
        resolve({ code, reason: reason.toString() });
        for (const wake of this.#wake.splice(0)) wake();
      });
    });
    onTestFinished(() => this.socket.terminate());
  }

  send(...events: object[]): this {
    for (const event of events) this.socket.send(JSON.stringify(event));
    return this;
  }

  /** Everything not yet taken, up to and with the first event of this type. Throws when the socket ends before. */
  async until(type: string): Promise<Seen[]> {
    for (;;) {
      const index = this.seen.findIndex((event, at) => at >= this.#taken && event.type === type);
      if (index >= 0) {
        const events = this.seen.slice(this.#taken, index + 1);
        this.#taken = index + 1;
        return events;
      }
      if (this.socket.readyState >= WebSocket.CLOSING) {
        throw new Error(`closed before ${type}; saw ${this.seen.map((event) => event.type).join(' ')}`);
      }
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  /** The next event of this type, skipping others. */
  async next<T = Record<string, never>>(type: string): Promise<Seen & T> {
    return (await this.until(type)).at(-1) as Seen & T;
  }

  /** The next `error` event's error. */
  async error(): Promise<{
    type: string;
    code: string;
    message: string;
    param: string | null;
    event_id: string | null;
  }> {
    const { error } = await this.next<{ error: never }>('error');
    return error;
  }
}

/** A client that has been greeted. */
export async function call(emulator: Emulator, path = gaPath, headers?: Record<string, string>): Promise<Caller> {
  const caller = new Caller(emulator, path, headers);
  await once(caller.socket, 'open');
  return caller;
}

/** How an upgrade is refused. */
export function refused(
  emulator: Emulator,
  path: string,
  headers: Record<string, string> = { 'api-key': 'emulator-key' },
): Promise<{
  status: number;
  headers: IncomingMessage['headers'];
  body: { error: { code: string; message: string } };
}> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(emulator.url.replace('http', 'ws') + path, { headers });
    socket.on('error', reject);
    socket.on('open', () => reject(new Error('was accepted')));
    socket.on('unexpected-response', (_request, response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text ? JSON.parse(text) : null });
        socket.terminate();
      });
    });
  });
}

export const say = (text: string, id?: string) => ({
  type: 'conversation.item.create',
  item: { ...(id ? { id } : {}), type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
});

export const update = (session: object, event_id?: string) => ({
  type: 'session.update',
  ...(event_id ? { event_id } : {}),
  session: { type: 'realtime', ...session },
});
