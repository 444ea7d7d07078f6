import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import type { Emulator } from '../../src/emulator/emulator.js';
import { type FaultName, faultNames } from '../../src/emulator/faults.js';
import { Caller, call, emulate, gaPath, refused, say, update } from './caller.js';

/** Time enough for the emulator to have read or sent, if it would: it does this much for somebody else meanwhile. */
async function roundTrips(emulator: Emulator, count: number): Promise<void> {
  const other = await call(emulator);
  for (let round = 0; round < count; round++) {
    other.send({ type: 'input_audio_buffer.clear' });
    await other.until('input_audio_buffer.cleared');
  }
}

const path = (fault: string) => `${gaPath}&fault=${fault}`;

describe('at the handshake', () => {
  it.each([
    ['refuse_400', 400, 'OpperationNotSupported'],
    ['refuse_400_missing', 400, 'BadRequest'],
    ['refuse_401', 401, '401'],
    ['refuse_401_permission', 401, 'PermissionDenied'],
    ['refuse_403', 403, '403'],
    ['refuse_403_private', 403, 'AccessDenied'],
    ['refuse_404', 404, '404'],
    ['refuse_404_deployment', 404, 'DeploymentNotFound'],
    ['refuse_404_call', 404, 'call_id_not_found'],
    ['refuse_426', 426, 'UpgradeRequired'],
    ['refuse_429', 429, '429'],
    ['refuse_431', 431, '431'],
    ['refuse_500', 500, 'InternalServerError'],
    ['refuse_503', 503, 'ServiceUnavailable'],
  ] as const)('%s answers %i %s once, and then all is well', async (fault, status, code) => {
    const emulator = await emulate();
    emulator.control.faults.arm(fault);
    const answer = await refused(emulator, gaPath);
    expect([answer.status, answer.body.error.code]).toEqual([status, code]);
    await (await call(emulator)).until('session.created');
  });

  it('refuse_429 says when to come back', async () => {
    const emulator = await emulate();
    emulator.control.faults.arm({ fault: 'refuse_429', count: 2, retryAfterSeconds: 7 });
    for (let attempt = 0; attempt < 2; attempt++) {
      const answer = await refused(emulator, gaPath);
      expect(answer.headers['retry-after']).toBe('7');
      expect(answer.body.error.message).toContain('Please retry after 7 seconds.');
    }
    expect(emulator.control.faults.list()).toEqual([]);
  });

  it('redirect points elsewhere', async () => {
    const answer = await refused(await emulate(), path('redirect'));
    expect(answer.status).toBe(307);
    expect(answer.headers.location).toContain('/openai/v1/realtime');
  });

  it('hang never answers', async () => {
    const emulator = await emulate();
    const caller = new Caller(emulator, path('hang'));
    await emulator.control.received.waitFor(({ connections }) => connections[0]?.refused === 'hang');
    expect(caller.socket.readyState).toBe(WebSocket.CONNECTING);
    await emulator.close();
    expect((await caller.closed).code).toBe(1006);
  });

  it.each([
    ['reset', /ECONNRESET|socket hang up/],
    ['not_http', /Parse Error/],
    ['bad_accept', /Sec-WebSocket-Accept/],
  ])('%s breaks the upgrade', async (fault, message) => {
    const emulator = await emulate();
    const socket = new WebSocket(emulator.url.replace('http', 'ws') + path(fault), {
      headers: { 'api-key': 'emulator-key' },
    });
    const [error] = (await once(socket, 'error')) as [Error];
    expect(error.message).toMatch(message);
  });
});

describe('of a session', () => {
  it('silent sends nothing at all', async () => {
    const emulator = await emulate();
    const caller = await call(emulator, path('silent'));
    caller.send(update({}), { type: 'nonsense' });
    await emulator.control.received.waitFor((received) => received.errors === 1);
    expect(caller.seen).toEqual([]);
  });

  it('expire_early tells session_expired and closes 1001', async () => {
    const caller = await call(await emulate(), `${path('expire_early')}&fault_ms=1`);
    expect((await caller.error()).code).toBe('session_expired');
    const reason = 'Your session hit the maximum duration of 60 minutes.';
    expect(await caller.closed).toEqual({ code: 1001, reason });
  });

  it('stop_reading reads no more once the session was configured', async () => {
    const emulator = await emulate();
    const caller = await call(emulator, path('stop_reading'));
    caller.send(update({}));
    await caller.until('session.updated');
    const piece = 'A'.repeat(1024 * 1024);
    for (let count = 0; count < 30; count++) caller.send({ type: 'input_audio_buffer.append', audio: piece });
    await roundTrips(emulator, 20);
    expect(caller.socket.bufferedAmount).toBeGreaterThan(1024 * 1024);
    expect(emulator.control.received.events('input_audio_buffer.append').length).toBeLessThan(5);
  });

  it('reject_update answers one session.update with an error that names it', async () => {
    const emulator = await emulate();
    emulator.control.faults.arm('reject_update');
    const caller = await call(emulator);
    caller.send(update({ instructions: 'x' }, 'evt_1'));
    expect((await caller.error()).event_id).toBe('evt_1');
    caller.send(update({ instructions: 'x' }));
    await caller.until('session.updated');
  });

  it('ignore_update never acknowledges', async () => {
    const caller = await call(await emulate(), path('ignore_update'));
    caller.send(update({ instructions: 'x' }), { type: 'input_audio_buffer.clear' });
    const events = await caller.until('input_audio_buffer.cleared');
    expect(events.map((event) => event.type)).not.toContain('session.updated');
  });
});

