/** A WebSocket client made of bytes, for what no honest client sends: broken frames, silence, floods. */

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** Opcodes of RFC 6455 section 5.2. */
export const opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

export interface Frame {
  readonly fin: boolean;
  readonly opcode: number;
  readonly payload: Buffer;
}

interface FrameOptions {
  fin?: boolean;
  /** The three reserved bits, 1 to 7. */
  rsv?: number;
  masked?: boolean;
  /** Bytes to announce, when they are not those that follow. */
  announce?: number;
}

/** One frame; masked with zeros unless told otherwise, which leaves the payload readable. */
export function frame(code: number, payload: string | Buffer = '', options: FrameOptions = {}): Buffer {
  const { fin = true, rsv = 0, masked = true } = options;
  const body = Buffer.from(payload);
  const length = options.announce ?? body.length;
  const first = (fin ? 0x80 : 0) | (rsv << 4) | code;
  const mask = masked ? 0x80 : 0;
  const short = length < 126 ? length : length < 65536 ? 126 : 127;
  const wide = Buffer.alloc(short === 127 ? 8 : short === 126 ? 2 : 0);
  if (short === 126) wide.writeUInt16BE(length);
  else if (short === 127) wide.writeBigUInt64BE(BigInt(length));
  return Buffer.concat([Buffer.from([first, mask | short]), wide, Buffer.alloc(masked ? 4 : 0), body]);
}

/** The payload of a close frame. */
export function closing(code: number, reason = ''): Buffer {
  const number = Buffer.alloc(2);
  number.writeUInt16BE(code);
  return Buffer.concat([number, Buffer.from(reason)]);
}

export class RawClient {
  readonly frames: Frame[] = [];
  /** Resolves when the TCP connection is gone, with the close frame that came before, if any. */
  readonly closed: Promise<{ code: number | null; reason: string }>;
  /** Whether pings are answered with pongs. */
  answersPings = true;
  readonly #listeners = new Set<() => void>();
  #bytes: Buffer;

  constructor(
    readonly socket: Socket,
    head: Buffer,
  ) {
    this.#bytes = head;
    socket.on('data', (chunk) => {
      this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
      this.#parse();
    });
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        const last = this.frames.find((one) => one.opcode === opcode.close)?.payload;
        if (!last || last.length < 2) resolve({ code: null, reason: '' });
        else resolve({ code: last.readUInt16BE(), reason: last.toString('utf8', 2) });
      });
    });
    queueMicrotask(() => this.#parse());
  }

  /** The events received so far. */
  get events(): { type: string; [key: string]: unknown }[] {
    return this.frames.filter((one) => one.opcode === opcode.text).map(({ payload }) => JSON.parse(payload.toString()));
  }

  /** Resolves with the first frame, past or to come, for which the test is true. */
  frame(test: (frame: Frame) => boolean): Promise<Frame> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = this.frames.find(test);
        if (!found) return;
        this.#listeners.delete(look);
        resolve(found);
      };
      this.#listeners.add(look);
      look();
      void this.closed.then(({ code, reason }) => reject(new Error(`closed with ${code} ${reason} while waiting`)));
    });
  }

  /** Resolves with the first event of this type. */
  async event(type: string): Promise<{ type: string; [key: string]: unknown }> {
    const found = await this.frame(
      (one) => one.opcode === opcode.text && JSON.parse(String(one.payload)).type === type,
    );
    return JSON.parse(found.payload.toString());
  }

  write(...frames: Buffer[]): void {
    this.socket.write(Buffer.concat(frames));
  }

  send(event: object): void {
    this.write(frame(opcode.text, JSON.stringify(event)));
  }

  #parse(): void {
    for (;;) {
      const bytes = this.#bytes;
      if (bytes.length < 2) return;
      const short = (bytes[1] as number) & 0x7f;
      const start = short === 127 ? 10 : short === 126 ? 4 : 2;
      if (bytes.length < start) return;
      const length = short === 127 ? Number(bytes.readBigUInt64BE(2)) : short === 126 ? bytes.readUInt16BE(2) : short;
      if (bytes.length < start + length) return;
      const first = bytes[0] as number;
      this.#bytes = bytes.subarray(start + length);
      this.#take({ fin: first >= 0x80, opcode: first & 0x0f, payload: bytes.subarray(start, start + length) });
    }
  }

  #take(one: Frame): void {
    this.frames.push(one);
    if (one.opcode === opcode.ping && this.answersPings) this.write(frame(opcode.pong, one.payload));
    // The side that was told to close answers and lets the server end the connection (RFC 6455 section 7.1.1).
    if (one.opcode === opcode.close && this.socket.writable) this.write(frame(opcode.close, one.payload));
    for (const listener of [...this.#listeners]) listener();
  }
}

/** Connects, and resolves once the handshake is done. */
export async function connectRaw(
  address: string,
  token: string,
  path = '/openai/v1/realtime?model=x',
  headers: readonly string[] = [],
): Promise<RawClient> {
  const { hostname, port } = new URL(address);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  const lines = [
    `GET ${path} HTTP/1.1`,
    `Host: ${hostname}:${port}`,
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    `Authorization: Bearer ${token}`,
    ...headers,
  ];
  socket.write(`${lines.join('\r\n')}\r\n\r\n`);
  const gone = new AbortController();
  socket.once('close', () => gone.abort());
  let answer = Buffer.alloc(0);
  for (;;) {
    const [chunk] = (await once(socket, 'data', { signal: gone.signal })) as [Buffer];
    answer = Buffer.concat([answer, chunk]);
    const end = answer.indexOf('\r\n\r\n');
    if (end === -1) continue;
    if (!answer.toString('latin1').startsWith('HTTP/1.1 101 ')) throw new Error(answer.toString('latin1'));
    return new RawClient(socket, answer.subarray(end + 4));
  }
}
