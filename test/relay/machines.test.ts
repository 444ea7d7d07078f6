import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { Agent as TlsAgent, request as tlsRequest } from 'node:https';
import { describe, expect, it, onTestFinished } from 'vitest';
import { exchange, handshake, open } from '../attack/tcp.js';
import { makeCertificate } from '../support/certificate.js';
import { startTestEmulator, startTestRelay, type TestRelay, type TestRelayOptions } from '../support/relay.js';

const door = '/openai/v1/realtime';
const minting = '/v1/realtime/client_secrets';

async function started(options: Partial<TestRelayOptions> = {}): Promise<TestRelay> {
  const emulator = await startTestEmulator();
  return startTestRelay({ upstream: emulator.url, ...options });
}

async function overTls(env: Record<string, string> = {}): Promise<TestRelay> {
  const { cert, key } = makeCertificate({ commonName: 'relay' });
  return started({ env: { RELAY_TLS_CERT: cert, RELAY_TLS_KEY: key, ...env } });
}

/** The lines of a request that is no handshake. */
const plain = (first: string, headers: Record<string, string | null>, body = '') =>
  handshake(
    '',
    { Upgrade: null, Connection: null, 'Sec-WebSocket-Key': null, 'Sec-WebSocket-Version': null, ...headers },
    first,
  ) + body;

const basic = 'Basic c3RhZ2luZzpwYXNzd29yZA==';

describe('a header for another hop', () => {
  it.each([
    basic,
    'Negotiate YIIZ',
    'NTLM TlRM',
    'Digest username="a", realm="b"',
    'AWS4-HMAC-SHA256 Credential=a/b',
    '',
  ])('Authorization: %s leaves the credential beside it to count', async (Authorization) => {
    const relay = await started({ env: { RELAY_ALLOWED_ORIGINS: 'https://app.test' }, yaml: 'auth: { cookie: rt }' });
    const token = relay.token();
    const beside: [string, Record<string, string>][] = [
      [door, { 'api-key': token }],
      [door, { 'Sec-WebSocket-Protocol': `realtime, openai-insecure-api-key.${token}` }],
      [`${door}?api-key=${token}`, {}],
      [door, { Cookie: `rt=${token}`, Origin: 'https://app.test' }],
    ];
    for (const [path, headers] of beside) {
      const { text } = await exchange(relay.address, handshake(path, { Authorization, ...headers }));
      expect(text).toMatch(/^HTTP\/1\.1 101 /);
      expect(text).not.toContain('authentication_error');
    }
    const minted = await exchange(
      relay.address,
      plain(`POST ${minting} HTTP/1.1`, { Authorization, 'api-key': token, 'Content-Length': '0' }),
    );
    expect(minted.status).toBe(200);
  });

  it('counts for nothing alone, and two tokens are as unclear as ever', async () => {
    const relay = await started();
    for (const headers of [
      { Authorization: basic },
      { Authorization: basic, 'api-key': '' },
      { Authorization: basic, 'api-key': 'x.y.z' },
      { Authorization: `Bearer ${relay.token()}`, 'api-key': relay.token({ subject: 'bob' }) },
      { Authorization: [`Bearer ${relay.token()}`, `Bearer ${relay.token({ subject: 'bob' })}`] },
      { Authorization: relay.token(), 'api-key': relay.token({ subject: 'bob' }) },
    ]) {
      expect((await exchange(relay.address, handshake(door, headers))).status).toBe(401);
    }
  });

  it('may be a line of its own beside that of the client', async () => {
    const relay = await started();
    const Authorization = [basic, `Bearer ${relay.token()}`];
    expect((await exchange(relay.address, handshake(door, { Authorization }))).status).toBe(101);
  });

  it.each(['api-key', 'Sec-WebSocket-Protocol', 'Cookie'])('an empty %s says nothing', async (name) => {
    const relay = await started({ yaml: 'auth: { cookie: rt }', env: { RELAY_ALLOWED_ORIGINS: 'https://app.test' } });
    const value = name === 'Cookie' ? 'rt=; rt=' : '';
    const headers = { Authorization: `Bearer ${relay.token()}`, [name]: value };
    expect((await exchange(relay.address, handshake(door, headers))).status).toBe(101);
  });

  it('a cookie may come once for each path of the page', async () => {
    const relay = await started({ yaml: 'auth: { cookie: rt }', env: { RELAY_ALLOWED_ORIGINS: 'https://app.test' } });
    const token = relay.token();
    const headers = { Cookie: `rt=${token}; a=b; rt=${token}`, Origin: 'https://app.test' };
    const { text } = await exchange(relay.address, handshake(door, headers));
    expect(text).not.toContain('"error"');
  });
});

