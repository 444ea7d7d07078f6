/** A client that queues what it receives, so that a test can wait for any event without missing one. */

import { once } from 'node:events';
import { type ClientOptions, WebSocket } from 'ws';

export interface ServerEvent {
  type: string;
  [key: string]: unknown;
}

export class TestClient {
  readonly events: ServerEvent[] = [];
  readonly raw: string[] = [];
  readonly #waiters: { test: (event: ServerEvent) => boolean; resolve: (event: ServerEvent) => void }[] = [];
  #taken = 0;
  /** Resolves when the connection has closed. */
  readonly closed: Promise<{ code: number; reason: string }>;

  constructor(readonly ws: WebSocket) {
    ws.on('message', (data: Buffer) => {
      const text = data.toString();
      this.raw.push(text);
      const event = JSON.parse(text) as ServerEvent;
      this.events.push(event);
      this.#offer();
    });
    ws.on('error', () => undefined);
    this.closed = new Promise((resolve) => {
      ws.on('close', (code, reason) => resolve({ code, reason: reason.toString() }));
    });
  }

  #offer(): void {
    for (const waiter of [...this.#waiters]) {
      for (let i = this.#taken; i < this.events.length; i++) {
        const event = this.events[i] as ServerEvent;
        if (!waiter.test(event)) continue;
        this.#taken = i + 1;
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        waiter.resolve(event);
        break;
      }
    }
  }

  /** The next event of this type (or for which the test is true) that no earlier wait has passed. */
  next(what: string | ((event: ServerEvent) => boolean)): Promise<ServerEvent> {
    const test = typeof what === 'string' ? (event: ServerEvent) => event.type === what : what;
    return new Promise((resolve, reject) => {
      const waiter = { test, resolve };
      this.#waiters.push(waiter);
      this.#offer();
      void this.closed.then(({ code, reason }) => {
        if (!this.#waiters.includes(waiter)) return;
        const seen = this.events.map(({ type }) => type).join(', ');
        reject(new Error(`closed with ${code} ${reason} while waiting for ${String(what)}; seen: ${seen}`));
      });
    });
  }

  send(event: object): void {
    this.ws.send(JSON.stringify(event));
  }

  /** Asks a question in text and resolves to the finished response. */
  async ask(text: string): Promise<Record<string, unknown>> {
    this.send({
      type: 'conversation.item.create',
      item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
    });
    this.send({ type: 'response.create', response: { output_modalities: ['text'] } });
    return (await this.next('response.done')).response as Record<string, unknown>;
  }

  types(): string[] {
    return this.events.map(({ type }) => type);
  }
}

/** Connects and resolves once the handshake is done. */
export async function connect(
  url: string,
  options: ClientOptions & { protocols?: string[] } = {},
): Promise<TestClient> {
  const { protocols, ...rest } = options;
  const ws = new WebSocket(url, protocols ?? [], rest);
  const client = new TestClient(ws);
  await once(ws, 'open');
  return client;
}

/** The HTTP answer to a handshake that is expected to be refused. */
export async function refused(
  url: string,
  options: ClientOptions & { protocols?: string[] } = {},
): Promise<{ status: number; headers: Record<string, unknown>; body: { error: Record<string, unknown> } }> {
  const { protocols, ...rest } = options;
  const ws = new WebSocket(url, protocols ?? [], rest);
  ws.on('error', () => undefined);
  const [, response] = await Promise.race([
    once(ws, 'unexpected-response'),
    once(ws, 'open').then(() => {
      ws.terminate();
      throw new Error('the handshake was accepted');
    }),
  ]);
  let text = '';
  for await (const chunk of response) text += chunk;
  ws.terminate();
  return { status: response.statusCode, headers: response.headers, body: JSON.parse(text) };
}
