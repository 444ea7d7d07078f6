import dns from 'node:dns';
import { getEventListeners } from 'node:events';
import { inspect } from 'node:util';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { RelayError } from '../../src/errors.js';
import { type Authorizer, authorizeWithEntra, authorizeWithKey } from '../../src/upstream/authorizer.js';
import { type Dialed, type DialOptions, dial } from '../../src/upstream/dial.js';
import { createTokenCache } from '../../src/upstream/entra.js';
import { DialFailure } from '../../src/upstream/failure.js';
import { parseEndpoint, type UpstreamTarget } from '../../src/upstream/target.js';
import { key } from './key.js';
import { certificate, closedPort, realtime, refusing, target, tcp } from './servers.js';

const quick = (changes: Partial<DialOptions> = {}): DialOptions => ({
  requestId: 'ses_1',
  signal: new AbortController().signal,
  timeoutSeconds: 5,
  ...changes,
});

async function failing(to: UpstreamTarget, options = quick()): Promise<{ error: RelayError; failure: DialFailure }> {
  const error = await dial(to, options).then(
    () => expect.unreachable('the dial succeeded'),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(RelayError);
  const { cause } = error as RelayError;
  expect(cause).toBeInstanceOf(DialFailure);
  // Whatever goes wrong, neither the client nor the log learns the credential, and the client learns nothing at all.
  expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(key);
  const { message } = error as RelayError;
  expect(message).not.toMatch(/127\.0\.0\.1|gpt-realtime|test|\d/);
  return { error: error as RelayError, failure: cause as DialFailure };
}

async function received(dialed: Dialed, count: number): Promise<string[]> {
  const texts: string[] = [];
  const done = new Promise<void>((resolve) => {
    dialed.socket.on('message', (data) => {
      if (texts.push(data.toString()) === count) resolve();
    });
  });
  dialed.socket.resume();
  await done;
  dialed.socket.terminate();
  return texts;
}

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

describe('a dial that succeeds', () => {
  it('loses nothing of an upstream that speaks first, in fifty runs', async () => {
    const server = await realtime((socket) => {
      for (let number = 0; number < 3; number += 1) socket.send(`event ${number}`);
    });
    for (let run = 0; run < 50; run += 1) {
      const dialed = await dial(target(server.port), quick());
      expect(dialed.socket.isPaused).toBe(true);
      // What came with the handshake must wait, also across turns of the loop.
      await new Promise((resolve) => setImmediate(resolve));
      expect(await received(dialed, 3)).toEqual(['event 0', 'event 1', 'event 2']);
    }
  });

  it('sends the credential, the name of the relay and the request id, and nothing else', async () => {
    const server = await realtime();
    const { socket } = await dial(target(server.port), quick());
    socket.terminate();
    expect(server.seen[0]?.url).toBe('/openai/v1/realtime?model=gpt-realtime');
    expect(server.seen[0]?.headers).toEqual({
      host: `127.0.0.1:${server.port}`,
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': expect.any(String),
      'api-key': key,
      'user-agent': expect.stringMatching(/^realtime-relay\/\d+\.\d+\.\d+/),
      'x-ms-client-request-id': 'ses_1',
    });
  });

  it('asks for the credential anew for each session', async () => {
    const server = await realtime();
    let number = 0;
    const authorize: Authorizer = {
      header: async () => ({ name: 'authorization', value: `Bearer t${++number}` }),
      renew: async () => null,
      status: () => ({ ready: true, detail: null }),
    };
    for (let run = 0; run < 2; run += 1) (await dial(target(server.port, { authorize }), quick())).socket.terminate();
    expect(server.seen.map(({ headers }) => headers.authorization)).toEqual(['Bearer t1', 'Bearer t2']);
  });

  it('keeps the request ids of the upstream, bounded and without the credential', async () => {
    const server = await realtime(undefined, {
      headers: ['apim-request-id: a-1', `x-request-id: ${'x'.repeat(129)}`, `x-ms-region: ${key}`, 'set-cookie: c=1'],
    });
    const dialed = await dial(target(server.port), quick());
    dialed.socket.terminate();
    expect(dialed.requestIds).toEqual({ 'apim-request-id': 'a-1' });
    expect(dialed.upstream.name).toBe('test');
  });

  it('leaves nothing of the dial on the socket, which would keep the credential for as long as the session', async () => {
    const server = await realtime();
    const { socket, stream } = await dial(target(server.port), quick());
    for (const event of ['lookup', 'connect', 'secureConnect']) expect(stream.listenerCount(event), event).toBe(0);
    for (const event of ['open', 'upgrade', 'unexpected-response']) expect(socket.listenerCount(event), event).toBe(0);
    expect(socket.listenerCount('error')).toBe(1);
    socket.terminate();
  });

  it('leaves nothing behind on the signal of the session, however it ends', async () => {
    const [good, bad] = [await realtime(), await refusing({ status: 500 })];
    const { signal } = new AbortController();
    (await dial(target(good.port), quick({ signal }))).socket.terminate();
    await failing(target(bad.port), quick({ signal }));
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('attaches to a call', async () => {
    const server = await realtime();
    (await dial(target(server.port), quick({ callId: 'rtc_7' }))).socket.terminate();
    expect(server.seen[0]?.url).toBe('/openai/v1/realtime?call_id=rtc_7');
  });

  it('refuses messages over the limit, and an error afterwards does not end the process', async () => {
    const server = await realtime((socket) => socket.send('x'.repeat(2000)));
    const { socket } = await dial(target(server.port), quick({ maxPayload: 1000 }));
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.resume();
    expect(await closed).toBe(1006);
  });

  it('is not ended by its time-out or by an abort once it is open', async () => {
    const server = await realtime();
    const leaving = new AbortController();
    const { socket } = await dial(target(server.port), quick({ signal: leaving.signal, timeoutSeconds: 0.5 }));
    vi.useFakeTimers();
    vi.advanceTimersByTime(60_000);
    vi.useRealTimers();
    leaving.abort();
    expect(socket.readyState).toBe(WebSocket.OPEN);
    socket.terminate();
  });
});

describe('an upstream that refuses', () => {
  const error = (code: string, message = 'm') => ({ error: { code, message } });
  it.each([
    [400, error('OpperationNotSupported'), 'not_realtime', 'upstream_failed'],
    [400, error('OperationNotSupported'), 'not_realtime', 'upstream_failed'],
    [400, error('BadRequest'), 'bad_request', 'upstream_failed'],
    [401, error('401', 'Access denied due to invalid subscription key.'), 'wrong_credential', 'upstream_failed'],
    [401, error('PermissionDenied'), 'missing_role', 'upstream_failed'],
    [403, error('403', 'Access denied due to Virtual Network/Firewall rules.'), 'network_rules', 'upstream_failed'],
    [
      403,
      error('AccessDenied', 'Public access is disabled. Please configure private endpoint.'),
      'network_rules',
      'upstream_failed',
    ],
    [403, '<html><h1>Forbidden</h1></html>', 'forbidden', 'upstream_failed'],
    [404, error('DeploymentNotFound'), 'deployment_not_found', 'upstream_failed'],
    [404, error('404', 'Resource not found'), 'wrong_path', 'upstream_failed'],
    [404, error('call_id_not_found'), 'call_not_found', 'upstream_failed'],
    [404, '', 'wrong_path', 'upstream_failed'],
    [407, '', 'proxy', 'upstream_failed'],
    [418, '', 'bad_request', 'upstream_failed'],
    [426, '', 'not_websocket', 'upstream_failed'],
    [429, error('429'), 'throttled', 'upstream_unavailable'],
    [431, '', 'too_many_headers', 'upstream_failed'],
    [500, '{"error":', 'server_error', 'upstream_failed'],
    [502, '<html>Bad gateway</html>', 'server_error', 'upstream_failed'],
    [503, 'null', 'server_error', 'upstream_unavailable'],
    [200, 'hello', 'not_websocket', 'upstream_failed'],
  ] as const)('with %i %j is known as %s and ends the session as %s', async (status, body, kind, id) => {
    const server = await refusing({ status, body, headers: { 'apim-request-id': 'a-1' } });
    const { error: refusal, failure } = await failing(target(server.port));
    expect([refusal.id, failure.kind, failure.status]).toEqual([id, kind, status]);
    expect(failure.advice).not.toBe('');
    expect(failure.requestIds).toEqual({ 'apim-request-id': 'a-1' });
    expect(server.seen).toHaveLength(1);
  });

  it.each([
    [{ 'retry-after': '7' }, '', 7000],
    [{ 'retry-after': '0' }, '', 1000],
    [{ 'retry-after': '86400' }, '', 300_000],
    [{ 'retry-after': 'soon' }, '', undefined],
    [{ 'retry-after': '-5' }, '', undefined],
    [{ 'retry-after': 'Thu, 01 Jan 1970 00:00:00 GMT' }, '', 1000],
    [{ 'retry-after-ms': '2500', 'retry-after': '7' }, '', 2500],
    [{}, 'Requests have exceeded the limit. Please retry after 12 seconds.', 12_000],
    [{}, '', undefined],
  ])('for being busy with %j %j is retried after %s ms', async (headers: Record<string, string>, message, expected) => {
    const server = await refusing({ status: 429, headers, body: error('429', message) });
    const { error: refusal } = await failing(target(server.port));
    expect([refusal.id, refusal.retryAfterMs]).toEqual(['upstream_unavailable', expected]);
  });

  it('with a page of nothing but brackets holds up nobody', async () => {
    const server = await refusing({ status: 502, body: '<'.repeat(64 * 1024) });
    const begun = performance.now();
    const { failure } = await failing(target(server.port));
    expect(failure.kind).toBe('server_error');
    expect(performance.now() - begun).toBeLessThan(2000);
  });

  it('until a date is retried then', async () => {
    const date = new Date(Date.now() + 90_000).toUTCString();
    const server = await refusing({ status: 503, headers: { 'retry-after': date } });
    const { error: refusal } = await failing(target(server.port));
    expect(refusal.retryAfterMs).toBeGreaterThan(80_000);
    expect(refusal.retryAfterMs).toBeLessThanOrEqual(90_000);
  });

  it('with a redirect is not followed, and the operator learns where it points', async () => {
    const trap = await refusing({ status: 200 });
    const location = `http://127.0.0.1:${trap.port}/openai?x=${key}`;
    const server = await refusing({ status: 307, headers: { location } });
    const { error: refusal, failure } = await failing(target(server.port));
    expect([refusal.id, failure.kind]).toEqual(['upstream_failed', 'redirect']);
    expect(failure.message).toContain(`http://127.0.0.1:${trap.port}`);
    expect(trap.seen).toHaveLength(0);
  });

  it('and repeats the credential in every place does not get it into the log', async () => {
    const body = { error: { code: key, message: `You sent ${key}.${' '.repeat(10)}\u001b[31m Bearer ${key}` } };
    const server = await refusing({ status: 401, headers: { 'x-request-id': key }, body });
    const { failure } = await failing(target(server.port));
    expect(failure.message).toContain('You sent [credential]');
    expect(failure.message).not.toContain('\u001b');
  });

  it('and repeats the credential where HTTP should be does not get it into the log', async () => {
    const server = await tcp((socket) => socket.end(`${key} ${key}\r\n\r\n`));
    expect((await failing(target(server.port))).failure.kind).toBe('not_websocket');
  });

  it('with an endless body is cut off at 64 KiB', async () => {
    const server = await tcp((socket) => {
      socket.write('HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\n');
      const chunk = `4000\r\n${'x'.repeat(0x4000)}\r\n`;
      const more = () => {
        while (socket.write(chunk)) if (socket.destroyed) return;
      };
      socket.on('drain', more);
      more();
    });
    const started = performance.now();
    const { failure } = await failing(target(server.port));
    expect(failure.kind).toBe('server_error');
    // Its time would be over only after two seconds.
    expect(performance.now() - started).toBeLessThan(1500);
    expect(failure.message.length).toBeLessThanOrEqual(500);
  });

  it('with a body that never ends or comes is known by its status', async () => {
    const server = await tcp((socket) => {
      socket.write('HTTP/1.1 429 Busy\r\nretry-after: 3\r\ncontent-length: 900\r\n\r\n{');
    });
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    let passed = 0;
    let isOver = false;
    const refused = failing(target(server.port)).finally(() => {
      isOver = true;
    });
    while (!isOver) {
      await new Promise((resolve) => setImmediate(resolve));
      vi.advanceTimersByTime(5);
      passed += 5;
    }
    const { error: refusal } = await refused;
    expect(passed).toBeGreaterThanOrEqual(2000);
    expect([refusal.id, refusal.retryAfterMs]).toEqual(['upstream_unavailable', 3000]);
  });
});

describe('a refused credential', () => {
  const cacheOf = (getToken: () => Promise<{ token: string; expiresOnTimestamp: number }>) =>
    createTokenCache({ credential: { getToken }, scope: 's' });
  const lasting = (token: string) => ({ token, expiresOnTimestamp: Date.now() + 3_600_000 });

  it('is refreshed once, and the session opens', async () => {
    let issued = 0;
    const cache = cacheOf(async () => lasting(`t${++issued}`));
    const server = await realtime(undefined, { credential: 'Bearer t2' });
    (await dial(target(server.port, { authorize: authorizeWithEntra(cache) }), quick())).socket.terminate();
    expect(server.seen.map(({ headers }) => headers.authorization)).toEqual(['Bearer t1', 'Bearer t2']);
    cache.close();
  });

  it('is refreshed no more than once', async () => {
    let issued = 0;
    const cache = cacheOf(async () => lasting(`t${++issued}`));
    const server = await refusing({ status: 401, body: {} });
    const { error, failure } = await failing(target(server.port, { authorize: authorizeWithEntra(cache) }));
    expect([error.id, failure.kind]).toEqual(['upstream_failed', 'wrong_credential']);
    expect(server.seen.map(({ headers }) => headers.authorization)).toEqual(['Bearer t1', 'Bearer t2']);
    cache.close();
  });

  it('is not refreshed when it is a key', async () => {
    const server = await refusing({ status: 401, body: {} });
    await failing(target(server.port));
    expect(server.seen).toHaveLength(1);
  });

  it('is not tried again when the identity has no other, or cannot answer', async () => {
    const same = cacheOf(async () => lasting('t1'));
    let asked = 0;
    const dead = cacheOf(async () => {
      if (++asked > 1) throw new Error('identity is down');
      return lasting('t1');
    });
    for (const cache of [same, dead]) {
      const server = await refusing({ status: 401, body: {} });
      const { failure } = await failing(target(server.port, { authorize: authorizeWithEntra(cache) }));
      expect(failure.kind).toBe('wrong_credential');
      expect(server.seen).toHaveLength(1);
      cache.close();
    }
  });

  it('is not refreshed for a missing role', async () => {
    let issued = 0;
    const cache = cacheOf(async () => lasting(`t${++issued}`));
    const server = await refusing({ status: 401, body: { error: { code: 'PermissionDenied' } } });
    await failing(target(server.port, { authorize: authorizeWithEntra(cache) }));
    expect([server.seen.length, issued]).toEqual([1, 1]);
    cache.close();
  });

  it('that cannot be had at all is upstream_unavailable, without a connection', async () => {
    const cache = cacheOf(async () => {
      throw new Error('no identity here');
    });
    const server = await tcp();
    const { error: refusal, failure } = await failing(target(server.port, { authorize: authorizeWithEntra(cache) }));
    expect([refusal.id, failure.kind]).toEqual(['upstream_unavailable', 'credential']);
    expect(failure.message).toContain('no identity here');
    expect(server.sockets).toHaveLength(0);
    cache.close();
  });

  it('is refused at the start when a header cannot carry it, and a blank around it is forgiven', async () => {
    for (const bad of ['', ' ', 'a\r\nb', 'kéy', 'a b']) expect(() => authorizeWithKey(bad)).toThrow(/API key/);
    expect((await authorizeWithKey(' k\n').header()).value).toBe('k');
  });
});

describe('a place that is not the upstream', () => {
  it('refused TCP', async () => {
    const { error, failure } = await failing(target(await closedPort()));
    expect([error.id, failure.kind, failure.code]).toEqual(['upstream_failed', 'unreachable', 'ECONNREFUSED']);
  });

  it('a name that does not resolve', async () => {
    vi.spyOn(dns, 'lookup').mockImplementation(((name: string, _options: object, done: (error: Error) => void) =>
      process.nextTick(
        done,
        Object.assign(new Error(`getaddrinfo ENOTFOUND ${name}`), { code: 'ENOTFOUND' }),
      )) as unknown as typeof dns.lookup);
    const { error, failure } = await failing(target(1, { endpoint: parseEndpoint('https://resource.invalid') }));
    expect([error.id, failure.kind]).toEqual(['upstream_failed', 'dns']);
    expect(failure.message).toContain('(name lookup)');
  });

  it('a certificate nobody vouches for', async () => {
    const server = await realtime(undefined, { tls: certificate() });
    const { error, failure } = await failing(
      target(1, { endpoint: parseEndpoint(`https://127.0.0.1:${server.port}`) }),
    );
    expect([error.id, failure.kind]).toEqual(['upstream_failed', 'tls']);
    expect(server.seen).toHaveLength(0);
  });

  it('plain HTTP where TLS should be', async () => {
    const server = await realtime();
    const { failure } = await failing(target(1, { endpoint: parseEndpoint(`https://127.0.0.1:${server.port}`) }));
    expect(failure.kind).toBe('tls');
    expect(server.seen).toHaveLength(0);
  });

  it.each([
    ['not HTTP', 'SSH-2.0-OpenSSH_9.2\r\n', 'not_websocket'],
    [
      'a bad accept key',
      'HTTP/1.1 101 S\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: AAAA\r\n\r\n',
      'not_websocket',
    ],
    ['another protocol', 'HTTP/1.1 101 S\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n', 'not_websocket'],
    ['headers without end', `HTTP/1.1 101 S\r\n${'x: y\r\n'.repeat(10_000)}`, 'not_websocket'],
  ])('%s', async (_name, bytes, kind) => {
    const server = await tcp((socket) => socket.write(bytes));
    const { error, failure } = await failing(target(server.port));
    expect([error.id, failure.kind]).toEqual(['upstream_failed', kind]);
  });

  it('a connection that is cut before the answer', async () => {
    const server = await tcp((socket) => socket.once('data', () => socket.resetAndDestroy()));
    const { error, failure } = await failing(target(server.port));
    expect([error.id, failure.kind]).toEqual(['upstream_failed', 'reset']);
    expect(failure.message).toContain('(upgrade)');
  });
});
