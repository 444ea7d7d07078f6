import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { RelayError } from '../../src/errors.js';
import type { Authorizer } from '../../src/upstream/authorizer.js';
import { authorizeWithKey } from '../../src/upstream/authorizer.js';
import { createCall, hangUp, mintKey } from '../../src/upstream/calls.js';
import type { DialFailure } from '../../src/upstream/failure.js';
import type { UpstreamTarget } from '../../src/upstream/target.js';

type Handler = (request: IncomingMessage, response: ServerResponse, body: string) => void;

async function target(
  handler: Handler,
  authorize: Authorizer = authorizeWithKey('CANARY-KEY'),
): Promise<UpstreamTarget> {
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    handler(request, response, body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const endpoint = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  return { name: 'a', endpoint, deployment: 'my-deployment', dialect: 'ga', authorize };
}

const options = { requestId: 'r', signal: new AbortController().signal, timeoutSeconds: 2 };
const session = { type: 'realtime', audio: { input: { transcription: { model: 'w' } } } };
const granted = JSON.stringify({ value: 'ek_1', expires_at: 9, session: { instructions: 'x' } });

async function failure(promise: Promise<unknown>): Promise<RelayError> {
  const error = await promise.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(RelayError);
  return error as RelayError;
}

describe('minting a key', () => {
  it('names the deployment and a life within what upstream takes', async () => {
    const bodies: unknown[] = [];
    const upstream = await target((_request, response, body) => {
      bodies.push(JSON.parse(body));
      response.end(granted);
    });
    const key = await mintKey(upstream, session, 1, options);
    expect(key).toMatchObject({ value: 'ek_1', expiresAt: 9, session: { instructions: 'x' } });
    await mintKey(upstream, session, 99_999, options);
    expect(bodies).toMatchObject([
      { expires_after: { anchor: 'created_at', seconds: 10 }, session: { ...session, model: 'my-deployment' } },
      { expires_after: { seconds: 7200 } },
    ]);
  });

  it('tries a refused credential anew, once', async () => {
    const seen: unknown[] = [];
    const upstream = await target(
      ({ headers }, response) => {
        seen.push(headers.authorization);
        response.writeHead(401).end('{"error":{"code":"401"}}');
      },
      {
        header: async () => ({ name: 'authorization', value: 'Bearer old' }),
        renew: async () => ({ name: 'authorization', value: 'Bearer new' }),
        status: () => ({ ready: true, detail: null }),
      },
    );
    expect(await failure(mintKey(upstream, session, 30, options))).toMatchObject({
      id: 'upstream_failed',
      cause: { kind: 'wrong_credential' },
    });
    expect(seen).toEqual(['Bearer old', 'Bearer new']);
  });

  it.each([
    [400, '{"error":{"code":"invalid_value"}}', 'upstream_configuration_failed', 'bad_request'],
    [307, '', 'upstream_failed', 'redirect'],
    [429, '', 'upstream_unavailable', 'throttled'],
    [500, '', 'upstream_failed', 'server_error'],
    [200, 'not JSON', 'upstream_failed', 'unknown'],
    [200, '{"value":"two\\nlines","expires_at":1}', 'upstream_failed', 'unknown'],
    [200, 'x'.repeat(2_000_000), 'upstream_failed', 'not_websocket'],
  ])('that is answered %s %.40s fails with %s', async (status, body, id, kind) => {
    const upstream = await target((_request, response) => response.writeHead(status).end(body));
    expect(await failure(mintKey(upstream, session, 30, options))).toMatchObject({ id, cause: { kind } });
  });

  it('keeps the credential out of what it says', async () => {
    const upstream = await target(({ headers }, response) => {
      const message = `bad ${headers['api-key']}`;
      response.writeHead(403).end(JSON.stringify({ error: { code: '403', message } }));
    });
    const { cause } = await failure(mintKey(upstream, session, 30, options));
    expect((cause as DialFailure).message).toBe('HTTP 403: 403, bad [credential]');
  });

  it('is given up when the time is over, be it for want of an answer or of a credential', async () => {
    const short = { ...options, timeoutSeconds: 0.05 };
    const mute = await target(() => undefined);
    expect(await failure(mintKey(mute, session, 30, short))).toMatchObject({ id: 'upstream_timeout' });
    const never = await target((_request, response) => response.end(granted), {
      header: () => new Promise(() => undefined),
      renew: async () => null,
      status: () => ({ ready: false, detail: null }),
    });
    expect(await failure(mintKey(never, session, 30, short))).toMatchObject({
      id: 'upstream_unavailable',
      cause: { kind: 'credential' },
    });
  });

  it('is given up when the client leaves', async () => {
    const leave = new AbortController();
    const mute = await target(() => leave.abort());
    expect(await failure(mintKey(mute, session, 30, { ...options, signal: leave.signal }))).toMatchObject({
      id: 'normal',
    });
  });
});

describe('offering a call', () => {
  const key = async (handler: Handler) =>
    mintKey(
      await target((request, response, body) => {
        if (request.url?.endsWith('/client_secrets')) response.end(granted);
        else handler(request, response, body);
      }),
      session,
      30,
      options,
    );

  it.each([
    ['/v1/realtime/calls/rtc_1', 'rtc_1'],
    ['https://x.test/openai/v1/realtime/calls/rtc_1?a=b', 'rtc_1'],
    ['/v1/realtime?call_id=rtc_1', 'rtc_1'],
  ])('reads the id from %s', async (location, id) => {
    const asked: unknown[] = [];
    const minted = await key(({ headers, url }, response, body) => {
      asked.push([url, headers.authorization, headers['api-key'], headers['content-type'], body]);
      response.writeHead(201, { location }).end('v=0\r\nanswer');
    });
    expect(await createCall(minted, 'v=0 offer', options)).toMatchObject({ id, answer: 'v=0\r\nanswer' });
    const path = '/openai/v1/realtime/calls?webrtcfilter=on';
    expect(asked).toEqual([[path, 'Bearer ek_1', undefined, 'application/sdp', 'v=0 offer']]);
  });

  it('does not repeat the key in what it says', async () => {
    const minted = await key(({ headers }, response) => response.writeHead(401).end(String(headers.authorization)));
    const { cause } = await failure(createCall(minted, 'v=0', options));
    expect(JSON.stringify([cause, (cause as Error).message])).not.toContain('ek_1');
  });
});

describe('hanging up', () => {
  it.each([
    [[200], 1],
    [[404], 1],
    [[500, 503, 200], 3],
  ])('is done after the answers %j', async (answers, count) => {
    const asked: unknown[] = [];
    const upstream = await target(({ url }, response) => {
      asked.push(url);
      response.writeHead(answers[asked.length - 1] ?? 200).end();
    });
    await hangUp({ upstream, id: 'rtc_1' }, options);
    expect(asked).toEqual(Array.from({ length: count }, () => '/openai/v1/realtime/calls/rtc_1/hangup'));
  });
});
