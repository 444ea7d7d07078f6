import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { WebSocket } from 'ws';
import { at, begin, finish, speak, speakAt } from '../support/answer.js';
import { connect, type TestClient } from '../support/client.js';
import { startLink } from '../support/link.js';
import { connectRaw, frame, opcode } from '../support/raw.js';
import { startTestRelay, type TestRelay } from '../support/relay.js';
import { startUpstream } from '../support/upstream.js';

/** How much faster than it would be all is here; `npm run endure` takes the time that it takes. */
const haste = 10;
const kilobits = (perSecond: number) => (perSecond * 1000) / 8;

interface Call {
  readonly server: TestRelay;
  readonly client: TestClient;
  readonly ws: WebSocket;
  readonly link: Awaited<ReturnType<typeof startLink>>;
}

async function call(bytesPerSecond: number, rttMs: number, yaml = 'limits: { hold_bytes: 4194304 }'): Promise<Call> {
  const upstream = await startUpstream();
  const server = await startTestRelay({ upstream: upstream.url, yaml });
  const link = await startLink(server.address, bytesPerSecond, rttMs);
  const headers = { Authorization: `Bearer ${server.token()}` };
  const client = await connect(`${link.address}/openai/v1/realtime?model=x`, { headers });
  await client.next('session.created');
  const { ws } = await upstream.connected();
  return { server, client, ws, link };
}

const heard = (client: TestClient) => client.events.filter(({ type }) => type === 'response.output_audio.delta').length;

/** A link on which much more speech waits than is on its way, with words between two responses' speech. */
async function backlog(yaml?: string): Promise<Call> {
  const started = await call(kilobits(2400), 100, yaml);
  const { ws, server } = started;
  for (const id of ['resp_1', 'resp_2']) {
    begin(ws, id);
    speak(ws, id, 60);
    ws.send(JSON.stringify({ type: 'response.output_text.delta', ...at, response_id: id, delta: 'words' }));
  }
  await vi.waitFor(() => expect([...server.relay.sessions][0]?.buffered.down).toBeGreaterThan(600_000), {
    interval: 5,
  });
  return started;
}

const speechOf = (client: TestClient, id: string) =>
  client.events.filter(({ type, response_id }) => type === 'response.output_audio.delta' && response_id === id).length;

const started = {
  type: 'input_audio_buffer.speech_started',
  event_id: 'event_s',
  audio_start_ms: 0,
  item_id: 'item_2',
};

describe('an interruption', () => {
  const truncate = { type: 'conversation.item.truncate', item_id: 'item_1', content_index: 0, audio_end_ms: 100 };

  it.each<[string, (call: Call) => void, kept: string[]]>([
    ['speech of the user drops all speech', ({ ws }) => ws.send(JSON.stringify(started)), []],
    ['a truncation drops all speech', ({ client }) => client.send(truncate), []],
    [
      'a cancel drops that of its response',
      ({ client }) => client.send({ type: 'response.cancel', response_id: 'resp_1' }),
      ['resp_2'],
    ],
    ['the end of a cancelled response drops its own', ({ ws }) => finish(ws, 'resp_2', 'cancelled'), ['resp_1']],
    [
      'the end of a response that was not cancelled drops none',
      ({ ws }) => finish(ws, 'resp_1', 'completed'),
      ['resp_1', 'resp_2'],
    ],
  ])('%s that waits, and nothing else', { timeout: 20_000 }, async (_, interrupt, kept) => {
    const stage = await backlog();
    interrupt(stage);
    await vi.waitFor(
      () => expect(stage.client.types().filter((type) => type === 'response.output_text.delta')).toHaveLength(2),
      { timeout: 15_000, interval: 20 },
    );
    for (const id of ['resp_1', 'resp_2']) {
      if (kept.includes(id)) expect(speechOf(stage.client, id)).toBe(60);
      else expect(speechOf(stage.client, id)).toBeLessThan(50);
    }
    expect(await stage.server.metric('relay_backpressure_seconds_total', { direction: 'down' })).toBe(0);
  });

  it('drops nothing where the user’s speech does not interrupt', { timeout: 20_000 }, async () => {
    const stage = await backlog(`
profiles:
  default: { session: { audio: { input: { turn_detection: { type: server_vad, interrupt_response: false } } } } }
limits: { hold_bytes: 4194304 }`);
    stage.ws.send(JSON.stringify(started));
    await stage.client.next('input_audio_buffer.speech_started');
    expect(heard(stage.client)).toBe(120);
  });
});

