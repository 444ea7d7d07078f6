import { Buffer } from 'node:buffer';
import { once } from 'node:events';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { frame, opcode } from '../support/raw.js';
import { arena, doorOf, evil } from './arena.js';
import { exchange, handshake, open } from './tcp.js';

const field = arena({
  env: { RELAY_ALLOWED_ORIGINS: 'https://app.test' },
  yaml: '\nlimits: { handshake_seconds: 0.3 }\n',
});
const key = () => ({ Authorization: `Bearer ${field.token()}` });
let cases = 0;
afterEach(async () => {
  if (++cases % 10 === 0) await field.honestTurn();
});
afterAll(() => field.honestTurn());

/** What must be true of anything that is no handshake: an answer of the 4xx kind or a closed line, soon, and no dial. */
async function expectTurnedAway(bytes: string | Buffer, allowed?: readonly (number | null)[]): Promise<string> {
  const { dials } = field.wire;
  const { status, text, milliseconds } = await exchange(field.address, bytes);
  if (allowed) expect(allowed).toContain(status);
  else expect(status === null || (status >= 400 && status < 500)).toBe(true);
  expect(milliseconds).toBeLessThan(1500);
  expect(field.wire.dials).toBe(dials);
  return text;
}

describe('a foreign origin', () => {
  it.each([
    'https://evil.test',
    'https://app.test.evil.test',
    'https://evil-app.test',
    'https://xapp.test',
    'https://app.test:444',
    'https://app.test:443',
    'https://app.test/',
    'https://app.test/path',
    'https://app.test@evil.test',
    'https://app.test%2eevil.test',
    'https://app.tes',
    'https://app.test.',
    'https://app_test',
    'http://app.test',
    'HTTPS://APP.TEST',
    'app.test',
    '//app.test',
    'null',
    'file://',
    'chrome-extension://app.test',
    'https://app.test, https://evil.test',
    'https://app.test https://app.test',
    'https://\u0430pp.test',
    '*',
    '',
  ])('%j is refused with 403', async (origin) => {
    await expectTurnedAway(Buffer.from(handshake(doorOf.ga, { ...key(), Origin: origin })), [403]);
  });

  it('beside a good one is refused with 403', async () => {
    for (const both of [
      ['https://app.test', 'https://evil.test'],
      ['https://evil.test', 'https://app.test'],
      ['https://app.test', 'https://app.test'],
    ]) {
      await expectTurnedAway(handshake(doorOf.ga, { ...key(), Origin: both }), [403]);
    }
  });

  it('in another header opens nothing', async () => {
    const headers = {
      ...key(),
      Origin: 'https://evil.test',
      'Sec-WebSocket-Origin': 'https://app.test',
      Host: 'app.test',
    };
    await expectTurnedAway(handshake(doorOf.ga, headers), [403]);
  });
});

