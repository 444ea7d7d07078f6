import { once } from 'node:events';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { keyOf, sign } from '../../src/outbound/sign.js';
import { toolSchema } from '../../src/policy/tools.js';
import { createJudge } from '../../src/tools/arguments.js';
import type { ToolPorts } from '../../src/tools/asking.js';
import { createHttpRun } from '../../src/tools/http.js';
import type { ToolCall, ToolResult } from '../../src/tools/tool.js';
import { textOf } from '../project/tables.js';
import { closedPort, proxy, tcp } from '../upstream/servers.js';
import { call, endpoint, ports, unending, user } from './support.js';

type Http = Record<string, unknown> & { url: string };

function run(
  http: Http,
  asked: ToolCall,
  more: object = {},
  given: ToolPorts = ports(),
  signal = unending,
): Promise<ToolResult> {
  const tool = toolSchema.parse({ name: 'order_status', runs: 'http', http, ...more });
  if (tool.runs !== 'http') throw new Error('is none');
  return createHttpRun(tool, createJudge(tool), given)(asked, signal);
}

const json = (value: unknown, headers = {}) =>
  endpoint((_, response) => {
    response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));
  });
const failed =
  '{"error":"failed","message":"The lookup did not work. Tell the user that it is not available right now."}';

describe('a POST', () => {
  it('brings call, session, user and the named claims, and no more', async () => {
    const { url, asked } = await json({ status: 'sent' });
    const claims = { email: 'ada@example.com', 'https://a.b/role': 'r', nested: { deep: [1] }, secret: 'no' };
    const result = await run(
      { url, claims: ['email', 'https://a.b/role', 'nested.deep', 'missing'] },
      call({ order: '5' }, user(claims)),
    );
    expect(result).toEqual({ outcome: 'ok', output: '{"status":"sent"}', status: 200, bytes: 17 });
    expect(JSON.parse(asked[0]?.body ?? '')).toEqual({
      name: 'order_status',
      call_id: 'call_1',
      arguments: { order: '5' },
      session: { id: 'sess_1' },
      user: { issuer: 'https://issuer.test', tenant: null, subject: 'ada' },
      claims: { email: 'ada@example.com', 'https://a.b/role': 'r', 'nested.deep': [1] },
    });
    const { host, 'content-length': length, connection, ...headers } = asked[0]?.headers ?? {};
    expect(headers).toEqual({
      'content-type': 'application/json',
      accept: 'application/json, text/plain',
      'accept-encoding': 'identity',
      'user-agent': expect.stringMatching(/^realtime-relay\/\d/),
      'x-request-id': 'request-1',
    });
  });

  it('is what the documents show', async () => {
    const text = textOf('docs/tools.md');
    const [, example = ''] = /```yaml\n(profiles:[\s\S]*?)```/.exec(text) ?? [];
    const [, shown = ''] = /```json\n([\s\S]*?)```/.exec(text) ?? [];
    const [{ runs: _, http, ...more }] = parse(example).profiles.default.tools;
    const { url, asked } = await json(1);
    const principal = {
      issuer: 'https://id.example.com',
      tenant: 'acme',
      subject: 'ada',
      claims: { email: 'ada@example.com' },
    };
    const result = await run({ ...http, url }, call({ order: '12345' }, { principal }), more);
    expect(result.outcome).toBe('ok');
    expect(JSON.parse(asked[0]?.body ?? '')).toEqual(JSON.parse(shown));
  });

  it('sends arguments as the model wrote them', async () => {
    const { url, asked } = await json(1);
    await run({ url }, call('{ "id": 12345678901234567890, "x": 1.0 }'));
    expect(asked[0]?.body).toContain('"arguments":{ "id": 12345678901234567890, "x": 1.0 },');
    await run({ url }, call(''));
    expect(JSON.parse(asked[1]?.body ?? '').arguments).toEqual({});
  });

  it('has the trace of its session, where one is traced', async () => {
    const { url, asked } = await json(1);
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    await run({ url }, call({}, { traceparent }));
    expect(asked[0]?.headers.traceparent).toBe(traceparent);
  });

  it('is signed over the bytes that are sent, by both secrets of an exchange', async () => {
    const secrets = ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD'];
    const { url, asked } = await json(1);
    await run({ url, secret: secrets }, call({ a: 'ü' }, { callId: 'call.1/x' }));
    await run({ url, secret: secrets[0] }, call());
    for (const [index, used] of [secrets, [secrets[0] as string]].entries()) {
      const { headers, body } = asked[index] as (typeof asked)[number];
      const id = String(headers['webhook-id']);
      const timestamp = Number(headers['webhook-timestamp']);
      expect(id).toBe(index === 0 ? 'sess_1_call_1_x' : 'sess_1_call_1');
      expect(Math.abs(timestamp - Date.now() / 1000)).toBeLessThan(10);
      expect(headers['webhook-signature']).toBe(used.map((one) => sign(keyOf(one), id, timestamp, body)).join(' '));
    }
  });
});