describe('a client that answers no pings', () => {
  const clear = { type: 'input_audio_buffer.clear' };

  async function deaf(yaml: string) {
    const upstream = await startUpstream();
    const server = await startTestRelay({ upstream: upstream.url, yaml });
    const client = await connectRaw(server.address, server.token());
    client.answersPings = false;
    await client.event('session.created');
    const { ws } = await upstream.connected();
    begin(ws, 'resp_1');
    return { server, client, ws };
  }

  it('gets all that it reads, once it was heard', async () => {
    const { server, client, ws } = await deaf('limits: { hold_bytes: 4194304 }');
    speak(ws, 'resp_1', 100);
    finish(ws, 'resp_1', 'completed');
    const talk = setInterval(() => client.send(clear), 100);
    onTestFinished(() => clearInterval(talk));
    await client.event('response.done');
    expect(client.events.filter(({ type }) => type === 'response.output_audio.delta')).toHaveLength(100);
    await server.logged('client.unanswered');
    expect(server.log.filter(({ msg }) => msg === 'client.unanswered')).toHaveLength(1);
  });

  it('slow_consumer: is not taken for one who reads, whatever pongs it makes up', async () => {
    const { server, client, ws } = await deaf('limits: { hold_bytes: 65536, stall_seconds: 1 }');
    client.socket.pause();
    const forge = setInterval(() => {
      for (const payload of ['1', '2', '3', '']) client.write(frame(opcode.pong, payload));
    }, 50);
    onTestFinished(() => {
      clearInterval(forge);
      client.socket.destroy();
    });
    speak(ws, 'resp_1', 3000);
    expect(await server.logged('session.ended')).toMatchObject({ reason: 'slow_consumer', initiator: 'client' });
  });
});

describe('a client on a slow link', () => {
  it(
    'hears all of a long answer that is made faster than it can be read, through a pause of the link',
    async () => {
      const stall = 75 / haste;
      const limits = `limits: { hold_bytes: 4194304, stall_seconds: ${stall} }`;
      const { server, client, ws, link } = await call(kilobits(600 * haste), 300 / haste, limits);
      begin(ws, 'resp_1');
      const { done } = speakAt(ws, 'resp_1', 4 * haste, 60);
      const said = done.then(() => finish(ws, 'resp_1', 'completed'));
      await vi.waitFor(() => expect(heard(client)).toBeGreaterThan(100), { timeout: 20_000, interval: 10 });
      link.isTunnel = true;
      await new Promise((resolve) => setTimeout(resolve, 30_000 / haste));
      link.isTunnel = false;
      await said;
      finish(ws, 'resp_1', 'completed');
      await client.next('response.done');
      expect(heard(client)).toBe(600);
      expect(server.relay.sessions.size).toBe(1);
    },
    200_000 / haste,
  );

  it('is silent within a second of a barge-in at 600 kbit/s, and loses nothing but speech', async () => {
    const rttMs = 300;
    const { client, ws, server } = await call(kilobits(600), rttMs);
    begin(ws, 'resp_1');
    const speech = speakAt(ws, 'resp_1', 4, 60);
    await vi.waitFor(() => expect([...server.relay.sessions][0]?.buffered.down).toBeGreaterThan(600_000), {
      timeout: 8000,
      interval: 10,
    });
    speech.stop();
    ws.send(JSON.stringify({ type: 'response.output_text.delta', ...at, response_id: 'resp_1', delta: 'words' }));
    ws.send(
      JSON.stringify({
        type: 'input_audio_buffer.speech_started',
        event_id: 'event_s',
        audio_start_ms: 0,
        item_id: 'item_2',
      }),
    );
    const began = performance.now();
    finish(ws, 'resp_1', 'cancelled');
    await client.next('response.done');
    expect(performance.now() - began).toBeLessThan(1000 + rttMs);
    expect(client.types().slice(-3)).toEqual([
      'response.output_text.delta',
      'input_audio_buffer.speech_started',
      'response.done',
    ]);
    const before = heard(client);
    begin(ws, 'resp_2');
    speak(ws, 'resp_2', 3);
    finish(ws, 'resp_2', 'completed');
    await client.next('response.done');
    expect(heard(client) - before).toBe(3);
  }, 20_000);

  it('is told why its session ends, though speech waits for it', async () => {
    const { client, ws, server } = await call(kilobits(600), 300);
    begin(ws, 'resp_1');
    speak(ws, 'resp_1', 200);
    await vi.waitFor(() => expect([...server.relay.sessions][0]?.buffered.down).toBeGreaterThan(600_000));
    ws.close(1011);
    expect(await client.closed).toEqual({ code: 1011, reason: 'upstream_lost' });
    expect(client.events.at(-1)).toMatchObject({ type: 'error', error: { code: 'upstream_lost' } });
    expect(heard(client)).toBeLessThan(50);
  });
});
