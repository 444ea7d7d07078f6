import { describe, expect, it } from 'vitest';
import { startTestEmulator, startTestRelay } from '../support/relay.js';
import { startUpstream } from '../support/upstream.js';

const yaml = `
profiles:
  default:
    aliases: [voice]
    session:
      instructions: You help {{claims.name}} with secret recipe 17.
      tools:
        - { type: function, name: hidden_tool, description: canary, parameters: { type: object } }
      audio: { output: { voice: marin } }
`;

describe('opening a session', () => {
  it('shows the client the effective configuration and hides what the server owns', async () => {
    const emulator = await startTestEmulator();
    const { connect, token } = await startTestRelay({ upstream: emulator.url, yaml });
    const client = await connect({
      path: '/openai/v1/realtime?model=voice',
      token: token({ claims: { name: 'Ada' } }),
    });
    const { session } = await client.next('session.created');
    expect(session).toMatchObject({
      type: 'realtime',
      model: 'voice',
      instructions: '',
      tools: [],
      audio: { output: { voice: 'marin', format: { type: 'audio/pcm', rate: 24000 } } },
    });
    expect(client.raw.join()).not.toMatch(/recipe|hidden_tool|canary|gpt-realtime/);
    const [connection] = emulator.control.received.connections;
    expect(connection?.events[0]?.body).toMatchObject({
      type: 'session.update',
      session: { type: 'realtime', instructions: 'You help Ada with secret recipe 17.' },
    });
  });

  it('sends the configuration before anything the client said, and then all of it in order', async () => {
    const emulator = await startTestEmulator();
    const { connect } = await startTestRelay({ upstream: emulator.url });
    const client = await connect();
    // Sent in the turn of the event loop in which the handshake ended: upstream is not even dialled yet.
    for (let i = 0; i < 20; i++) {
      client.send({
        type: 'conversation.item.create',
        item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: `${i}` }] },
      });
    }
    client.send({ type: 'response.create', response: { output_modalities: ['text'] } });
    await client.next('response.done');
    const [connection] = emulator.control.received.connections;
    const types = connection?.events.map(({ type }) => type);
    expect(types).toEqual(['session.update', ...Array(20).fill('conversation.item.create'), 'response.create']);
    const texts = connection?.events.slice(1, 21).map(({ body }) => JSON.stringify(body).match(/"text":"(\d+)"/)?.[1]);
    expect(texts).toEqual(Array.from({ length: 20 }, (_, i) => String(i)));
    expect(client.types()[0]).toBe('session.created');
  });

  it('never forwards anything when the configuration is rejected', async () => {
    const emulator = await startTestEmulator();
    emulator.control.faults.arm('reject_update');
    const { connect } = await startTestRelay({ upstream: emulator.url });
    const client = await connect();
    client.send({ type: 'response.create' });
    const { error } = await client.next('error');
    expect(error).toMatchObject({ code: 'upstream_configuration_failed', retryable: true });
    expect(await client.closed).toEqual({ code: 1011, reason: 'upstream_configuration_failed' });
    const [connection] = emulator.control.received.connections;
    expect(connection?.events.map(({ type }) => type)).toEqual(['session.update']);
    expect(client.types()).toEqual(['error']);
  });

  it.each([
    ['nothing', undefined],
    ['null', null],
    ['a list', []],
    ['a word', 'realtime'],
  ])(
    'closes with 1011 upstream_configuration_failed when the acknowledgement has %s for a session',
    async (_, session) => {
      const upstream = await startUpstream({
        greet: (ws) => {
          ws.send(JSON.stringify({ type: 'session.created', event_id: 'event_1', session: { id: 'sess_1' } }));
          ws.on('message', () => ws.send(JSON.stringify({ type: 'session.updated', event_id: 'event_2', session })));
        },
      });
      const { connect } = await startTestRelay({ upstream: upstream.url });
      const client = await connect();
      expect(await client.closed).toEqual({ code: 1011, reason: 'upstream_configuration_failed' });
    },
  );

  it('takes the place of no upstream when the client has already left', async () => {
    const emulator = await startTestEmulator();
    emulator.control.faults.arm('hang');
    const { connect, logged, relay } = await startTestRelay({ upstream: emulator.url });
    const client = await connect();
    client.ws.close(1000);
    const ended = await logged('session.ended');
    expect(ended).toMatchObject({ reason: 'normal', initiator: 'client', ready: false });
    expect(relay.sessions.size).toBe(0);
    const dialed = await logged('upstream.dialed');
    expect(dialed).toMatchObject({ outcome: 'aborted' });
  });

  it('announces the effective end: the earliest of token, profile and upstream', async () => {
    const emulator = await startTestEmulator({ sessionSeconds: 1800 });
    const seconds = async (profile: string, ttlSeconds: number) => {
      const { connect, token } = await startTestRelay({ upstream: emulator.url, yaml: profile });
      const client = await connect({ token: token({ ttlSeconds }) });
      const { session } = await client.next('session.created');
      return (session as { expires_at: number }).expires_at - Date.now() / 1000;
    };
    const short = 'profiles: { default: { limits: { session_seconds: 120 } } }';
    expect(await seconds('', 300)).toBeCloseTo(300, -1);
    expect(await seconds(short, 300)).toBeCloseTo(120, -1);
    expect(await seconds('', 7200)).toBeCloseTo(1770, -1);
  });

  it.each([
    ['/openai/v1/realtime?model=x', 'ga'],
    ['/openai/realtime?api-version=2024-10-01-preview&deployment=x', 'preview'],
    ['/v1/realtime?model=x', 'ga'],
    ['/v1/realtime?model=x&dialect=preview', 'preview'],
    ['/openai/realtime?api-version=2025-04-01-preview&deployment=x&dialect=ga', 'ga'],
  ])('speaks the dialect of the door: %s is %s', async (path, dialect) => {
    const emulator = await startTestEmulator();
    const { connect } = await startTestRelay({ upstream: emulator.url });
    const client = await connect({ path });
    const { session } = await client.next('session.created');
    expect(session).toHaveProperty(dialect === 'ga' ? 'output_modalities' : 'modalities');
    expect(await client.ask('hello')).toMatchObject({ status: 'completed' });
  });

  it.each([[{ headers: { 'OpenAI-Beta': 'realtime=v1' } }], [{ protocols: ['realtime', 'openai-beta.realtime-v1'] }]])(
    'takes %o on the OpenAI path for a preview client',
    async (options) => {
      const emulator = await startTestEmulator();
      const { connect } = await startTestRelay({ upstream: emulator.url });
      const client = await connect({ path: '/v1/realtime?model=x', ...options });
      expect((await client.next('session.created')).session).toHaveProperty('modalities');
    },
  );

  it('works on a preview upstream for clients of both dialects', async () => {
    const emulator = await startTestEmulator();
    const upstream = `upstreams: [{ name: old, endpoint: "${emulator.url}", deployment: gpt-realtime, dialect: preview, api_key: emulator-key }]`;
    const { connect } = await startTestRelay({ upstream: emulator.url, yaml: upstream });
    for (const path of [
      '/openai/v1/realtime?model=x',
      '/openai/realtime?api-version=2025-04-01-preview&deployment=x',
    ]) {
      const client = await connect({ path });
      await client.next('session.created');
      expect(await client.ask('hello')).toMatchObject({ status: 'completed' });
    }
    expect(emulator.control.received.errors).toBe(0);
  });
});
