import { once } from 'node:events';
import { createConnection } from 'node:net';
import { describe, expect, it } from 'vitest';
import { signToken } from '../../src/auth/token.js';
import { connect, refused } from '../support/client.js';
import { holdTime } from '../support/clock.js';
import { end, endOf } from '../support/ends.js';
import { relayEnv, serve } from '../support/process.js';
import { jwt, startTestEmulator, startTestRelay } from '../support/relay.js';
import { startUpstream } from '../support/upstream.js';

const path = '/openai/v1/realtime?model=x';
const headers = (subject: string) => ({ 'api-key': signToken({ ...jwt, subject, ttlSeconds: 600 }) });

async function session(url: string, subject: string) {
  const client = await connect(url.replace('http', 'ws') + path, { headers: headers(subject) });
  await client.next('session.created');
  return client;
}

describe('shutdown', () => {
  it('on SIGTERM lets the running answer finish, refuses the new, ends with draining and exits 0', async () => {
    const emulator = await startTestEmulator({ speed: 3 });
    const relay = await serve(relayEnv(emulator.url));
    const busy = await session(relay.url, 'busy');
    const idle = await session(relay.url, 'idle');
    busy.send({ type: 'response.create' });
    await busy.next('response.output_audio.delta');
    expect((await fetch(`${relay.ops}/readyz`)).status).toBe(200);

    relay.child.kill('SIGTERM');
    expect(await idle.closed).toEqual({ code: 1012, reason: 'draining' });
    expect(idle.types()).not.toContain('error');
    const ready = await fetch(`${relay.ops}/readyz`);
    expect(ready.status).toBe(503);
    expect(await ready.json()).toMatchObject({ detail: 'draining' });
    expect((await fetch(`${relay.ops}/healthz`)).status).toBe(200);
    const late = await refused(relay.url.replace('http', 'ws') + path, { headers: headers('late') });
    expect(late).toMatchObject({ status: 503, body: { error: { code: 'draining', retryable: true } } });
    expect(late.headers['retry-after']).toBe('1');

    const done = await busy.next('response.done');
    expect(done.response).toMatchObject({ status: 'completed' });
    expect(await busy.closed).toEqual({ code: 1012, reason: 'draining' });
    expect(await relay.exited).toBe(0);
    const ends = relay.lines.filter((line) => line.includes('session.ended')).map((line) => JSON.parse(line));
    expect(ends.map(({ reason, initiator }) => [reason, initiator])).toEqual([
      ['draining', 'relay'],
      ['draining', 'relay'],
    ]);
  });

  it('ends stragglers with draining when the time to drain is over', async () => {
    const emulator = await startTestEmulator();
    emulator.control.faults.arm('mute');
    const folder = await import('node:fs/promises');
    const file = `${await folder.mkdtemp('/tmp/relay-drain-')}/relay.yaml`;
    await folder.writeFile(file, 'limits: { drain_seconds: 1 }');
    const relay = await serve(relayEnv(emulator.url, { RELAY_CONFIG: file }));
    const client = await session(relay.url, 'a');
    client.send({ type: 'response.create' });
    await emulator.control.received.waitFor((received) => received.events('response.create').length > 0);
    relay.child.kill('SIGTERM');
    expect(await client.closed).toEqual({ code: 1012, reason: 'draining' });
    expect(await relay.exited).toBe(0);
  });

  it('ends at once on a second signal', async () => {
    const emulator = await startTestEmulator();
    emulator.control.faults.arm('mute');
    const relay = await serve(relayEnv(emulator.url));
    const client = await session(relay.url, 'a');
    client.send({ type: 'response.create' });
    await emulator.control.received.waitFor((received) => received.events('response.create').length > 0);
    relay.child.kill('SIGINT');
    await relay.line((line) => line.includes('relay.draining'));
    relay.child.kill('SIGTERM');
    expect(await relay.exited).toBe(1);
  });
});

/** An upstream that says what the test says, a relay whose clock stands still, and a client with an open session. */
async function told(session = '{ type: server_vad }', more = '') {
  const time = holdTime();
  const upstream = await startUpstream();
  const yaml = `profiles: { default: { ${more} session: { audio: { input: { turn_detection: ${session} } } } } }`;
  const server = await startTestRelay({ upstream: upstream.url, yaml });
  const client = await server.connect();
  await client.next('session.created');
  const { ws } = await upstream.connected();
  const say = (type: string, fields: object = {}) => ws.send(JSON.stringify({ type, event_id: 'event_9', ...fields }));
  const answer = (output: readonly object[] = []) => {
    say('response.created', { response: { id: 'resp_1', status: 'in_progress', output: [] } });
    say('response.done', { response: { id: 'resp_1', status: 'completed', output } });
  };
  /** Lets the relay shut down; it may not end before the test is over. */
  const drain = () => void server.relay.drain();
  const isOpen = () => server.relay.sessions.size === 1;
  return { time, upstream, server, client, say, answer, drain, isOpen };
}