describe('what is no handshake is turned away', () => {
  const door = doorOf.ga;
  const rows: (readonly [name: string, bytes: () => string | Buffer, allowed?: readonly (number | null)[]])[] = [
    ['no upgrade', () => handshake(door, { ...key(), Upgrade: null, Connection: 'keep-alive' }), [426]],
    ['an upgrade to something else', () => handshake(door, { ...key(), Upgrade: 'h2c' }), [400]],
    ['an upgrade to two things', () => handshake(door, { ...key(), Upgrade: 'websocket, h2c' }), [400]],
    ['no Connection header', () => handshake(door, { ...key(), Connection: null })],
    ['Connection without upgrade', () => handshake(door, { ...key(), Connection: 'close' })],
    ['no version', () => handshake(door, { ...key(), 'Sec-WebSocket-Version': null }), [400]],
    ['version 8', () => handshake(door, { ...key(), 'Sec-WebSocket-Version': '8' }), [400]],
    ['version 14', () => handshake(door, { ...key(), 'Sec-WebSocket-Version': '14' }), [400]],
    ['two versions', () => handshake(door, { ...key(), 'Sec-WebSocket-Version': ['13', '13'] }), [400]],
    ['no key', () => handshake(door, { ...key(), 'Sec-WebSocket-Key': null }), [400]],
    ['an empty key', () => handshake(door, { ...key(), 'Sec-WebSocket-Key': '' }), [400]],
    ['a short key', () => handshake(door, { ...key(), 'Sec-WebSocket-Key': 'dGhl' }), [400]],
    ['a key that is no base64', () => handshake(door, { ...key(), 'Sec-WebSocket-Key': '!'.repeat(24) }), [400]],
    ['two keys', () => handshake(door, { ...key(), 'Sec-WebSocket-Key': ['dGhlIHNhbXBsZSBub25jZQ==', 'x'] }), [400]],
    ['a key of 8 KB', () => handshake(door, { ...key(), 'Sec-WebSocket-Key': 'A'.repeat(8000) }), [400]],
    ['POST', () => handshake(door, { ...key(), 'Content-Length': '0' }, `POST ${door} HTTP/1.1`), [400]],
    ['POST with a body', () => `${handshake(door, { ...key(), 'Content-Length': '5' }, `POST ${door} HTTP/1.1`)}hello`],
    ['PUT', () => handshake(door, key(), `PUT ${door} HTTP/1.1`), [400]],
    ['OPTIONS', () => handshake(door, key(), `OPTIONS ${door} HTTP/1.1`), [400]],
    ['TRACE', () => handshake(door, key(), `TRACE ${door} HTTP/1.1`)],
    ['CONNECT', () => handshake(door, key(), 'CONNECT relay.test:443 HTTP/1.1')],
    ['a method that is none', () => handshake(door, key(), `EVIL ${door} HTTP/1.1`)],
    ['a method in lower case', () => handshake(door, key(), `get ${door} HTTP/1.1`)],
    ['HTTP/1.0', () => handshake(door, key(), `GET ${door} HTTP/1.0`)],
    ['HTTP/0.9', () => `GET ${door}\r\n\r\n`],
    ['HTTP/1.2', () => handshake(door, key(), `GET ${door} HTTP/1.2`)],
    ['HTTP/2.0 in the first line', () => handshake(door, key(), `GET ${door} HTTP/2.0`)],
    ['the preface of HTTP/2', () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0'],
    ['the hello of TLS', () => Buffer.from(`16030100c8010000c40303${'ab'.repeat(190)}`, 'hex')],
    ['the hello of SSH', () => 'SSH-2.0-OpenSSH_9.6\r\n'],
    ['a PROXY header', () => `PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n${handshake(door, key())}`],
    ['NULs', () => Buffer.alloc(64)],
    ['random bytes', () => Buffer.from(Array.from({ length: 512 }, (_, i) => (i * 197 + 31) % 256))],
    ['a bare line break', () => '\n\n'],
    ['a frame in place of a handshake', () => frame(opcode.text, '{}')],
    [
      'content-length with transfer-encoding',
      () =>
        `${handshake(door, { ...key(), 'Content-Length': '4', 'Transfer-Encoding': 'chunked' }, `POST ${door} HTTP/1.1`)}0\r\n\r\n`,
    ],
    [
      'two content-lengths',
      () => handshake(door, { ...key(), 'Content-Length': ['4', '5'] }, `POST ${door} HTTP/1.1`),
      [400],
    ],
    [
      'a negative content-length',
      () => handshake(door, { ...key(), 'Content-Length': '-1' }, `POST ${door} HTTP/1.1`),
      [400],
    ],
    [
      'a chunk size that is none',
      () =>
        `${handshake(door, { ...key(), Upgrade: null, Connection: null, 'Transfer-Encoding': 'chunked' }, 'POST /v1/realtime/client_secrets HTTP/1.1')}zz\r\n`,
    ],
    [
      'a header that goes on in the next line',
      () => handshake(door, key()).replace('Host:', 'X: a\r\n b\r\nHost:').replace('13', '8'),
    ],
    ['a header with a blank in its name', () => handshake(door, { ...key(), 'X Y': 'a' })],
    ['a header with NUL', () => handshake(door, { ...key(), X: 'a\0b' }), [400]],
    ['a header with a bare CR', () => handshake(door, { ...key(), X: 'a\rY: b' }), [400]],
    ['a header without a colon', () => handshake(door, key()).replace('Host:', 'Nonsense\r\nHost:'), [400]],
    ['two hosts', () => handshake(door, { Host: ['a', 'b'] })],
    [
      '5000 headers',
      () =>
        handshake(door, { ...key(), ...Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`X-${i}`, 'a'])) }),
    ],
    ['64 KB of one header', () => handshake(door, { ...key(), X: 'a'.repeat(65_536) }), [431, 400, null]],
    ['64 KB of a header name', () => handshake(door, { ...key(), ['X'.repeat(65_536)]: 'a' }), [431, 400, null]],
    ['64 KB of path', () => handshake(`${door}&x=${'a'.repeat(65_536)}`, key()), [431, 400, null]],
    ['an absolute target of another host', () => handshake(`http://evil.test${door}`, key()), [404]],
    [
      'an absolute target of another port',
      () => handshake(`http://relay.test:1${door}`, { ...key(), Host: 'relay.test' }),
      [404],
    ],
    [
      'an absolute target with a user',
      () => handshake(`http://a@relay.test${door}`, { ...key(), Host: 'relay.test' }),
      [404],
    ],
    ['an absolute target of no host', () => handshake(`http://${door}`, key()), [404]],
    [
      'an absolute target of another scheme',
      () => handshake(`ftp://relay.test${door}`, { ...key(), Host: 'relay.test' }),
    ],
    ['a target without a slash', () => handshake(door, key(), 'GET openai/v1/realtime HTTP/1.1')],
    ['a host in the path', () => handshake(`//evil.test${door}`, key()), [404]],
    ['a backslash in the path', () => handshake('/openai\\v1\\realtime', { 'api-key': 'x' }), [401, 404, 400]],
    ['a door in capitals', () => handshake('/OpenAI/v1/Realtime', key()), [404]],
    ['an escaped slash in the door', () => handshake('/openai%2fv1%2frealtime', key()), [404]],
    ['NUL behind the door', () => handshake('/openai/v1/realtime%00', key()), [404]],
    ['a semicolon behind the door', () => handshake('/openai/v1/realtime;x=1', key()), [404]],
    ['the metrics', () => handshake('/metrics', { ...key(), Upgrade: null, Connection: 'close' }), [404]],
    ['the metrics by upgrade', () => handshake('/metrics', key()), [404]],
    ["the emulator's controls", () => handshake('/emulator/received', { Upgrade: null, Connection: 'close' }), [404]],
    ['a transcription where conversations are meant', () => handshake(`${door}&intent=transcription`, key()), [403]],
    ['a dialect that is none', () => handshake(`${door}&dialect=evil`, key()), [400]],
    ['a dialect that is empty', () => handshake(`${door}&dialect=`, key()), [400]],
  ];
  it.each(rows.map(([name, bytes, allowed]) => ({ name, bytes, allowed })))('$name', async ({ bytes, allowed }) => {
    await expectTurnedAway(bytes(), allowed);
  });
});

