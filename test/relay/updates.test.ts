import { describe, expect, it } from 'vitest';
import type { Emulator } from '../../src/emulator/emulator.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';

const scope = 'relay.sessions.read relay.sessions.write';

async function say(relay: TestRelay, id: string, body: unknown, tenant?: string) {
  const token = relay.token({ subject: 'backend', claims: { scope }, ...(tenant !== undefined && { tenant }) });
  const reply = await fetch(`${relay.relay.url}/v1/relay/sessions/${id}/events`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify(body),
  });
  // biome-ignore lint/suspicious/noExplicitAny: what is looked at differs from test to test
  return { status: reply.status, body: (await reply.json()) as any };
}

async function opened(yaml?: string, who: Parameters<TestRelay['token']>[0] = {}) {
  const emulator = await startTestEmulator();
  const relay = await startTestRelay({ upstream: emulator.url, ...(yaml !== undefined && { yaml }) });
  const client = await relay.connect({ token: relay.token(who) });
  const created = await client.next('session.created');
  return { emulator, relay, client, id: (created.session as { id: string }).id };
}

const update = (session: object) => ({ type: 'session.update', session });

/** The session objects that upstream was sent, behind the first. */
function sessionsOf(emulator: Emulator) {
  return emulator.control.received
    .events('session.update')
    .slice(1)
    .map(({ body }) => (body as { session: Record<string, unknown> }).session);
}

describe('a backend changes a live session', () => {
  it('and its client is told once, and nothing of what the server set', async () => {
    const { emulator, relay, client, id } = await opened();
    const secret = 'Never tell the code 4711.';
    expect((await say(relay, id, update({ instructions: secret, audio: { output: { speed: 1.2 } } }))).status).toBe(
      202,
    );
    const { session } = await client.next('session.updated');
    expect(session).toMatchObject({ id, audio: { output: { speed: 1.2 } } });
    expect((await client.ask('Hi')).status).toBe('completed');
    expect(client.types().filter((type) => type === 'session.updated')).toHaveLength(1);
    expect(client.raw.join()).not.toMatch(/4711/);
    expect(sessionsOf(emulator)).toEqual([
      { type: 'realtime', instructions: secret, audio: { output: { speed: 1.2 } } },
    ]);
  });

  it('but for what belongs to the deployment and to the device of the client', async () => {
    const { emulator, relay, client, id } = await opened();
    const vad = { type: 'semantic_vad' };
    const format = { type: 'audio/pcmu' };
    const session = {
      type: 'transcription',
      model: 'other',
      audio: { input: { format, turn_detection: vad }, output: { format } },
    };
    expect((await say(relay, id, update(session))).status).toBe(202);
    await client.next('session.updated');
    expect(sessionsOf(emulator)).toEqual([{ type: 'realtime', audio: { input: { turn_detection: vad }, output: {} } }]);
  });

  it('and its client cannot change that any more, from that moment on', async () => {
    const { emulator, relay, client, id } = await opened(
      'profiles:\n  default:\n    client: { may_update: [audio.output.speed, audio.output.voice] }\n',
    );
    await say(relay, id, update({ audio: { output: { speed: 1.2 } } }));
    client.send(update({ type: 'realtime', audio: { output: { speed: 0.5, voice: 'cedar' } } }));
    await client.next('session.updated');
    const { session } = await client.next('session.updated');
    expect(session).toMatchObject({ audio: { output: { speed: 1.2 } } });
    expect(sessionsOf(emulator).at(-1)).toEqual({ type: 'realtime', audio: { output: { voice: 'cedar' } } });
  });

  it('in vain where upstream refuses it: the log says so, the client is told nothing, and may go on changing it', async () => {
    const { emulator, relay, client, id } = await opened(
      'profiles:\n  default:\n    client: { may_update: [audio.output.speed] }\n',
    );
    const wrong = { ...update({ audio: { output: { speed: 9 } }, unheard_of: 1 }), event_id: 'wrong' };
    expect((await say(relay, id, wrong)).status).toBe(202);
    expect(await relay.logged('control.event_failed')).toMatchObject({ session: id, eventId: 'wrong' });
    client.send(update({ type: 'realtime', audio: { output: { speed: 0.5 } } }));
    await client.next('session.updated');
    expect(client.types().filter((type) => type === 'session.updated')).toHaveLength(1);
    expect(client.types()).not.toContain('error');
    expect(sessionsOf(emulator).at(-1)).toEqual({ type: 'realtime', audio: { output: { speed: 0.5 } } });
  });

  it.each([
    ['nothing', { type: 'session.update' }, 'missing_required_parameter', 'session'],
    ['no object', { type: 'session.update', session: [] }, 'invalid_value', 'session'],
  ])('with %s, which is refused', async (_, event, code, param) => {
    const { relay, id } = await opened();
    expect(await say(relay, id, event)).toMatchObject({ status: 400, body: { error: { code, param } } });
  });

  it.each([
    ['prompt', { prompt: { id: 'pmpt_1' } }, 'session.prompt'],
    ['tracing', { tracing: 'auto' }, 'session.tracing'],
    ['mcp', { tools: [{ type: 'mcp', server_label: 'a', server_url: 'https://a.test' }] }, 'session.tools'],
  ])('but not %s as a backend of one tenant, unless the profile says so', async (field, session, param) => {
    const who = { tenant: 'acme' };
    const { emulator, relay, id } = await opened(undefined, who);
    expect(await say(relay, id, update(session), 'acme')).toMatchObject({
      status: 403,
      body: { error: { code: 'forbidden', param } },
    });
    expect(sessionsOf(emulator)).toEqual([]);
    const other = await opened(`profiles:\n  default:\n    control: { may_update: [${field}] }\n`, who);
    expect((await say(other.relay, other.id, update(session), 'acme')).status).toBe(202);
  });
});
