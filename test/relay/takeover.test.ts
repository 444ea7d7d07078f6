import { describe, expect, it } from 'vitest';
import { appends, silence, tone } from '../emulator/speech.js';
import type { ServerEvent, TestClient } from '../support/client.js';
import { startTestEmulator, startTestRelay, type TestRelay, type TestRelayOptions } from '../support/relay.js';
import { both, following } from '../support/sideband.js';
import { say, startToolRelay } from '../support/tools.js';

interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: what is looked at differs from test to test
  body: any;
}

interface Who {
  readonly subject?: string;
  readonly scope?: string;
  readonly tenant?: string;
  readonly ttlSeconds?: number;
  readonly claims?: object;
}

const write = 'relay.sessions.write';

function tokenOf(relay: TestRelay, { subject = 'desk', scope = write, claims, ...rest }: Who = {}): string {
  return relay.token({ subject, claims: { scope, ...claims }, ...rest });
}

async function post(relay: TestRelay, path: string, body: unknown, token: string): Promise<Answer> {
  const reply = await fetch(`${relay.relay.url}/v1/relay/${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  return { status: reply.status, body: await reply.json() };
}

function takeOver(relay: TestRelay, id: string, body: unknown, who: Who = {}): Promise<Answer> {
  return post(relay, `sessions/${id}/takeover`, body, tokenOf(relay, who));
}

const on = { on: true };
const off = { on: false };
const texts = { output_modalities: ['text'] };
const ask = { type: 'response.create', event_id: 'mine', response: texts };
const typed = (text: string) => ({
  type: 'conversation.item.create',
  item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
});

interface Options extends Partial<TestRelayOptions> {
  readonly speed?: number;
  /** More of the profile, in YAML flow style. */
  readonly profile?: string;
  readonly dialect?: string;
  readonly path?: string;
}

async function opened({ speed, profile = '{}', dialect = 'ga', path, ...options }: Options = {}) {
  const emulator = await startTestEmulator(speed === undefined ? {} : { speed });
  const relay = await startTestRelay({
    upstream: emulator.url,
    yaml: `
upstreams: [{ name: main, endpoint: "${emulator.url}", deployment: gpt-realtime, dialect: ${dialect}, api_key: emulator-key }]
profiles: { default: ${profile} }`,
    ...options,
  });
  const client = await relay.connect({ path: path ?? '/openai/v1/realtime?model=gpt-realtime&relay_events=on' });
  const created = await client.next('session.created');
  const id = (created.session as { id: string }).id;
  /** What the relay said upstream of turn detection. */
  const told = () =>
    emulator.control.received
      .events('session.update')
      .map(({ body }) => detectionOf(body as unknown as ServerEvent))
      .filter((one) => one !== undefined);
  return { emulator, relay, client, id, told };
}

function detectionOf({ session }: ServerEvent): Record<string, unknown> | null | undefined {
  const { audio, turn_detection } = session as {
    audio?: { input?: { turn_detection?: Record<string, unknown> | null } };
    turn_detection?: Record<string, unknown> | null;
  };
  return turn_detection ?? audio?.input?.turn_detection;
}

/** The user says something, and is silent for long enough. */
function speak(client: TestClient): void {
  for (const event of appends(Buffer.concat([silence(400), tone(500, -18), silence(900)]))) client.send(event);
}

function answers(client: TestClient, since = 0): string[] {
  return client
    .types()
    .slice(since)
    .filter((type) => type.startsWith('response.'));
}

describe('a session that is taken over', () => {
  it('is not answered by itself, nor for its client, and goes on as before when it is given back', async () => {
    const { relay, client, id } = await opened();
    const taken = await takeOver(relay, id, on);
    expect(taken).toEqual({ status: 200, body: { id, taken_over: true, by: 'desk' } });
    expect(await client.next('relay.taken_over')).toMatchObject({ on: true, event_id: expect.any(String) });
    const since = client.events.length;
    speak(client);
    await client.next('input_audio_buffer.committed');
    client.send(typed('Hello?'));
    await client.next('conversation.item.added');
    client.send(ask);
    const { error } = (await client.next('error')) as unknown as { error: object };
    expect(error).toMatchObject({ type: 'invalid_request_error', code: 'taken_over', event_id: 'mine', param: null });
    client.send({ type: 'input_audio_buffer.clear' });
    await client.next('input_audio_buffer.cleared');
    expect(answers(client, since)).toEqual([]);
    const shown = await fetch(`${relay.relay.url}/v1/relay/sessions/${id}`, {
      headers: { authorization: `Bearer ${tokenOf(relay, { scope: 'relay.sessions.read' })}` },
    });
    expect(await shown.json()).toMatchObject({ taken_over: true });

    expect(await takeOver(relay, id, off)).toEqual({ status: 200, body: { id, taken_over: false, by: null } });
    expect(await client.next('relay.taken_over')).toMatchObject({ on: false });
    speak(client);
    expect((await client.next('response.done')).response).toMatchObject({ status: 'completed' });
    expect((await client.ask('Hi')).status).toBe('completed');
    expect(client.types()).not.toContain('session.updated');
  });

  it('is answered when a backend asks, whichever that is', async () => {
    const { relay, client, id } = await opened();
    await takeOver(relay, id, on);
    for (const subject of ['desk', 'other']) {
      const said = await post(relay, `sessions/${id}/events`, ask, tokenOf(relay, { subject }));
      expect(said.status).toBe(202);
      expect((await client.next('response.done')).response).toMatchObject({ status: 'completed', metadata: null });
    }
  });

  it('has its running answer cancelled, of which the client hears nothing more', async () => {
    const { relay, client, id } = await opened({ speed: 1 });
    client.send(typed('Tell me a long story.'));
    client.send({ type: 'response.create' });
    await client.next('response.output_audio.delta');
    const taking = takeOver(relay, id, on);
    expect((await client.next('response.done')).response).toMatchObject({ status: 'cancelled' });
    expect((await taking).status).toBe(200);
    const last = client.types().lastIndexOf('response.done');
    expect(answers(client, last + 1)).toEqual([]);
  });

  it.each([
    ['server_vad', { type: 'server_vad', threshold: 0.61, prefix_padding_ms: 222, silence_duration_ms: 333 }],
    ['server_vad that interrupts nobody', { type: 'server_vad', threshold: 0.4, interrupt_response: false }],
    ['semantic_vad', { type: 'semantic_vad', eagerness: 'high' }],
  ])('keeps all else of its turn detection: %s', async (_, detection) => {
    const { relay, client, id, told } = await opened();
    client.send({
      type: 'session.update',
      session: { type: 'realtime', audio: { input: { turn_detection: detection } } },
    });
    await client.next('session.updated');
    await takeOver(relay, id, on);
    expect(told().at(-1)).toMatchObject({ ...detection, create_response: false });
    await takeOver(relay, id, off);
    await expect.poll(() => told().at(-1)).toMatchObject({ ...detection, create_response: true });
    expect(told()).toHaveLength(3);
  });

  it('lets its client set turn detection, which answers as it was asked, and holds when it is given back', async () => {
    const { relay, client, id, told } = await opened();
    await takeOver(relay, id, on);
    const set = (turn_detection: object | null) =>
      client.send({ type: 'session.update', session: { type: 'realtime', audio: { input: { turn_detection } } } });
    set({ type: 'server_vad', threshold: 0.7 });
    expect(detectionOf(await client.next('session.updated'))).toMatchObject({ threshold: 0.7, create_response: true });
    expect(told().at(-1)).toMatchObject({ threshold: 0.7, create_response: false });
    set({ type: 'server_vad', threshold: 0.8, create_response: false });
    expect(detectionOf(await client.next('session.updated'))).toMatchObject({ create_response: false });
    set({ type: 'semantic_vad', create_response: true });
    expect(detectionOf(await client.next('session.updated'))).toMatchObject({
      type: 'semantic_vad',
      create_response: true,
    });
    const since = client.events.length;
    speak(client);
    await client.next('input_audio_buffer.committed');
    await takeOver(relay, id, off);
    await expect.poll(() => told().at(-1)).toMatchObject({ type: 'semantic_vad', create_response: true });
    expect(answers(client, since)).toEqual([]);
    speak(client);
    expect((await client.next('response.done')).response).toMatchObject({ status: 'completed' });
  });

  it('and the same of what a backend sets', async () => {
    const { relay, client, id, told } = await opened();
    await takeOver(relay, id, on);
    const turn_detection = { type: 'server_vad', threshold: 0.3, create_response: true };
    const update = { type: 'session.update', session: { audio: { input: { turn_detection } } } };
    expect((await post(relay, `sessions/${id}/events`, update, tokenOf(relay))).status).toBe(202);
    expect(detectionOf(await client.next('session.updated'))).toMatchObject({ threshold: 0.3, create_response: true });
    expect(told().at(-1)).toMatchObject({ threshold: 0.3, create_response: false });
    const since = client.events.length;
    speak(client);
    await client.next('input_audio_buffer.committed');
    expect(answers(client, since)).toEqual([]);
    await takeOver(relay, id, off);
    await expect.poll(() => told().at(-1)).toMatchObject({ threshold: 0.3, create_response: true });
  });

  it('without turn detection is only refused what its client asks for', async () => {
    const { relay, client, id, told } = await opened({
      profile: '{ session: { audio: { input: { turn_detection: null } } } }',
    });
    const before = told().length;
    expect((await takeOver(relay, id, on)).body).toMatchObject({ taken_over: true });
    client.send(ask);
    expect((await client.next('error')).error).toMatchObject({ code: 'taken_over' });
    await takeOver(relay, id, off);
    expect(told()).toHaveLength(before);
    expect((await client.ask('Hi')).status).toBe('completed');
  });

  it('that a profile leaves unanswered stays so when it is given back', async () => {
    const { relay, client, id, told } = await opened({
      profile: '{ session: { audio: { input: { turn_detection: { type: server_vad, create_response: false } } } } }',
    });
    const before = told().length;
    await takeOver(relay, id, on);
    await takeOver(relay, id, off);
    expect(told()).toHaveLength(before);
    expect((await client.ask('Hi')).status).toBe('completed');
  });

  it('never ends for what its client asks in vain, and counts none of it', async () => {
    const { relay, client, id } = await opened({ profile: '{ limits: { refusals: 3, responses_burst: 1000 } }' });
    await takeOver(relay, id, on);
    for (let i = 0; i < 20; i++) {
      client.send(ask);
      expect((await client.next('error')).error).toMatchObject({ code: 'taken_over' });
    }
    await takeOver(relay, id, off);
    expect((await client.ask('Hi')).status).toBe('completed');
    client.ws.close();
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'normal', refusals: 0 });
  });

  it.each(['preview', 'ga'])(
    'whose client speaks preview is told in its own words, before a %s upstream',
    async (dialect) => {
      const { relay, client, id, told } = await opened({
        dialect,
        path: '/openai/realtime?api-version=2025-04-01-preview&deployment=gpt-realtime&relay_events=on',
      });
      await takeOver(relay, id, on);
      expect(await client.next('relay.taken_over')).toMatchObject({ on: true });
      expect(told().at(-1)).toMatchObject({ type: 'server_vad', create_response: false });
      const since = client.events.length;
      speak(client);
      await client.next('input_audio_buffer.committed');
      client.send({ type: 'response.create', event_id: 'mine' });
      expect((await client.next('error')).error).toMatchObject({ code: 'taken_over', event_id: 'mine' });
      expect(answers(client, since)).toEqual([]);
      await takeOver(relay, id, off);
      speak(client);
      expect((await client.next('response.done')).response).toMatchObject({ status: 'completed' });
    },
  );
});

describe('a session that is taken over and loses its upstream', () => {
  it('stays silent with the next one, and can be taken over again and again', async () => {
    const { emulator, relay, client, id, told } = await opened({
      speed: 1,
      profile: '{ session: { audio: { input: { transcription: { model: gpt-4o-transcribe } } } } }',
    });
    client.send(typed('Tell me a long story.'));
    client.send({ type: 'response.create' });
    await client.next('response.output_audio.delta');
    emulator.control.faults.strike('die_mid_response');
    await relay.logged('session.replaced');
    expect((await takeOver(relay, id, on)).body).toMatchObject({ taken_over: true });
    expect(told().at(-1)).toMatchObject({ create_response: false });
    const since = client.events.length;
    emulator.control.faults.strike('die_mid_response');
    await relay.logged('session.replaced', 2);
    expect(told().at(-1)).toMatchObject({ create_response: false });
    speak(client);
    await client.next('input_audio_buffer.committed');
    client.send(ask);
    expect((await client.next('error')).error).toMatchObject({ code: 'taken_over' });
    expect(answers(client, since).filter((type) => type.endsWith('.delta'))).toEqual([]);
    await takeOver(relay, id, off);
    expect((await client.ask('Hi')).status).toBe('completed');
  });
});

describe('a session whose upstream is lost while it is taken over', () => {
  it('is not waited for in vain the next time', async () => {
    const test = await startToolRelay(() => undefined, {
      rttMs: 200,
      speed: 1,
      profile: 'session: { audio: { input: { transcription: { model: gpt-4o-transcribe } } } }',
    });
    const client = await test.connect();
    const { session } = (await client.next('session.created')) as unknown as { session: { id: string } };
    client.send(typed('Tell me a long story.'));
    client.send({ type: 'response.create' });
    await client.next('response.output_audio.delta');
    const taking = takeOver(test, session.id, on);
    // Its cancel is on the way.
    await new Promise((resolve) => setTimeout(resolve, 50));
    test.emulator.control.faults.strike('die_mid_response');
    await taking;
    await test.logged('session.replaced');
    expect((await takeOver(test, session.id, on)).body).toMatchObject({ taken_over: true });
  });
});

describe('the tools of a session that is taken over', () => {
  it('bring their outputs, and are followed up when it is given back', async () => {
    let finish: () => void = () => undefined;
    const test = await startToolRelay((_, response) => {
      finish = () => say(response, 'found');
    });
    test.emulator.control.script({ when: 'look', functionCall: { name: 'lookup' } });
    const client = await test.connect();
    const { session } = (await client.next('session.created')) as unknown as { session: { id: string } };
    expect((await client.ask('look')).status).toBe('completed');
    await test.questions(1);
    await takeOver(test, session.id, on);
    finish();
    await expect.poll(() => test.outputs().length).toBe(1);
    client.send({ type: 'input_audio_buffer.clear' });
    await client.next('input_audio_buffer.cleared');
    expect(test.said('response.create')).toHaveLength(1);
    await takeOver(test, session.id, off);
    expect((await client.next('response.done')).response).toMatchObject({ status: 'completed' });
    expect(test.said('response.create')).toHaveLength(2);
  });

  it('say nothing while they run', async () => {
    let finish: () => void = () => undefined;
    const test = await startToolRelay(
      (_, response) => {
        finish = () => say(response, 'found');
      },
      { tools: { lookup: 'filler: { after_ms: 500, say: "One moment." }' } },
    );
    test.emulator.control.script({ when: 'look', functionCall: { name: 'lookup' } });
    const client = await test.connect();
    const { session } = (await client.next('session.created')) as unknown as { session: { id: string } };
    client.send(typed('look'));
    client.send({ type: 'response.create' });
    await test.questions(1);
    await takeOver(test, session.id, on);
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(test.said('response.create')).toHaveLength(1);
    finish();
  });
});

describe('who takes over a session', () => {
  it('holds it against others, who may take it by force, and anybody may give it back', async () => {
    const { relay, id } = await opened();
    expect((await takeOver(relay, id, on)).body).toMatchObject({ by: 'desk' });
    expect((await takeOver(relay, id, on)).body).toEqual({ id, taken_over: true, by: 'desk' });
    const refused = await takeOver(relay, id, on, { subject: 'boss' });
    expect(refused).toMatchObject({ status: 409, body: { error: { code: 'taken_over', retryable: false } } });
    const forced = await takeOver(relay, id, { on: true, force: true }, { subject: 'boss' });
    expect(forced).toEqual({ status: 200, body: { id, taken_over: true, by: 'boss' } });
    expect((await takeOver(relay, id, on)).status).toBe(409);
    expect((await takeOver(relay, id, off, { subject: 'third' })).body).toEqual({ id, taken_over: false, by: null });
    expect((await takeOver(relay, id, off)).status).toBe(200);
    const lines = relay.log.filter(({ msg }) => msg === 'session.taken_over');
    expect(lines.map(({ on, by, why }) => [on, by, why])).toEqual([
      [true, 'desk', 'asked'],
      [true, 'boss', 'forced'],
      [false, 'third', 'asked'],
    ]);
  });

  it.each([
    ['nothing', ''],
    ['no word', {}],
    ['a word that is none', { on: 'yes' }],
    ['null', { on: null }],
    ['something beside it', { on: true, of: 1 }],
    ['force that is none', { on: true, force: 1 }],
    ['a list', [on]],
    ['no JSON', '{'],
    ['a key twice', '{"on":true,"on":false}'],
  ])('and sends %s is refused', async (_, body) => {
    const { relay, id } = await opened();
    expect(await takeOver(relay, id, body)).toMatchObject({ status: 400, body: { error: { code: 'bad_event' } } });
    expect((await takeOver(relay, id, off)).body).toMatchObject({ taken_over: false });
  });

  it('needs the right to write, and a session within reach that is open', async () => {
    const { emulator, relay, client, id } = await opened();
    for (const scope of ['', 'relay.sessions.read']) {
      expect(await takeOver(relay, id, on, { scope })).toMatchObject({
        status: 403,
        body: { error: { code: 'forbidden' } },
      });
    }
    const notFound = { status: 404, body: { error: { code: 'not_found' } } };
    expect(await takeOver(relay, `sess_${'0'.repeat(32)}`, on)).toMatchObject(notFound);
    expect(await takeOver(relay, id, on, { tenant: 'acme' })).toMatchObject(notFound);
    emulator.control.faults.arm('ignore_update');
    await relay.connect({ token: relay.token({ subject: 'bob' }) });
    const token = tokenOf(relay, { scope: 'relay.sessions.read' });
    const list = await fetch(`${relay.relay.url}/v1/relay/sessions`, { headers: { authorization: `Bearer ${token}` } });
    const [bobs] = ((await list.json()) as { data: { id: string }[] }).data;
    const early = await takeOver(relay, String(bobs?.id), on);
    expect(early).toMatchObject({ status: 409, body: { error: { code: 'not_open', retryable: true } } });
    client.ws.close();
    await relay.logged('session.ended');
    expect(await takeOver(relay, id, on)).toMatchObject(notFound);
    expect(await relay.metric('relay_control_requests_total', { verb: 'takeover', outcome: 'not_found' })).toBe(3);
    const audit = relay.log.filter(({ msg, verb }) => msg === 'control.request' && verb === 'takeover');
    expect(audit.map(({ outcome }) => outcome)).toEqual(['refused', 'not_found', 'not_found', 'conflict', 'not_found']);
  });

  it('loses it when the token runs out', async () => {
    const { relay, client, id } = await opened();
    await takeOver(relay, id, on, { ttlSeconds: 2 });
    expect(await client.next('relay.taken_over')).toMatchObject({ on: true });
    expect(await client.next('relay.taken_over')).toMatchObject({ on: false });
    expect(await relay.logged('session.taken_over', 2)).toMatchObject({ on: false, why: 'token_expired' });
    expect((await client.ask('Hi')).status).toBe('completed');
  });

  it.each([
    ['of the user', { sub: 'desk' }],
    ['itself', { jti: 'token-1' }],
  ])('loses it when the token %s is withdrawn', async (_, what) => {
    const { relay, client, id } = await opened();
    await takeOver(relay, id, on, { claims: { jti: 'token-1' } });
    await post(relay, 'revocations', { jti: 'another' }, tokenOf(relay, { scope: 'relay.revoke' }));
    expect((await takeOver(relay, id, on, { subject: 'boss' })).status).toBe(409);
    await post(relay, 'revocations', what, tokenOf(relay, { subject: 'admin', scope: 'relay.revoke' }));
    expect(await relay.logged('session.taken_over', 2)).toMatchObject({ on: false, why: 'revoked' });
    expect((await client.ask('Hi')).status).toBe('completed');
  });

  it('is told when upstream does not fall silent in time, and the session goes on as before', async () => {
    const { emulator, relay, client, id } = await opened();
    emulator.control.faults.arm('ignore_update');
    const late = await takeOver(relay, id, on);
    expect(late).toMatchObject({ status: 504, body: { error: { code: 'upstream_timeout' } } });
    expect((await client.ask('Hi')).status).toBe('completed');
    expect(client.types()).not.toContain('relay.taken_over');
    expect((await takeOver(relay, id, on, { subject: 'boss' })).body).toMatchObject({ taken_over: true, by: 'boss' });
  });
});

describe('a sideband', () => {
  const words = (event: ServerEvent) => [event.on, event.by];
  const event = (on: boolean, more: object = {}) => ({ type: 'relay.takeover', on, ...more });

  async function beside(relay: TestRelay, id: string, who: Who = {}): Promise<TestClient> {
    const token = tokenOf(relay, { scope: both, ...who });
    return following(relay, id, { token });
  }

  it('takes over, is told of it as all others are, and what it says behind that comes behind that', async () => {
    const { relay, client, id } = await opened({ speed: 2 });
    const [mine, other, reader] = [
      await beside(relay, id),
      await beside(relay, id, { subject: 'boss' }),
      await beside(relay, id, { scope: 'relay.sessions.read' }),
    ];
    client.send(typed('Tell me a long story.'));
    client.send({ type: 'response.create' });
    await client.next('response.output_audio.delta');
    mine.send(event(true));
    mine.send(ask);
    for (const one of [mine, other, reader]) expect(words(await one.next('relay.taken_over'))).toEqual([true, 'desk']);
    expect(await client.next('relay.taken_over')).toMatchObject({ on: true });
    for (const one of [mine, client]) {
      await one.next('response.done');
      const statuses = one.events.filter(({ type }) => type === 'response.done').map(({ response }) => response);
      expect(statuses).toMatchObject([{ status: 'cancelled' }, { status: 'completed' }]);
    }
    expect(mine.types()).not.toContain('error');
    // Who comes later hears how things stand.
    expect(words(await (await beside(relay, id)).next('relay.taken_over'))).toEqual([true, 'desk']);
    mine.send(event(false));
    expect(words(await other.next('relay.taken_over'))).toEqual([false, 'desk']);
    speak(client);
    expect((await client.next('response.done')).response).toMatchObject({ status: 'completed' });
  });

  it.each([
    ['closes', (sideband: TestClient) => sideband.ws.close()],
    ['is lost', (sideband: TestClient) => sideband.ws.terminate()],
  ])('that holds a session gives it back when it %s, whoever else there is', async (_, end) => {
    const { relay, client, id } = await opened();
    const [mine, other] = [await beside(relay, id), await beside(relay, id)];
    mine.send(event(true));
    await client.next('relay.taken_over');
    end(mine);
    expect(await client.next('relay.taken_over')).toMatchObject({ on: false });
    expect(words(await other.next('relay.taken_over'))).toEqual([true, 'desk']);
    expect(words(await other.next('relay.taken_over'))).toEqual([false, 'desk']);
    expect(await relay.logged('session.taken_over', 2)).toMatchObject({ on: false, why: 'left' });
    expect((await client.ask('Hi')).status).toBe('completed');
  });

  it('is told apart from another of the same backend, which takes it by force', async () => {
    const { relay, client, id } = await opened();
    const [one, two] = [await beside(relay, id), await beside(relay, id)];
    one.send(event(true));
    await one.next('relay.taken_over');
    await two.next('relay.taken_over');
    two.send(event(true, { event_id: 'e1' }));
    const { error } = await two.next('error');
    expect(error).toMatchObject({ code: 'taken_over', event_id: 'e1' });
    expect(error).not.toHaveProperty('retryable');
    expect((await takeOver(relay, id, on)).status).toBe(409);
    two.send(event(true, { force: true }));
    expect(words(await one.next('relay.taken_over'))).toEqual([false, 'desk']);
    expect(words(await two.next('relay.taken_over'))).toEqual([true, 'desk']);
    one.ws.close();
    await relay.logged('control.detached');
    client.send(ask);
    expect((await client.next('error')).error).toMatchObject({ code: 'taken_over' });
    two.send(event(true));
    expect(words(await two.next('relay.taken_over'))).toEqual([true, 'desk']);
  });

  it('keeps what its backend took by request, until the last of them is closed', async () => {
    const { relay, client, id } = await opened();
    await takeOver(relay, id, on, { ttlSeconds: 2 });
    const [one, two, others] = [
      await beside(relay, id),
      await beside(relay, id),
      await beside(relay, id, { subject: 'boss' }),
    ];
    one.ws.close();
    await relay.logged('control.detached');
    // Longer than the token of the request.
    await new Promise((resolve) => setTimeout(resolve, 2100));
    expect((await takeOver(relay, id, on, { subject: 'boss' })).status).toBe(409);
    two.ws.close();
    expect(words(await others.next((told) => told.on === false))).toEqual([false, 'desk']);
    expect(await relay.logged('session.taken_over', 2)).toMatchObject({ why: 'left' });
    expect((await client.ask('Hi')).status).toBe('completed');
  });

  it('that may only observe takes nothing over', async () => {
    const { relay, client, id } = await opened();
    const reader = await beside(relay, id, { scope: 'relay.sessions.read' });
    reader.send(event(true));
    expect((await reader.next('error')).error).toMatchObject({ code: 'forbidden' });
    expect((await client.ask('Hi')).status).toBe('completed');
  });

  it.each([
    ['no word', { type: 'relay.takeover' }, 'missing_required_parameter', 'on'],
    ['a word that is none', { type: 'relay.takeover', on: 'yes' }, 'invalid_value', 'on'],
    ['something beside it', { type: 'relay.takeover', on: true, of: 1 }, 'invalid_value', 'of'],
  ])('that sends %s is told what is wrong', async (_, sent, code, param) => {
    const { relay, client, id } = await opened();
    const mine = await beside(relay, id);
    mine.send({ ...sent, event_id: 'e1' });
    expect((await mine.next('error')).error).toMatchObject({ code, param, event_id: 'e1' });
    expect((await client.ask('Hi')).status).toBe('completed');
  });

  it('sees the answers that its client does not', async () => {
    const test = await startToolRelay(() => undefined, { rttMs: 100 });
    const client = await test.connect();
    const { session } = (await client.next('session.created')) as unknown as { session: { id: string } };
    const mine = await beside(test, session.id);
    client.send(typed('Hello'));
    client.send({ type: 'response.create', event_id: 'mine' });
    await test.emulator.control.received.waitFor((received) => received.events('response.create').length > 0);
    mine.send(event(true));
    expect((await client.next('error')).error).toMatchObject({ code: 'taken_over', event_id: 'mine' });
    expect((await mine.next('response.done')).response).toBeDefined();
    expect(answers(client)).toEqual([]);
  });
});