describe('the list of subprotocols', () => {
  it.each<[string, string | string[], string | null]>([
    ['empty', '', null],
    ['with a comma at its end', 'realtime,', 'realtime'],
    ['with a name twice', 'realtime, realtime', 'realtime'],
    ['in two lines', ['realtime', 'openai-beta.realtime-v1'], 'realtime'],
    ['in two lines that are the same', ['realtime', 'realtime'], 'realtime'],
    ['of commas', ', ,realtime,,', 'realtime'],
    ['with a name that is none', 'realtime, foo bar', 'realtime'],
    ['without a name that is known', 'chat, chat', null],
  ])('%s reads as if written once and cleanly', async (_, offered, selected) => {
    const relay = await started({ env: { RELAY_ALLOWED_ORIGINS: 'https://app.test' } });
    const headers = { Authorization: `Bearer ${relay.token()}`, 'Sec-WebSocket-Protocol': offered };
    const { status, text } = await exchange(relay.address, handshake(door, headers));
    expect(status).toBe(101);
    expect(/^sec-websocket-protocol: (.*)$/im.exec(text)?.[1] ?? null).toBe(selected);
    expect(text).toMatch(/^x-request-id: \S{36}\r$/im);
    const page = { ...headers, Authorization: 'Bearer x.y.z', Origin: 'https://app.test' };
    const refusal = await exchange(relay.address, handshake(door, page));
    expect([refusal.status, refusal.text.includes('html')]).toEqual([101, false]);
    expect(await relay.logged('session.refused')).toMatchObject({ reason: 'unauthorized' });
  });
});

