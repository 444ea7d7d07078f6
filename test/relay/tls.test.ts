import { once } from 'node:events';
import { copyFileSync } from 'node:fs';
import { connect as tcpConnect } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { makeCertificate } from '../support/certificate.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';

function commonName(url: string): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({ host: hostname, port: Number(port), rejectUnauthorized: false }, () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

describe('the TLS listener', () => {
  it('uses a changed certificate without a restart, keeps the old one while the new is broken, and no session notices', async () => {
    const first = makeCertificate({ commonName: 'first' });
    const second = makeCertificate({ commonName: 'second' });
    const emulator = await startTestEmulator();
    const { relay, connect, logged } = await startTestRelay({
      upstream: emulator.url,
      env: { RELAY_TLS_CERT: first.cert, RELAY_TLS_KEY: first.key },
    });
    const client = await connect({ rejectUnauthorized: false });
    await client.next('session.created');
    expect(await commonName(relay.url)).toBe('first');

    copyFileSync(second.cert, first.cert);
    await logged('The changed certificate cannot be used; the one before stays in use.');
    expect(await commonName(relay.url)).toBe('first');
    copyFileSync(second.key, first.key);
    await logged('certificate.reloaded');
    expect(await commonName(relay.url)).toBe('second');
    expect(await client.ask('still there?')).toMatchObject({ status: 'completed' });
  });
});

/** What comes back for some bytes until the relay closes. */
async function answerTo(url: string, ...pieces: (string | Buffer)[]): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = tcpConnect(Number(port), hostname);
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
  });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  for (const piece of pieces) socket.write(piece);
  await once(socket, 'close');
  return text;
}

async function start(env: Record<string, string> = {}) {
  const emulator = await startTestEmulator();
  return startTestRelay({ upstream: emulator.url, env, yaml: 'limits: { handshake_seconds: 1 }' });
}

function startTls() {
  const { cert, key } = makeCertificate({ commonName: 'relay' });
  return start({ RELAY_TLS_CERT: cert, RELAY_TLS_KEY: key });
}

describe('who speaks the wrong protocol to a port', () => {
  it.each([
    ['a GET', 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['a request that is not finished', 'P'],
    ['a request with a long body', `POST / HTTP/1.1\r\nHost: x\r\n\r\n${'x'.repeat(20_000)}`],
    ['a request of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ])('is told on the TLS port what to use: %s', async (_, bytes) => {
    const { relay, connect } = await startTls();
    const answer = await answerTo(relay.url, bytes);
    expect(answer).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
    expect(JSON.parse(answer.split('\r\n\r\n')[1] as string).error).toMatchObject({
      code: 'bad_event',
      message: expect.stringContaining('wss://'),
    });
    await (await connect({ rejectUnauthorized: false })).next('session.created');
  });

  it('is told so for ws:// on the TLS port, and the log has it once', async () => {
    const { address, log, logged } = await startTls();
    for (let i = 0; i < 3; i++) {
      const ws = new WebSocket(`${address.replace('wss:', 'ws:')}/v1/realtime`);
      ws.on('error', () => undefined);
      const [, response] = await once(ws, 'unexpected-response');
      expect(response.statusCode).toBe(400);
      ws.terminate();
    }
    expect(await logged('listener.mistaken')).toMatchObject({ level: 'warn', kind: 'plain_on_tls_port' });
    expect(log.filter(({ msg }) => msg === 'listener.mistaken')).toHaveLength(1);
  });

  it.each([
    ['a byte that begins nothing', Buffer.of(0)],
    ['a record that is no handshake', Buffer.of(0x17, 3, 1, 0, 1, 0)],
    ['a handshake that is none', Buffer.from([0x16, 3, 1, 0, 4, 9, 9, 9, 9])],
  ])('is let go on the TLS port: %s', async (_, bytes) => {
    const { relay, connect } = await startTls();
    expect(await answerTo(relay.url, bytes)).not.toContain('HTTP');
    await (await connect({ rejectUnauthorized: false })).next('session.created');
  });

  it('is let go on the TLS port after a while of saying nothing', async () => {
    const { relay } = await startTls();
    const { hostname, port } = new URL(relay.url);
    const socket = tcpConnect(Number(port), hostname);
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    socket.resume();
    await once(socket, 'close');
  });

  it('may send the first byte of a TLS handshake alone', async () => {
    const { relay } = await startTls();
    const { hostname, port } = new URL(relay.url);
    const socket = tcpConnect(Number(port), hostname);
    await once(socket, 'connect');
    socket.setNoDelay(true);
    const write = socket.write.bind(socket);
    let isFirst = true;
    // Cuts what the TLS client writes behind its first byte.
    socket.write = ((chunk: Buffer, ...rest: never[]) => {
      if (!isFirst) return write(chunk, ...rest);
      isFirst = false;
      write(chunk.subarray(0, 1));
      setTimeout(() => write(chunk.subarray(1), ...rest), 30);
      return true;
    }) as typeof socket.write;
    const secure = tlsConnect({ socket, rejectUnauthorized: false });
    await once(secure, 'secureConnect');
    secure.destroy();
  });

  it('is noted by the log for TLS on the plain port', async () => {
    const { relay, logged } = await start();
    await expect(commonName(relay.url)).rejects.toThrow();
    expect(await logged('listener.mistaken')).toMatchObject({ kind: 'tls_on_plain_port' });
  });

  it.each([
    ['what is not HTTP', 'hello\r\n\r\n', 400, 'bad_event'],
    ['a header block over its limit', `GET / HTTP/1.1\r\nHost: x\r\nA: ${'x'.repeat(33_000)}\r\n\r\n`, 431, 'too_big'],
  ])('is told in words: %s', async (_, bytes, status, code) => {
    const { relay } = await start();
    const answer = await answerTo(relay.url, bytes);
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(JSON.parse(answer.split('\r\n\r\n')[1] as string).error).toMatchObject({ code });
  });
});
