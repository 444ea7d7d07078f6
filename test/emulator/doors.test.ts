import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { makeCertificate } from '../support/certificate.js';
import { Caller, call, emulate, gaPath, previewPath, refused } from './caller.js';

const key = { 'api-key': 'emulator-key' };
const wrongKey =
  'Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource.';
const notRealtime =
  'The realtime operation does not work with the specified model. Please choose different model and try again.';

describe('the doors refuse like Azure', () => {
  it.each([
    ['an unknown path', '/openai/v2/realtime?model=gpt-realtime', key, 404, '404', 'Resource not found'],
    ['the translation path', '/openai/v1/realtime/translations?model=x', key, 404, '404', 'Resource not found'],
    ['a wrong key', gaPath, { 'api-key': 'wrong' }, 401, '401', wrongKey],
    ['no credential', gaPath, {}, 401, '401', wrongKey],
    ['a bearer token nobody accepts', gaPath, { authorization: 'Bearer bad' }, 401, '401', wrongKey],
    ['a dated api-version on GA', `${gaPath}&api-version=2025-04-01-preview`, key, 401, '401', wrongKey],
    ['an unknown deployment', '/openai/v1/realtime?model=nope', key, 404, 'DeploymentNotFound', undefined],
    [
      'a deployment named like a method',
      '/openai/v1/realtime?model=toString',
      key,
      404,
      'DeploymentNotFound',
      undefined,
    ],
    ['a chat deployment', '/openai/v1/realtime?model=gpt-4o', key, 400, 'OpperationNotSupported', notRealtime],
    ['no model', '/openai/v1/realtime', key, 400, 'BadRequest', undefined],
    ['an unknown call', '/openai/v1/realtime?call_id=rtc_1', key, 404, 'call_id_not_found', undefined],
    ['preview without api-version', '/openai/realtime?deployment=gpt-realtime', key, 404, '404', 'Resource not found'],
    [
      'an unknown api-version',
      '/openai/realtime?api-version=2024-12-17&deployment=gpt-realtime',
      key,
      404,
      '404',
      'Resource not found',
    ],
    ['a wrong key on preview', previewPath, { 'api-key': 'wrong' }, 401, '401', wrongKey],
    [
      'an unknown deployment on preview',
      '/openai/realtime?api-version=2025-04-01-preview&deployment=nope',
      key,
      404,
      'DeploymentNotFound',
      undefined,
    ],
    [
      'a chat deployment on preview',
      '/openai/realtime?api-version=2025-04-01-preview&deployment=gpt-4o',
      key,
      400,
      'OpperationNotSupported',
      notRealtime,
    ],
    [
      'a deployment on a preview transcription socket',
      '/openai/realtime?api-version=2025-04-01-preview&intent=transcription&deployment=whisper',
      key,
      400,
      'OpperationNotSupported',
      notRealtime,
    ],
  ])('%s', async (_name, path, headers, status, code, message) => {
    const emulator = await emulate({ bearer: (token) => token !== 'bad' });
    const answer = await refused(emulator, path, headers as Record<string, string>);
    expect(answer.status).toBe(status);
    expect(answer.body.error.code).toBe(code);
    if (message) expect(answer.body.error.message).toBe(message);
    expect(answer.headers['content-type']).toBe('application/json');
    for (const name of ['apim-request-id', 'x-ms-region', 'x-request-id']) expect(answer.headers[name]).toBeTruthy();
    expect(emulator.control.received.connections[0]?.refused).toBe(status);
  });

  it('a token at which the verifier throws', async () => {
    const bearer = () => {
      throw new Error('jwt malformed');
    };
    expect((await refused(await emulate({ bearer }), gaPath, { authorization: 'Bearer x' })).status).toBe(401);
  });

  it('more than ten custom headers', async () => {
    const emulator = await emulate();
    const many = Object.fromEntries(Array.from({ length: 11 }, (_, index) => [`x-custom-${index}`, '1']));
    expect((await refused(emulator, gaPath, { ...key, ...many })).status).toBe(431);
  });

  it.each([
    ['the beta header on GA', gaPath, { ...key, 'openai-beta': 'realtime=v1' }, 'beta_api_shape_disabled'],
    ['an unknown intent', '/openai/v1/realtime?intent=poetry', key, 'invalid_intent'],
  ])('%s, with an error event and close 4000', async (_name, path, headers, code) => {
    const caller = await call(await emulate(), path, headers);
    expect((await caller.error()).code).toBe(code);
    expect(await caller.closed).toEqual({ code: 4000, reason: `invalid_request_error.${code}` });
    expect(caller.seen.map((event) => event.type)).toEqual(['error']);
  });
});

describe('the doors open', () => {
  it.each([
    ['with a key', gaPath, key],
    ['with a bearer token', gaPath, { authorization: 'Bearer some.jwt' }],
    ['with a key in the query', `${gaPath}&api-key=emulator-key`, {}],
    ['on preview', previewPath, key],
    ['on preview with the beta header', previewPath, { ...key, 'openai-beta': 'realtime=v1' }],
    ['on preview with the first api-version', previewPath.replace('2025-04-01', '2024-10-01'), key],
  ])('%s, with correlation headers and session.created at once', async (_name, path, headers) => {
    const caller = await call(await emulate(), path, headers as Record<string, string>);
    expect(caller.answer?.headers['apim-request-id']).toBeTruthy();
    expect(caller.answer?.headers['x-request-id']).toBeTruthy();
    expect((await caller.until('session.created')).length).toBe(1);
  });

  it('with any credential when told so', async () => {
    const emulator = await emulate({ acceptAnyCredential: true, bearer: () => false });
    await (await call(emulator, gaPath, { 'api-key': 'whatever' })).until('session.created');
    await (await call(emulator, gaPath, { authorization: 'Bearer whatever' })).until('session.created');
    expect((await refused(emulator, gaPath, {})).status).toBe(401);
  });

  it('choosing the subprotocol realtime and never the one with the key', async () => {
    const emulator = await emulate();
    const socket = new WebSocket(
      emulator.url.replace('http', 'ws') + gaPath,
      ['openai-insecure-api-key.x', 'realtime'],
      {
        headers: key,
      },
    );
    await new Promise((resolve) => socket.once('open', resolve));
    expect(socket.protocol).toBe('realtime');
    socket.terminate();
  });

  it.each([
    ['GA', '/openai/v1/realtime?intent=transcription', 'session.created'],
    ['GA by deployment', '/openai/v1/realtime?model=whisper', 'session.created'],
    [
      'preview',
      '/openai/realtime?api-version=2025-04-01-preview&intent=transcription',
      'transcription_session.created',
    ],
  ])('to transcription on %s', async (_name, path, type) => {
    const caller = new Caller(await emulate(), path);
    const { session } = await caller.next<{ session: { object: string } }>(type);
    expect(session.object).toBe('realtime.transcription_session');
  });

  it('over TLS', async () => {
    const files = makeCertificate();
    const tls = { cert: readFileSync(files.cert), key: readFileSync(files.key) };
    const emulator = await emulate({ tls });
    expect(emulator.url).toMatch(/^https:/);
    const caller = await call(emulator);
    await caller.until('session.created');
    caller.send({ type: 'response.create' });
    await caller.until('response.done');
  });
});

describe('plain HTTP', () => {
  it.each([
    ['/healthz', 200],
    ['/openai/v1/realtime', 426],
    ['/nothing', 404],
  ])('%s answers %i', async (path, status) => {
    expect((await fetch((await emulate()).url + path)).status).toBe(status);
  });
});