describe('a GET', () => {
  const get = (url: string) => ({ url, method: 'GET' });

  it('has the arguments behind the query of its URL, in their order and words', async () => {
    const { url, asked } = await json(1);
    const args = '{"b":"x y&z=ü","2":12345678901234567890,"1":true,"n":null,"l":[1, "a"],"o":{"k":null},"e":""}';
    await run(get(`${url}s?v=1&w`), call(args));
    expect(asked[0]).toMatchObject({ method: 'GET', body: '' });
    expect(asked[0]?.url).toBe(
      `/s?v=1&w&b=x%20y%26z%3D%C3%BC&2=12345678901234567890&1=true&l=${encodeURIComponent('[1, "a"]')}&o=${encodeURIComponent('{"k":null}')}&e=`,
    );
    await run(get(url), call(''));
    expect(asked[1]?.url).toBe('/');
  });

  it('is not made where the model names a parameter of the URL, or too much', async () => {
    const { url, asked } = await json(1);
    const results = await Promise.all([
      run(get(`${url}?user=ada`), call({ user: 'eve' })),
      run(get(`${url}?user=ada`), call('{"us\\u0065r":"eve"}')),
      run(get(`${url}?user=ada`), call({ User: 'eve' })),
      run(get(url), call({ long: 'x'.repeat(9000) })),
    ]);
    expect(results.map(({ outcome }) => outcome)).toEqual(Array(4).fill('invalid_arguments'));
    expect(results[0]?.output).toContain('user must not be given');
    expect(asked).toEqual([]);
  });
});

describe('arguments that do not fit', () => {
  it('are not sent, and the model is told what the schema says', async () => {
    const { url, asked } = await json(1);
    const parameters = { type: 'object', properties: { order: { type: 'string' } }, required: ['order'] };
    const result = await run({ url }, call({ order: 5 }), { parameters });
    expect(result).toMatchObject({ outcome: 'invalid_arguments', bytes: 0 });
    expect(JSON.parse(result.output)).toEqual({
      error: 'invalid_arguments',
      message: 'The arguments were wrong: order must be string. Correct them and call again.',
    });
    expect(asked).toEqual([]);
  });
});

describe('headers', () => {
  it('say of the user what they are configured to, whole or not at all', async () => {
    const { url, asked } = await json(1);
    const headers = {
      'X-User': 'u={{claims.sub}}',
      'x-groups': '{{ claims.groups }}',
      'x-issuer': '{{issuer}}',
      'x-a': 'b',
    };
    await run({ url, headers }, call({}, user({ sub: 'Ada Lovelace', groups: ['a', 1, true] })));
    expect(asked[0]?.headers).toMatchObject({
      'x-user': 'u=Ada Lovelace',
      'x-groups': 'a,1,true',
      'x-issuer': 'https://issuer.test',
      'x-a': 'b',
    });
  });

  it.each<[string, unknown]>([
    ['missing', undefined],
    ['null', null],
    ['empty', ''],
    ['an object', { a: 1 }],
    ['an empty list', []],
    ['a list with an object in it', ['a', {}]],
    ['a list with an empty text in it', ['a', '']],
    ['a list with a comma in a value', ['a', 'x,admin']],
    ['with a line end', 'a\r\nx-admin: 1'],
    ['with a NUL', 'a\0'],
    ['not ASCII', 'Zoë'],
    ['that begins with a blank', ' admin'],
    ['that ends with a blank', 'admin '],
    ['over 256 characters', 'a'.repeat(257)],
    ['a list over 256 characters', Array(60).fill('abcde')],
    ['out of range', Number.POSITIVE_INFINITY],
  ])('with a claim that is %s are not sent at all', async (_name, value) => {
    const { url, asked } = await json(1);
    const result = await run({ url, headers: { 'x-user': '{{claims.it}}' } }, call({}, user({ it: value })));
    expect(result).toMatchObject({ outcome: 'refused', error: { kind: 'claim' } });
    expect(result.output).toContain('This is not allowed.');
    expect(asked).toEqual([]);
  });
});