describe("a handshake's own wishes", () => {
  /** The URL and the headers with which the relay dialled for this client. */
  async function dialled(path: string, headers: Record<string, string | string[]> = {}): Promise<string> {
    const count = field.wire.passages.length;
    const socket = await open(field.address);
    socket.write(handshake(path, { ...key(), ...headers }));
    const passage = await field.wire.arrived(count + 1);
    await passage.sent(1);
    socket.destroy();
    const { 'sec-websocket-key': _, 'x-ms-client-request-id': __, ...fixed } = passage.headers;
    return JSON.stringify({ url: passage.url, fixed });
  }

  it.each([
    `/openai/v1/realtime?model=${evil}`,
    `/openai/v1/realtime?model=a&model=${evil}`,
    `/openai/v1/realtime?model=x%0d%0aX-Evil:%20${evil}`,
    `/openai/v1/realtime?model=..%2f..%2f${evil}`,
    `/openai/v1/realtime?model=x%26api-version%3d${evil}`,
    `/openai/v1/realtime?model=x%23${evil}`,
    `/openai/v1/realtime?deployment=${evil}&model=${evil}&api-version=${evil}`,
    `/openai/v1/realtime?endpoint=https://${evil}.test&host=${evil}`,
    `/openai/v1/realtime?call_id=${evil}&intent=${evil}`,
    `/openai/v1/realtime?model[]=${evil}&model[__proto__]=${evil}`,
    `/openai/v1/realtime?__proto__=${evil}&constructor=${evil}`,
    `/openai/v1/realtime?fault=refuse_500&fault=silent`,
    `/openai/v1/realtime?%6dodel=${evil}`,
    `/openai/v1/realtime?model=%ff%fe${evil}`,
    `/openai/v1/realtime?model=%00${evil}`,
    `/openai/v1/realtime?model=%e2%80%a8`,
    `/openai/realtime?api-version=${evil}&deployment=../${evil}`,
    `/openai/realtime?api-version=2025-04-01-preview&deployment=${evil}`,
    `/v1/realtime?model=${evil}`,
    `/openai/v1/../v1/realtime?model=${evil}`,
    `/openai/v1/%2e%2e/v1/realtime?model=${evil}`,
    `/openai/v1/realtime`,
    `/openai/v1/realtime?${evil}`,
    `/openai/v1/realtime?${'a=1&'.repeat(2000)}`,
  ])('%s comes to nothing upstream', async (path) => {
    const plain = await dialled('/openai/v1/realtime');
    expect(await dialled(path)).toBe(plain);
    expect(plain).not.toContain(evil);
  });

  it.each<readonly [string, Record<string, string | string[]>]>([
    ['cookies', { Cookie: `session=${evil}` }],
    ['forwarded addresses', { 'X-Forwarded-For': evil, 'X-Forwarded-Host': evil, Forwarded: `for=${evil}`, Via: evil }],
    ['headers of Azure', { 'x-ms-client-request-id': evil, 'x-ms-user': evil, 'apim-request-id': evil }],
    [
      'headers of OpenAI',
      { 'OpenAI-Beta': 'realtime=v1', 'OpenAI-Organization': evil, 'OpenAI-Safety-Identifier': evil },
    ],
    ['another host', { Host: `${evil}.test` }],
    ['another user agent', { 'User-Agent': evil, Referer: evil }],
    ['headers of tracing', { traceparent: evil, baggage: evil }],
    ['extensions', { 'Sec-WebSocket-Extensions': `permessage-deflate, ${evil}` }],
    ['a hundred others', Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`X-${i}`, evil]))],
  ])('%s are not forwarded', async (_, headers) => {
    expect(await dialled(doorOf.ga, headers)).toBe(await dialled(doorOf.ga));
  });

  it('a thousand subprotocols are answered in time', async () => {
    const names = Array.from({ length: 1000 }, (_, i) => `p${i}`).join(', ');
    const text = handshake(doorOf.ga, { ...key(), 'Sec-WebSocket-Protocol': names });
    const { status, milliseconds } = await exchange(field.address, text);
    expect(status).toBe(101);
    expect(milliseconds).toBeLessThan(1500);
  });

  it('a subprotocol is never echoed but for realtime', async () => {
    for (const offered of [
      'realtime, openai-insecure-api-key.TOKEN',
      'openai-beta.realtime-v1, TOKEN, realtime',
      'TOKEN',
    ]) {
      const text = handshake(doorOf.ga, { 'Sec-WebSocket-Protocol': offered.replace('TOKEN', field.token()) });
      const reply = (await exchange(field.address, text)).text;
      expect(/^sec-websocket-protocol: (.*)$/im.exec(reply)?.[1] ?? 'realtime').toBe('realtime');
    }
  });
});