describe('a handshake', () => {
  it.each<[string, Record<string, string | null>]>([
    ['a body of no bytes', { 'Content-Length': '0' }],
    ['a Connection of several words', { Connection: 'keep-alive, Upgrade' }],
    ['words in another case', { Connection: 'upgrade', Upgrade: 'WebSocket' }],
    ['an expectation', { Expect: '100-continue' }],
    ['extensions that are none', { 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits, ;;' }],
    ['a trace that is none', { traceparent: 'nonsense', tracestate: '=' }],
    [
      'where it comes from',
      { 'X-Forwarded-For': '1.2.3.4', 'X-Forwarded-Proto': 'https', Forwarded: 'for=x', Via: '1.1 x' },
    ],
    ['what it would read', { Accept: 'text/html', 'Accept-Encoding': 'br', TE: 'trailers', 'Content-Type': 'x' }],
  ])('may have %s', async (_, headers) => {
    const relay = await started();
    const text = handshake(door, { Authorization: `Bearer ${relay.token()}`, ...headers });
    expect((await exchange(relay.address, text)).status).toBe(101);
  });

  it.each<[string, Record<string, string | null>, string, number]>([
    ['a body', { 'Content-Length': '5' }, 'hello', 400],
    ['a body in chunks', { 'Transfer-Encoding': 'chunked' }, '0\r\n\r\n', 400],
    ['no Upgrade, as some proxies leave it', { Upgrade: null, Connection: 'close' }, '', 426],
    ['no Host', { Upgrade: null, Connection: 'close', Host: null }, '', 400],
    ['the method CONNECT', {}, '', 400],
  ])('with %s is refused by the relay itself', async (what, headers, body, status) => {
    const relay = await started();
    const first = what.includes('CONNECT') ? 'CONNECT relay.test:443 HTTP/1.1' : undefined;
    const text = handshake(door, { Authorization: `Bearer ${relay.token()}`, ...headers }, first) + body;
    const answer = await exchange(relay.address, text);
    expect(answer.status).toBe(status);
    expect(answer.text).toMatch(/^x-request-id: \S{36}\r$/im);
    expect(JSON.parse(answer.text.split('\r\n\r\n')[1] as string)).toHaveProperty('error.message');
    expect(await relay.metric('relay_refusals_total', { reason: 'bad_event' })).toBe(1);
    const line = relay.log.find(({ msg }) => /refused/.test(String(msg)));
    expect(answer.text).toContain(String(line?.requestId));
  });
});

describe('an offer of another protocol', () => {
  /** As Java's HttpClient writes it with the first request of a connection. */
  const h2c = { Connection: 'Upgrade, HTTP2-Settings', Upgrade: 'h2c', 'HTTP2-Settings': 'AAEAAEAAAAIAAAAB' };

  it.each<[string, string, Record<string, string>, string, number]>([
    [
      'at the door for secrets',
      `POST ${minting} HTTP/1.1`,
      { 'Content-Length': '33' },
      '{"expires_after": {"seconds": 30}}'.slice(0, 33),
      400,
    ],
    [
      'at the door for secrets',
      `POST ${minting} HTTP/1.1`,
      { 'Content-Length': '34' },
      '{"expires_after": {"seconds": 30}}',
      200,
    ],
    [
      'with a body in chunks',
      `POST ${minting} HTTP/1.1`,
      { 'Transfer-Encoding': 'chunked' },
      '2\r\n{}\r\n0\r\n\r\n',
      200,
    ],
    ['without a body', `POST ${minting} HTTP/1.1`, {}, '', 200],
    ['at the health check', 'GET /healthz HTTP/1.1', {}, '', 200],
    ['at no door', 'GET /nothing HTTP/1.1', {}, '', 404],
  ])('is passed over %s', async (_, first, headers, body, status) => {
    const relay = await started();
    const all = { Authorization: `Bearer ${relay.token()}`, ...h2c, ...headers };
    expect((await exchange(relay.address, plain(first, all, body))).status).toBe(status);
  });

  it('is passed over with each request of a connection, and one for a WebSocket is not', async () => {
    const relay = await started();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    onTestFinished(() => agent.destroy());
    const ask = async (path: string, method: string, body = '') => {
      const asked = request(relay.relay.url + path, {
        method,
        agent,
        headers: { ...h2c, 'api-key': relay.token(), 'Content-Length': body.length },
      });
      asked.end(body);
      const [answer] = await once(asked, 'response');
      answer.resume();
      await once(answer, 'end');
      return [answer.statusCode, asked.reusedSocket];
    };
    expect(await ask('/healthz', 'GET')).toEqual([200, false]);
    expect(await ask(minting, 'POST', '{}')).toEqual([200, true]);
    expect(await ask('/healthz', 'GET')).toEqual([200, true]);
    expect((await exchange(relay.address, handshake('/healthz', {}))).status).toBe(404);
  });

  it('is passed over under TLS as well', async () => {
    const relay = await overTls();
    const agent = new TlsAgent({ rejectUnauthorized: false });
    onTestFinished(() => agent.destroy());
    const asked = tlsRequest(`${relay.relay.url}${minting}`, {
      method: 'POST',
      agent,
      headers: { ...h2c, 'api-key': relay.token(), 'Content-Length': 2 },
    });
    asked.end('{}');
    const [answer] = await once(asked, 'response');
    expect(answer.statusCode).toBe(200);
    answer.resume();
  });
});

describe('a request of any kind', () => {
  it.each<[string, Record<string, string>, number]>([
    ['an expectation that is met', { Expect: '100-continue' }, 200],
    ['one that nobody knows', { Expect: '200-maybe' }, 200],
    ['a type with another charset', { 'Content-Type': 'application/json;charset=UTF-8' }, 200],
    ['no type', {}, 200],
    ['a method in a header', { 'X-HTTP-Method-Override': 'DELETE' }, 200],
    ['a trace that is none', { traceparent: '00-0-0-00', baggage: ';;' }, 200],
  ])('may have %s', async (_, headers, status) => {
    const relay = await started();
    const asked = request(`${relay.relay.url}${minting}`, {
      method: 'POST',
      headers: { 'api-key': relay.token(), 'Content-Length': 2, ...headers },
    });
    asked.end('{}');
    const [answer] = await once(asked, 'response');
    answer.resume();
    expect(answer.statusCode).toBe(status);
  });

  it.each(['GET', 'HEAD', 'OPTIONS'])('%s asks after health, over HTTP/1.0 too', async (method) => {
    const relay = await started();
    for (const host of [null, '10.0.0.1']) {
      for (const url of [relay.relay.url, relay.relay.opsUrl]) {
        const version = host === null ? '1.0' : '1.1';
        const text = plain(`${method} /healthz HTTP/${version}`, { Host: host, Connection: 'close' });
        const answer = await exchange(url, text);
        expect(answer.status).toBe(200);
      }
    }
    const page = plain('GET /healthz HTTP/1.1', { Origin: 'https://any.test' });
    expect((await exchange(relay.relay.url, page)).status).toBe(200);
  });

  it('may come from a page with headers that tracing adds', async () => {
    const relay = await started({ env: { RELAY_ALLOWED_ORIGINS: 'https://app.test' } });
    const answer = await fetch(relay.relay.url + minting, {
      method: 'OPTIONS',
      headers: { origin: 'https://app.test', 'access-control-request-headers': 'api-key,traceparent,x-stainless-lang' },
    });
    expect(answer.headers.get('access-control-allow-headers')?.split(', ')).toEqual(
      expect.arrayContaining(['authorization', '*']),
    );
  });
});

describe('Strict-Transport-Security', () => {
  const hsts = 'strict-transport-security';

  it('is not said over plain HTTP, on either port', async () => {
    const relay = await started({ env: { RELAY_CONSOLE: 'on', RELAY_HSTS: 'subdomains' } });
    for (const url of [relay.relay.url, relay.relay.opsUrl, `${relay.relay.url}/console`]) {
      for (const path of ['/healthz', '/', '/nothing']) {
        expect((await fetch(url + path, { headers: { 'x-forwarded-proto': 'https' } })).headers.get(hsts)).toBeNull();
      }
    }
  });

  it.each([
    ['on', /^max-age=\d+$/],
    ['subdomains', /^max-age=\d+; includeSubDomains$/],
    ['off', null],
  ])('over TLS is what RELAY_HSTS asks for: %s', async (asked, expected) => {
    const relay = await overTls(asked === 'on' ? {} : { RELAY_HSTS: asked });
    const agent = new TlsAgent({ rejectUnauthorized: false });
    onTestFinished(() => agent.destroy());
    const sent = tlsRequest(`${relay.relay.url}/healthz`, { agent }).end();
    const [answer] = await once(sent, 'response');
    answer.resume();
    if (expected) expect(answer.headers[hsts]).toMatch(expected);
    else expect(answer.headers[hsts]).toBeUndefined();
  });
});

describe('a connection that a balancer keeps', () => {
  /** Asks once and returns the connection with what the relay said of how long it is kept. */
  async function kept(url: string): Promise<{ socket: Awaited<ReturnType<typeof open>>; said: string | undefined }> {
    const socket = await open(url);
    socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    return { socket, said: /^keep-alive: (.*)\r$/im.exec(String(answer))?.[1] };
  }

  it('is kept for longer than balancers do, on both ports', async () => {
    const { relay } = await started();
    for (const url of [relay.url, relay.opsUrl]) {
      const { socket, said } = await kept(url);
      expect(said).toBe('timeout=90');
      socket.destroy();
    }
  });

  it('outlives the time for a handshake', async () => {
    const { relay } = await started({ yaml: 'limits: { handshake_seconds: 0.1 }' });
    const { socket } = await kept(relay.url);
    const slow = await open(relay.url);
    slow.resume();
    slow.write('GET /');
    // The one check that ends what is late has passed when this one ends.
    await once(slow, 'close');
    socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(String((await once(socket, 'data'))[0])).toMatch(/^HTTP\/1\.1 200 /);
    socket.destroy();
  });

  it('ends after limits.keep_alive_seconds, which a reload changes', async () => {
    const yaml = (seconds: number) => `limits: { keep_alive_seconds: ${seconds} }`;
    const test = await started({ yaml: yaml(0.2) });
    for (const url of [test.relay.url, test.relay.opsUrl]) {
      const { socket } = await kept(url);
      socket.resume();
      await once(socket, 'close');
    }
    test.rewrite(yaml(7));
    await test.logged('config.reloaded');
    for (const url of [test.relay.url, test.relay.opsUrl]) {
      const { socket, said } = await kept(url);
      expect(said).toBe('timeout=7');
      socket.destroy();
    }
  });

  it('ends at once when the relay drains', async () => {
    const test = await started({ yaml: 'limits: { drain_seconds: 20 }' });
    const client = await test.connect();
    await client.next('session.created');
    client.send({ type: 'input_audio_buffer.append', audio: 'AAAA' });
    const { socket } = await kept(test.relay.url);
    socket.resume();
    const before = performance.now();
    const drained = test.relay.drain();
    await once(socket, 'close');
    expect(performance.now() - before).toBeLessThan(1000);
    client.ws.terminate();
    await drained;
  });
});

describe('what no application sees leaves a trace', () => {
  it('a header block over the limit is counted, and logged with its size', async () => {
    const test = await started();
    const headers = { Authorization: `Bearer ${test.token()}`, Cookie: 'x'.repeat(40_000) };
    const text = handshake(door, headers);
    const answer = await exchange(test.address, text);
    expect(answer.status).toBe(431);
    const line = await test.logged('request.refused');
    expect(line).toMatchObject({
      level: 'warn',
      reason: 'too_big',
      bytes: expect.any(Number),
      detail: expect.stringContaining('32768'),
    });
    expect(answer.text).toContain(String(line.requestId));
    expect(line.bytes as number).toBeGreaterThan(32 * 1024);
    expect(line.bytes as number).toBeLessThanOrEqual(text.length);
    expect(await test.metric('relay_refusals_total', { reason: 'too_big' })).toBe(1);
  });

  it('its size is that of this request, on a connection that had others', async () => {
    const test = await started();
    const socket = await open(test.address);
    const body = `{"a":"${'x'.repeat(50_000)}"}`;
    socket.write(
      plain(`POST ${minting} HTTP/1.1`, { 'api-key': test.token(), 'Content-Length': String(body.length) }, body),
    );
    await once(socket, 'data');
    socket.write(plain('GET / HTTP/1.1', { Cookie: 'x'.repeat(33_000) }));
    const line = await test.logged('request.refused');
    expect(line.bytes as number).toBeLessThan(34_000);
    socket.destroy();
  });

  it('many cookies and a large token are within the limit', async () => {
    const test = await started();
    const token = test.token({ claims: { groups: 'g'.repeat(2400) } });
    expect(token.length).toBeGreaterThan(3400);
    const headers = { Authorization: `Bearer ${token}`, Cookie: 'c'.repeat(14 * 1024) };
    expect((await exchange(test.address, handshake(door, headers))).status).toBe(101);
  });

  it.each([
    ['what is not HTTP', 'hello\r\n\r\n', 'bad_event', 400],
    ['a request that is never finished', 'GET / HTTP/1.1\r\nHo', 'idle_timeout', 408],
  ])('%s', async (_, bytes, reason, status) => {
    const test = await started({ yaml: 'limits: { handshake_seconds: 0.1 }' });
    const answer = await exchange(test.address, bytes);
    expect(answer.status).toBe(status);
    const line = await test.logged('request.refused');
    expect(line).toMatchObject({ reason, requestId: expect.any(String) });
    expect(answer.text).toContain(String(line.requestId));
    expect(await test.metric('relay_refusals_total', { reason })).toBe(1);
  });

  it('but a connection on which nothing was said is none', async () => {
    const test = await started({ yaml: 'limits: { handshake_seconds: 0.1 }' });
    expect((await exchange(test.address, '')).status).toBe(408);
    expect(test.log.filter(({ msg }) => msg === 'request.refused')).toEqual([]);
  });
});