describe('a credential', () => {
  it('is a bearer, or the Entra token of a scope', async () => {
    const { url, asked } = await json(1);
    await run({ url, auth: { bearer: 'abc' } }, call());
    await run({ url, auth: { entra_scope: 'api://x/.default' } }, call());
    await run({ url }, call());
    expect(asked.map(({ headers }) => headers.authorization)).toEqual([
      'Bearer abc',
      'Bearer token-1-for-api://x/.default',
      undefined,
    ]);
  });

  it('that is not to be had fails the call, and is waited for no longer than the call may take', async () => {
    const { url, asked } = await json(1);
    const http = { url, auth: { entra_scope: 'api://x/.default' } };
    const credentials = (token: () => Promise<string>) =>
      ports({ credentials: { token, refresh: token, want: () => undefined } });
    const none = credentials(() => Promise.reject(new Error('identity: secret words')));
    expect(await run(http, call(), {}, none)).toEqual({
      outcome: 'failed',
      output: failed,
      bytes: 0,
      error: { kind: 'token', message: 'No Microsoft Entra token is to be had.' },
    });
    const never = credentials(() => new Promise(() => undefined));
    expect(await run(http, call(), { timeout_seconds: 0.1 }, never)).toMatchObject({ outcome: 'timeout' });
    expect(asked).toEqual([]);
  });

  it('that is refused is not tried twice', async () => {
    const { url, asked } = await endpoint((_, response) => response.writeHead(401).end());
    const result = await run({ url, auth: { entra_scope: 'api://x/.default' } }, call());
    expect(result).toMatchObject({ outcome: 'failed', status: 401, error: { kind: 'status' } });
    expect(asked).toHaveLength(1);
  });
});