describe('a door that is used badly', () => {
  it('reaps handshakes that never finish', async () => {
    const { dials } = field.wire;
    const whole = handshake(doorOf.ga, key());
    const sockets = await Promise.all(
      ['', 'G', whole.slice(0, 40), whole.slice(0, -4), whole.slice(0, -2), '\x16\x03'].map(async (start) => {
        const socket = await open(field.address);
        socket.on('data', () => undefined);
        socket.write(start);
        return once(socket, 'close');
      }),
    );
    expect(sockets).toHaveLength(6);
    expect(field.wire.dials).toBe(dials);
  });

  it('never takes frames that came with a handshake before who sent them is known', async () => {
    const { dials, passages } = field.wire;
    const opened = passages.length;
    const frames = frame(opcode.text, JSON.stringify({ type: 'session.update', session: { instructions: evil } }));
    for (const headers of [{}, { Authorization: 'Bearer x' }, { ...key(), Origin: 'https://evil.test' }]) {
      const bytes = Buffer.concat([Buffer.from(handshake(doorOf.ga, headers)), frames, frames]);
      const { status } = await exchange(field.address, bytes);
      expect([401, 403]).toContain(status);
    }
    expect([field.wire.dials, passages.length]).toEqual([dials, opened]);
  });

  it('sends frames that came with a good handshake through the policy, after the configuration', async () => {
    const hostile = { type: 'session.update', session: { instructions: evil } };
    const honest = { type: 'input_audio_buffer.append', audio: 'QUJD' };
    const socket = await open(field.address);
    const frames = [hostile, honest, hostile, honest].map((event) => frame(opcode.text, JSON.stringify(event)));
    const count = field.wire.passages.length;
    socket.write(Buffer.concat([Buffer.from(handshake(doorOf.ga, key())), ...frames]));
    const passage = await field.wire.arrived(count + 1);
    await passage.sent(3);
    expect(passage.up.map((text) => JSON.parse(text).type)).toEqual([
      'session.update',
      'input_audio_buffer.append',
      'input_audio_buffer.append',
    ]);
    expect(passage.up.join('')).not.toContain(evil);
    socket.destroy();
  });

  it('works on for an honest session while bad handshakes pour in', async () => {
    const { dials } = field.wire;
    const bad = [
      handshake(doorOf.ga, { Authorization: 'Bearer x.y.z' }),
      handshake('/nowhere', {}),
      'garbage\r\n\r\n',
      handshake(doorOf.ga, { Origin: 'https://evil.test' }),
    ];
    const flood = Array.from({ length: 300 }, (_, i) => exchange(field.address, bad[i % bad.length] as string));
    for (let turn = 0; turn < 5; turn++) await field.honestTurn();
    const replies = await Promise.all(flood);
    expect(replies.every(({ status }) => status !== null && status >= 400 && status < 500)).toBe(true);
    expect(field.wire.dials).toBe(dials);
  });

  it('forgets clients that vanish during the dial', async () => {
    const before = field.relay.sessions.size;
    const sockets = await Promise.all(Array.from({ length: 20 }, () => open(field.address)));
    for (const socket of sockets) {
      socket.write(handshake(doorOf.ga, key()));
      await once(socket, 'data');
      socket.resetAndDestroy();
    }
    const gone = () => field.relay.sessions.size <= before;
    while (!gone()) await field.honestTurn();
    expect(field.relay.sessions.size).toBe(before);
  });
});