describe('of a response', () => {
  it('mute answers nothing', async () => {
    const caller = await call(await emulate(), path('mute'));
    caller.send(say('hi'), { type: 'response.create' }, { type: 'input_audio_buffer.clear' });
    const events = await caller.until('input_audio_buffer.cleared');
    expect(events.some((event) => event.type.startsWith('response.'))).toBe(false);
  });

  it('die_mid_response drops the line after some deltas', async () => {
    const caller = await call(await emulate(), path('die_mid_response'));
    caller.send(say('a few words to say'), { type: 'response.create' });
    expect((await caller.closed).code).toBe(1006);
    expect(caller.seen.filter((event) => event.type.endsWith('.delta')).length).toBeLessThan(4);
    expect(caller.seen.map((event) => event.type)).not.toContain('response.done');
  });

  it('close_mid_response closes 1011 after two deltas', async () => {
    const caller = await call(await emulate(), path('close_mid_response'));
    caller.send(say('a few words to say'), { type: 'response.create' });
    expect((await caller.closed).code).toBe(1011);
    expect(caller.seen.filter((event) => event.type.endsWith('.delta'))).toHaveLength(2);
  });

  it('slow keeps the first audio back', async () => {
    const emulator = await emulate();
    emulator.control.faults.arm({ fault: 'slow', delayMs: 60 });
    const caller = await call(emulator);
    caller.send(say('hi'), { type: 'response.create' });
    await caller.until('response.content_part.added');
    const start = performance.now();
    await caller.until('response.output_audio.delta');
    expect(performance.now() - start).toBeGreaterThan(50);
  });

  it.each([
    ['garbage', (text: string) => expect(() => JSON.parse(text)).toThrow()],
    ['array', (text: string) => expect(Array.isArray(JSON.parse(text))).toBe(true)],
    ['huge', (text: string) => expect(text.length).toBe(33_000_000)],
    ['unknown_event', (text: string) => expect(text).toContain('CANARY-INSTRUCTIONS')],
  ])('%s sends one odd text frame before the answer', async (fault, check) => {
    const emulator = await emulate();
    emulator.control.faults.arm(fault as FaultName);
    const caller = await call(emulator);
    caller.send({ type: 'response.create' });
    await caller.until('response.done');
    expect(caller.frames[1]?.isBinary).toBe(false);
    check(caller.frames[1]?.data.toString() ?? '');
  });

  it('binary sends one binary frame', async () => {
    const caller = await call(await emulate(), path('binary'));
    caller.send({ type: 'response.create' });
    await caller.until('response.done');
    expect(caller.frames[1]?.isBinary).toBe(true);
  });

  it('flood sends as much as was asked for, no faster than it is read', async () => {
    const emulator = await emulate();
    emulator.control.faults.arm({ fault: 'flood', bytes: 16 * 1024 * 1024 });
    const caller = await call(emulator);
    await caller.until('session.created');
    caller.socket.pause();
    const before = process.memoryUsage().external;
    caller.send({ type: 'response.create' });
    await emulator.control.received.waitFor(({ open }) => open[0]?.eventCount === 1);
    await roundTrips(emulator, 20);
    expect(process.memoryUsage().external - before).toBeLessThan(12 * 1024 * 1024);
    caller.socket.resume();
    const events = await caller.until('response.done');
    const bytes = events
      .filter((event) => event.type === 'response.output_audio.delta')
      .reduce((sum, event) => sum + String(event.delta).length, 0);
    expect(Math.abs(bytes - 16 * 1024 * 1024)).toBeLessThan(100_000);
  });
});

it('strikes open connections now when told so', async () => {
  const emulator = await emulate();
  const [one, two] = [await call(emulator), await call(emulator)];
  await one.until('session.created');
  await two.until('session.created');
  expect(emulator.control.faults.strike('unknown_event')).toBe(2);
  await one.until('session.debug_snapshot');
  await two.until('session.debug_snapshot');
  expect(emulator.control.faults.strike('die_mid_response', emulator.control.received.open[0]?.id)).toBe(1);
  expect((await one.closed).code).toBe(1006);
  expect(two.socket.readyState).toBe(WebSocket.OPEN);
});

it('refuses to arm a fault that does not exist', async () => {
  const { control } = await emulate();
  expect(() => control.faults.arm('refuse_418' as FaultName)).toThrow(RangeError);
  expect(faultNames).toContain('refuse_429');
});