describe('an answer', () => {
  const answer = (body: string | Buffer, headers: Record<string, string> = {}, status = 200) =>
    endpoint((_, response) => response.writeHead(status, headers).end(body));

  it.each([
    ['JSON', 'application/json; charset=utf-8', '{"a": 1}'],
    ['a kind of JSON', 'application/problem+json', '[1]'],
    ['plain text', 'text/plain', 'It is on its way.'],
    ['Markdown', 'text/markdown', '# Sent'],
    ['a table', 'text/csv', 'a,b'],
    ['lines of JSON', 'application/x-ndjson', '{}\n{}'],
    ['of no type', '', 'grüß'],
  ])('%s is given as it is', async (_name, type, body) => {
    const { url } = await answer(body, type ? { 'content-type': type } : {});
    expect(await run({ url }, call())).toMatchObject({ outcome: 'ok', output: body, bytes: Buffer.byteLength(body) });
  });

  it.each([204, 200, 202])('without a body (%s) is an empty output', async (status) => {
    const { url } = await answer('', { 'content-type': 'text/html' }, status);
    expect(await run({ url }, call())).toEqual({ outcome: 'ok', output: '', status, bytes: 0 });
  });

  it.each<[string, string, string | Buffer, Record<string, string>, number]>([
    ['HTML', 'type', '<html>canary', { 'content-type': 'text/html' }, 200],
    ['an image', 'type', 'canary', { 'content-type': 'image/png' }, 200],
    ['JSON that is none', 'body', '{"canary"', { 'content-type': 'application/json' }, 200],
    ['compressed', 'encoding', gzipSync('canary'), { 'content-type': 'text/plain', 'content-encoding': 'gzip' }, 200],
    ['not UTF-8', 'encoding', Buffer.from([0x63, 0xff]), { 'content-type': 'text/plain' }, 200],
    ['an error', 'status', 'canary', { 'content-type': 'text/plain' }, 500],
    ['a refusal', 'status', 'canary', { 'content-type': 'text/plain' }, 404],
    ['a redirect to the metadata service', 'status', '', { location: 'http://169.254.169.254/canary' }, 307],
    ['over 16 KiB', 'too_big', 'x'.repeat(16 * 1024 + 1), { 'content-type': 'text/plain' }, 200],
  ])('that is %s fails, and the model hears nothing of it', async (_name, kind, body, headers, status) => {
    const { url, asked } = await answer(body, headers, status);
    const result = await run({ url }, call());
    expect(result).toMatchObject({ outcome: 'failed', output: failed, error: { kind } });
    expect(JSON.stringify(result)).not.toContain('canary');
    expect(asked).toHaveLength(1);
  });

  it('of exactly 16 KiB is taken', async () => {
    const { url } = await answer('x'.repeat(16 * 1024), { 'content-type': 'text/plain' });
    expect(await run({ url }, call())).toMatchObject({ outcome: 'ok', bytes: 16 * 1024 });
  });

  it('without an end is cut off at once', async () => {
    let sent = 0;
    const { url } = await endpoint((_, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': 100_000_000 });
      const more = () => {
        while (!response.destroyed && sent < 100_000_000 && response.write('x'.repeat(64 * 1024))) sent += 64 * 1024;
      };
      response.on('drain', more);
      more();
    });
    expect(await run({ url }, call())).toMatchObject({ outcome: 'failed', error: { kind: 'too_big' } });
    expect(sent).toBeLessThan(20_000_000);
  });

  it('goes to whom the tool says', async () => {
    const { url } = await answer('{"a":1}', { 'content-type': 'text/plain' });
    const text = await answer('sent', { 'content-type': 'text/plain' });
    const empty = await answer('');
    const told = async (at: string, result: string) => {
      const { output, result: shown } = await run({ url: at }, call(), { result });
      return [output, shown];
    };
    expect(await told(url, 'model')).toEqual(['{"a":1}', undefined]);
    expect(await told(url, 'both')).toEqual(['{"a":1}', { a: 1 }]);
    expect(await told(url, 'client')).toEqual(['', { a: 1 }]);
    expect(await told(text.url, 'client')).toEqual(['', 'sent']);
    expect(await told(empty.url, 'both')).toEqual(['', '']);
    expect(await run({ url: `http://127.0.0.1:${await closedPort()}` }, call(), { result: 'both' })).not.toHaveProperty(
      'result',
    );
  });
});

