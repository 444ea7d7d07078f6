/** A client that goes on with its session over another connection, as PROTOCOL.md tells authors of clients to. */

import { WebSocket } from 'ws';
import { connect, type ServerEvent, type TestClient } from './client.js';

interface ReturningOptions {
  readonly address: string;
  readonly token: string;
  readonly path?: string;
  readonly resume?: 'on' | 'required';
}

export class ReturningClient {
  /** All that has come, over all connections, without what only resumes. */
  readonly messages: string[] = [];
  /** What only resumes, in order. */
  readonly resumed: ServerEvent[] = [];
  received = 0;
  sent = 0;
  /** The token to show next. */
  token = '';
  client!: TestClient;
  #heard: TestClient | null = null;
  /** What was sent and is not known to have come, with its number. */
  readonly #ring: { number: number; text: string }[] = [];
  readonly #options: ReturningOptions;

  private constructor(options: ReturningOptions) {
    this.#options = options;
  }

  static async start(options: ReturningOptions): Promise<ReturningClient> {
    const one = new ReturningClient(options);
    one.#use(await connect(one.url(), { protocols: one.protocols() }));
    await one.client.next('relay.resumable');
    return one;
  }

  url(): string {
    const { address, path = '/openai/v1/realtime?model=x', resume = 'on' } = this.#options;
    return `${address}${path}&relay_events=on&resume=${resume}`;
  }

  protocols(credential = this.#options.token, shown?: { token: string; received: number }): string[] {
    const protocols = ['realtime', `openai-insecure-api-key.${credential}`];
    return shown ? [...protocols, `realtime-relay-resume.${shown.token}.${shown.received}`] : protocols;
  }

  #use(client: TestClient): void {
    this.client = client;
    this.#heard = client;
    for (const raw of client.raw) this.#take(raw);
    client.ws.on('message', (data: Buffer) => {
      // What comes after the count was told is sent again.
      if (client === this.#heard) this.#take(data.toString());
    });
  }

  #take(text: string): void {
    const event = JSON.parse(text) as ServerEvent;
    if (event.type === 'relay.resumed') {
      this.resumed.push(event);
      return;
    }
    this.received++;
    if (event.type === 'relay.resumable') this.token = String(event.token);
    if (event.type === 'relay.ack') {
      while (this.#ring[0] && this.#ring[0].number <= Number(event.received)) this.#ring.shift();
    } else this.messages.push(text);
  }

  send(event: object): void {
    const text = JSON.stringify(event);
    this.#ring.push({ number: ++this.sent, text });
    if (this.client.ws.readyState === WebSocket.OPEN) this.client.ws.send(text);
  }

  acknowledge(): void {
    this.send({ type: 'relay.ack', received: this.received });
  }

  /** Goes on over a new connection; resolves to what it is greeted with. */
  async resume(address = this.#options.address): Promise<ServerEvent> {
    const url = this.url().replace(this.#options.address, address);
    this.#heard = null;
    const client = await connect(url, { protocols: this.protocols(undefined, this) });
    const [first] = client.raw.length > 0 ? client.events : [await client.next(() => true)];
    this.#use(client);
    const greeting = first as ServerEvent;
    if (greeting.type !== 'relay.resumed') return greeting;
    this.token = String(greeting.token);
    this.received += (greeting.missed as { messages: number }).messages;
    for (const { number, text } of this.#ring) if (number > Number(greeting.received)) client.ws.send(text);
    return greeting;
  }
}
