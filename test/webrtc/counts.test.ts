import { describe, expect, it } from 'vitest';
import { connect } from '../support/client.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';
import { call, post } from './caller.js';

async function opened(limits = '') {
  // Of the two services, this one reports what is left of its limits.
  const emulator = await startTestEmulator({ like: 'openai' });
  const yaml = limits && `profiles: { default: { limits: { ${limits} } } }`;
  const relay = await startTestRelay({ upstream: emulator.url, ...(yaml && { yaml }) });
  return { emulator, relay };
}

const hello = {
  type: 'conversation.item.create',
  item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Hello' }] },
};

describe('a call counts', () => {
  it('in every metric of sessions and of what they cost, and in its usage record', async () => {
    const { relay } = await opened();
    const { caller } = await call(relay);
    await relay.logged('session.opened');
    caller.send(hello);
    caller.send({ type: 'response.create' });
    await caller.event('output_audio_buffer.started');
    expect(await relay.metric('relay_sessions_active')).toBe(1);
    await caller.close();
    const ended = await relay.logged('session.ended');
    const counted = {
      relay_sessions_total: { outcome: 'ready' },
      relay_session_ends_total: { reason: 'normal', initiator: 'upstream' },
      relay_session_duration_seconds_count: {},
      relay_session_ready_seconds_count: {},
      relay_clients_total: { dialect: 'ga' },
      relay_upstream_dial_seconds_count: { outcome: 'ok' },
      relay_first_audio_seconds_count: {},
    };
    for (const [name, labels] of Object.entries(counted)) expect(await relay.metric(name, labels), name).toBe(1);
    for (const kind of ['input_text', 'output_audio']) {
      expect(await relay.metric('relay_tokens_total', { kind }), kind).toBeGreaterThan(0);
    }
    expect(await relay.metric('relay_bytes_total', { direction: 'down' })).toBeGreaterThan(1000);
    expect(await relay.metric('relay_rate_limit_remaining', { name: 'tokens' })).toBeGreaterThan(0);

    const usage = await relay.logged('session.usage');
    expect(usage).toMatchObject({ responses: 1, complete: true, session: ended.session });
    expect(usage.total_tokens).toBe(ended.tokens);
    // Not known, which is not the same as none.
    expect(usage).toMatchObject({ input_audio_seconds: null, output_audio_seconds: null });
    expect(ended).toMatchObject({ audioSecondsUp: null, audioSecondsDown: null });
    expect(await relay.metric('relay_audio_seconds_total')).toBe(0);
  });

  it('among the sessions of a user, whichever way they are connected', async () => {
    const { relay } = await opened('sessions_per_user: 2');
    const { caller } = await call(relay);
    await connect(`${relay.address}/openai/v1/realtime?model=x`, { headers: { 'api-key': relay.token() } });
    const third = await post(relay, caller.offer);
    expect([third.status, await third.json()]).toMatchObject([429, { error: { code: 'rate_limited' } }]);
  });

  it('in the sessions of a day', async () => {
    const { relay } = await opened('sessions_per_day: 1');
    const { caller } = await call(relay);
    await relay.logged('session.opened');
    const second = await post(relay, caller.offer);
    expect([second.status, await second.json()]).toMatchObject([429, { error: { code: 'quota_exceeded' } }]);
    expect(caller.isClosed).toBe(false);
  });

  it('in the minutes of a day, which end it', async () => {
    const { relay } = await opened('minutes_per_day: 0.03');
    const { caller } = await call(relay);
    await caller.closed();
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'quota_exceeded', transport: 'webrtc' });
    expect((await post(relay, caller.offer)).status).toBe(429);
  });
});