describe('a session at shutdown', () => {
  const draining = end('draining', 1012, 'relay');

  it('ends with the answer itself, without waiting for a look at the clock, and the client has got all of it', async () => {
    const { client, server, say, drain, isOpen } = await told();
    say('response.created', { response: { id: 'resp_1', status: 'in_progress', output: [] } });
    await client.next('response.created');
    drain();
    client.send({ type: 'input_audio_buffer.clear' });
    say('input_audio_buffer.cleared');
    await client.next('input_audio_buffer.cleared');
    expect(isOpen()).toBe(true);
    say('response.done', { response: { id: 'resp_1', status: 'completed', output: [] } });
    expect(await endOf(server, client)).toEqual(draining);
    expect(client.types().at(-1)).toBe('response.done');
  });

  it.each(['end user', 'trusted'])(
    'refuses a new answer to the %s, and does not hold it against the client',
    async (who) => {
      const more = `client: { trust: ${who === 'trusted' ? 'trusted' : 'end_user'} }, limits: { refusals: 2 },`;
      const { client, server, upstream, say, drain } = await told('{ type: server_vad }', more);
      say('response.created', { response: { id: 'resp_1', status: 'in_progress', output: [] } });
      await client.next('response.created');
      drain();
      for (const event_id of ['a', 'b', 'c']) {
        client.send({ type: 'response.create', event_id });
        const { error } = await client.next('error');
        expect(error).toMatchObject({ code: 'not_while_draining', event_id, type: 'invalid_request_error' });
      }
      say('response.done', { response: { id: 'resp_1', status: 'completed', output: [] } });
      expect(await endOf(server, client)).toEqual(draining);
      expect(await server.logged('session.ended')).toMatchObject({ refusals: 0 });
      expect(upstream.texts).toEqual([]);
    },
  );

  it('does not cut its user in the middle of a sentence, which is answered', async () => {
    const { client, server, say, answer, drain, isOpen, time } = await told();
    say('input_audio_buffer.speech_started', { item_id: 'item_1', audio_start_ms: 0 });
    await client.next('input_audio_buffer.speech_started');
    drain();
    await time.live(5);
    expect(isOpen()).toBe(true);
    say('input_audio_buffer.speech_stopped', { item_id: 'item_1', audio_end_ms: 9 });
    say('input_audio_buffer.committed', { item_id: 'item_1', previous_item_id: null });
    await client.next('input_audio_buffer.committed');
    await time.live(1);
    expect(isOpen()).toBe(true);
    answer();
    expect(await endOf(server, client)).toEqual(draining);
    expect(client.types().at(-1)).toBe('response.done');
  });

  it('goes on for the user who interrupts the last answer', async () => {
    const { client, server, say, answer, drain, isOpen, time } = await told();
    say('response.created', { response: { id: 'resp_0', status: 'in_progress', output: [] } });
    await client.next('response.created');
    drain();
    say('input_audio_buffer.speech_started', { item_id: 'item_1', audio_start_ms: 0 });
    say('response.done', { response: { id: 'resp_0', status: 'cancelled', output: [] } });
    await client.next('response.done');
    await time.live(2);
    expect(isOpen()).toBe(true);
    say('input_audio_buffer.speech_stopped', { item_id: 'item_1', audio_end_ms: 9 });
    answer();
    expect(await endOf(server, client)).toEqual(draining);
  });

  it.each([
    ['detects no turns', 'null', []],
    [
      'detects turns and answers none',
      '{ type: server_vad, create_response: false }',
      ['speech_started', 'speech_stopped'],
    ],
  ])(
    'lets a client whose session %s ask for the answer to what its user has begun to say, and for no other',
    async (...row) => {
      const [, detection, detected] = row;
      const { client, server, upstream, say, answer, drain, isOpen } = await told(detection);
      client.send({ type: 'input_audio_buffer.append', audio: 'AAAA' });
      await upstream.received(1);
      const [started, stopped] = detected;
      if (started) {
        say(`input_audio_buffer.${started}`, { item_id: 'item_1', audio_start_ms: 0 });
        await client.next('input_audio_buffer.speech_started');
      }
      drain();
      expect(isOpen()).toBe(true);
      if (stopped) {
        say(`input_audio_buffer.${stopped}`, { item_id: 'item_1', audio_end_ms: 9 });
        await client.next('input_audio_buffer.speech_stopped');
      } else client.send({ type: 'input_audio_buffer.commit' });
      client.send({ type: 'response.create' });
      await upstream.received(stopped ? 2 : 3);
      client.send({ type: 'response.create' });
      expect((await client.next('error')).error).toMatchObject({ code: 'not_while_draining' });
      answer();
      expect(await endOf(server, client)).toEqual(draining);
    },
  );

  it('waits two seconds, and not more, for a client that does not ask', async () => {
    const { client, server, upstream, drain, isOpen, time } = await told('null');
    client.send({ type: 'input_audio_buffer.append', audio: 'AAAA' });
    client.send({ type: 'input_audio_buffer.commit' });
    await upstream.received(2);
    drain();
    await time.live(1);
    expect(isOpen()).toBe(true);
    await time.live(2);
    expect(await endOf(server, client)).toEqual(draining);
  });

  it('waits for the transcript of what was said', async () => {
    const yaml = 'session: { type: transcription, audio: { input: { transcription: { model: whisper-1 } } } }';
    const time = holdTime();
    const upstream = await startUpstream();
    const server = await startTestRelay({ upstream: upstream.url, yaml: `profiles: { default: { ${yaml} } }` });
    const client = await server.connect();
    await client.next('session.created');
    const { ws } = await upstream.connected();
    const say = (type: string, fields: object) => ws.send(JSON.stringify({ type, event_id: 'event_9', ...fields }));
    say('input_audio_buffer.committed', { item_id: 'item_1', previous_item_id: null });
    await client.next('input_audio_buffer.committed');
    void server.relay.drain();
    await time.live(3);
    expect(server.relay.sessions.size).toBe(1);
    const item = { type: 'message', id: 'item_1', role: 'user', content: [] };
    say('conversation.item.added', { item });
    say('conversation.item.input_audio_transcription.completed', {
      item_id: 'item_1',
      content_index: 0,
      transcript: 'hi',
    });
    expect(await endOf(server, client)).toEqual(draining);
    expect(client.types().at(-1)).toBe('conversation.item.input_audio_transcription.completed');
  });

  it('lets the tool of the client finish the answer', async () => {
    const more = 'tools: [{ name: show_map, runs: client }],';
    const { client, server, upstream, say, answer, drain, isOpen, time } = await told('{ type: server_vad }', more);
    say('response.created', { response: { id: 'resp_0', status: 'in_progress', output: [] } });
    await client.next('response.created');
    drain();
    const call = { type: 'function_call', id: 'item_1', call_id: 'call_1', name: 'show_map', arguments: '{}' };
    say('response.done', { response: { id: 'resp_0', status: 'completed', output: [call] } });
    await client.next('response.done');
    await time.live(3);
    expect(isOpen()).toBe(true);
    client.send({ type: 'response.create' });
    await upstream.received(1);
    answer();
    expect(await endOf(server, client)).toEqual(draining);
  });

  it('loses no answer of many', async () => {
    const emulator = await startTestEmulator({ speed: 20 });
    const yaml =
      'profiles: { default: { limits: { sessions_per_user: 100, connects_burst: 100, responses_per_second: 100 } } }';
    const server = await startTestRelay({ upstream: emulator.url, yaml });
    const counts = { asked: 0, refused: 0, done: 0 };
    const clients = await Promise.all(Array.from({ length: 40 }, () => server.connect()));
    for (const client of clients) {
      await client.next('session.created');
      const ask = () => {
        if (client.ws.readyState !== client.ws.OPEN) return;
        counts.asked++;
        client.send({ type: 'response.create', response: { output_modalities: ['text'] } });
      };
      client.ws.on('message', (data: Buffer) => {
        const { type, error } = JSON.parse(data.toString());
        if (type === 'response.done') {
          counts.done++;
          ask();
        } else if (type === 'error' && error.code === 'not_while_draining') counts.refused++;
      });
      ask();
    }
    await Promise.all(clients.map((client) => client.next('response.done')));
    const drained = server.relay.drain();
    expect((await Promise.all(clients.map(({ closed }) => closed))).map(({ code }) => code)).toEqual(
      clients.map(() => 1012),
    );
    await drained;
    const received = emulator.control.received.events('response.create').length;
    expect(counts.done).toBe(received);
    // What is asked for just when the goodbye is on its way is not answered, and has not begun either.
    expect(received).toBeLessThanOrEqual(counts.asked - counts.refused);
  });
});

describe('idle HTTP connections at shutdown', () => {
  it('end at once, and those that come later with their answer', async () => {
    const { client, server, say, drain } = await told();
    say('input_audio_buffer.speech_started', { item_id: 'item_1', audio_start_ms: 0 });
    await client.next('input_audio_buffer.speech_started');
    const { hostname, port } = new URL(server.relay.url);
    const ask = async () => {
      const socket = createConnection(Number(port), hostname);
      socket.write('GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n');
      const [answer] = (await once(socket, 'data')) as [Buffer];
      return { socket, ended: once(socket, 'end'), text: answer.toString() };
    };
    const before = await ask();
    expect(before.text).toMatch(/connection: keep-alive/i);
    drain();
    await before.ended;
    const after = await ask();
    expect(after.text).toMatch(/connection: close/i);
    await after.ended;
    before.socket.destroy();
    after.socket.destroy();
  });
});