describe('an endpoint', () => {
  it('that hangs, or drips, ends with the time of the tool', async () => {
    const hanging = await endpoint(() => undefined);
    const dripping = await endpoint((_, response) => {
      response.writeHead(200, { 'content-type': 'text/plain' });
      const drip = setInterval(() => response.write('x'), 20);
      response.once('close', () => clearInterval(drip));
    });
    for (const { url } of [hanging, dripping]) {
      const started = performance.now();
      const result = await run({ url }, call(), { timeout_seconds: 0.2 });
      expect(result).toMatchObject({ outcome: 'timeout', error: { kind: 'timeout' } });
      expect(result.output).toContain('The lookup took too long.');
      expect(performance.now() - started).toBeLessThan(1500);
    }
  });

  it('has no more time than is left of the call', async () => {
    const { url } = await endpoint(() => undefined);
    expect(await run({ url }, call({}, { leftMs: 50 }))).toMatchObject({ outcome: 'timeout' });
    expect(await run({ url }, call({}, { leftMs: 0 }))).toMatchObject({ outcome: 'timeout' });
  });

  it('is hung up on when the call is given up', async () => {
    const silent = await tcp((socket) => socket.resume());
    const stop = new AbortController();
    const running = run({ url: `http://127.0.0.1:${silent.port}` }, call(), {}, ports(), stop.signal);
    await expect.poll(() => silent.sockets.length).toBe(1);
    const closed = once(silent.sockets[0] as never, 'close');
    stop.abort('interrupted');
    expect(await running).toMatchObject({ outcome: 'aborted', error: { kind: 'interrupted' } });
    await closed;
    const ended = new AbortController();
    ended.abort('ended');
    expect(await run({ url: 'http://127.0.0.1:1' }, call(), {}, ports(), ended.signal)).toMatchObject({
      outcome: 'aborted',
      error: { kind: 'ended' },
    });
  });

  it.each<[string, (port: number) => string]>([
    ['that closes before it answers', (port) => `http://127.0.0.1:${port}`],
  ])('%s fails once', async (_name, at) => {
    const closing = await tcp((socket) => socket.once('data', () => socket.destroy()));
    expect(await run({ url: at(closing.port) }, call())).toMatchObject({
      outcome: 'failed',
      output: failed,
      error: { kind: 'network' },
    });
    expect(closing.sockets).toHaveLength(1);
  });

  it('where nobody listens fails', async () => {
    const result = await run({ url: `http://127.0.0.1:${await closedPort()}` }, call());
    expect(result).toMatchObject({ outcome: 'failed', error: { kind: 'network' } });
  });
});

describe('a proxy', () => {
  const through = (port: number) => ports({ proxy: { url: `http://127.0.0.1:${port}`, except: '' } });

  it('is asked for names, with either scheme, and not for private addresses', async () => {
    const { port, url } = await json('yes');
    const between = await proxy(port);
    const named = await run({ url: 'http://orders.example/' }, call(), {}, through(between.port));
    expect(named).toMatchObject({ outcome: 'ok', output: '"yes"' });
    expect(between.asked).toEqual(['orders.example:80']);
    await run({ url }, call(), {}, through(between.port));
    expect(between.asked).toHaveLength(1);
    const direct = await run(
      { url: `http://10.255.255.1:9/` },
      call(),
      { timeout_seconds: 0.1 },
      through(between.port),
    );
    expect(direct.outcome).not.toBe('ok');
    expect(between.asked).toHaveLength(1);
  });

  it('that refuses fails the call', async () => {
    const between = await proxy(1, 403);
    const result = await run({ url: 'https://orders.example/' }, call(), {}, through(between.port));
    expect(result).toMatchObject({ outcome: 'failed', output: failed, error: { kind: 'proxy' } });
  });
});

it('nothing of arguments, claims and answers is in what may be logged', async () => {
  const ends: ToolResult[] = [];
  const canary = 'CANARY';
  const asked = call({ a: canary, [canary]: { b: canary } }, user({ sub: canary, groups: [canary, `${canary}\n`] }));
  const parameters = {
    type: 'object',
    properties: { a: { type: 'integer' } },
    additionalProperties: { type: 'string' },
  };
  const broken = await endpoint((_, response) => response.writeHead(500, canary, { 'x-a': canary }).end(canary));
  const html = await endpoint((_, response) =>
    response.writeHead(200, { 'content-type': `text/${canary}` }).end(canary),
  );
  const garbage = await tcp((socket) => socket.end(`HTTP/1.1 ${canary}\r\n${canary}: ${canary}\r\n\r\n`));
  const claim = { 'x-user': '{{claims.groups}}' };
  for (const url of [
    broken.url,
    html.url,
    `http://127.0.0.1:${garbage.port}`,
    `http://127.0.0.1:${await closedPort()}`,
  ]) {
    for (const method of ['POST', 'GET']) {
      ends.push(await run({ url, method, headers: { 'x-user': '{{claims.sub}}' } }, asked));
      ends.push(await run({ url, method }, asked, { parameters }));
      ends.push(await run({ url, method, headers: claim }, asked));
    }
  }
  expect(ends.map(({ outcome }) => outcome)).not.toContain('ok');
  expect(JSON.stringify(ends)).not.toContain(canary);
});
