import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Emulator } from '../../src/emulator/emulator.js';
import { keyOf, sign } from '../../src/outbound/sign.js';
import { appends, spoken } from '../emulator/speech.js';
import type { TestClient } from '../support/client.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { startUpstream } from '../support/upstream.js';

const speech = appends(spoken('pcm', 100, 900));

/** Profiles for what is billed differently: transcription by duration, by tokens, and none. */
const yaml = (dialect: string, url: string) => `
upstreams: [{ name: main, endpoint: "${url}", deployment: gpt-realtime, dialect: ${dialect}, api_key: emulator-key }]
profiles:
  default: { limits: { audio_burst_seconds: 60 } }
  seconds:
    session: { audio: { input: { transcription: { model: gpt-realtime-whisper } } } }
    limits: { audio_burst_seconds: 60 }
  tokens:
    session: { audio: { input: { transcription: { model: gpt-4o-transcribe } } } }
    limits: { audio_burst_seconds: 60 }
`;

async function say(client: TestClient): Promise<void> {
  for (const event of speech) client.send(event);
}

async function startSpeaking(client: TestClient): Promise<void> {
  client.send({ type: 'response.create' });
  await client.next('response.output_audio.delta');
}

/** What a session does, and the responses that costs at least. */
const lives: Record<string, [profile: string, responses: number, live: (client: TestClient) => Promise<unknown>]> = {
  'asks once and leaves': ['default', 1, (client) => client.ask('one')],
  'asks three times and leaves': [
    'default',
    3,
    async (client) => {
      await client.ask('one, which the others read from the cache'.repeat(20));
      await client.ask('two');
      await client.ask('three');
    },
  ],
  'cuts the line in the middle of an answer': [
    'default',
    1,
    async (client) => {
      await startSpeaking(client);
      client.ws.terminate();
    },
  ],
  'leaves in the same breath as it asks': [
    'default',
    1,
    async (client) => {
      client.send({ type: 'response.create' });
    },
  ],
  'cancels and leaves': [
    'default',
    1,
    async (client) => {
      await startSpeaking(client);
      client.send({ type: 'response.cancel' });
    },
  ],
  'interrupts by speaking, and leaves at the answer to that': [
    'seconds',
    2,
    async (client) => {
      await startSpeaking(client);
      await say(client);
      await client.next(({ type, response }) => type === 'response.done' && isCancelled(response));
      await client.next('response.created');
    },
  ],
  'speaks and cuts the line before the transcript': [
    'tokens',
    1,
    async (client) => {
      await say(client);
      await client.next('input_audio_buffer.committed');
      client.ws.terminate();
    },
  ],
  'breaks the protocol in the middle of an answer': [
    'default',
    1,
    async (client) => {
      await startSpeaking(client);
      client.ws.send(Buffer.from([1, 2, 3]));
    },
  ],
};

function isCancelled(response: unknown): boolean {
  return (response as { status: string }).status === 'cancelled';
}

const names = Object.keys(lives);

async function run(server: TestRelay, index: number): Promise<void> {
  const [profile, , live] = lives[names[index % names.length] as string] as (typeof lives)[string];
  const client = await server.connect({ token: server.token({ subject: `user-${index}`, profile, tenant: 'acme' }) });
  await client.next('session.created');
  await live(client);
  client.ws.close(1000);
  await client.closed;
}

type Totals = Record<string, number>;

const sums = [
  'responses',
  'input_tokens',
  'output_tokens',
  'total_tokens',
  'input_text_tokens',
  'input_audio_tokens',
  'cached_tokens',
  'output_text_tokens',
  'output_audio_tokens',
  'transcriptions',
  'transcription_tokens',
  'transcription_seconds',
] as const;

function recordsOf(server: TestRelay): Totals[] {
  return server.log.filter(({ msg }) => msg === 'session.usage') as Totals[];
}

function totalOf(server: TestRelay): Totals {
  const records = recordsOf(server);
  return Object.fromEntries(
    sums.map((name) => [name, records.reduce((sum, record) => sum + (record[name] as number), 0)]),
  );
}

describe('the usage of sessions', () => {
  it.each([
    ['ga', 200],
    ['preview', 40],
  ])(
    'adds up to what the upstream billed, however they end: %s, %i sessions',
    async (dialect, count) => {
      const emulator = await startTestEmulator({ speed: 40 });
      const server = await startTestRelay({ upstream: emulator.url, yaml: yaml(dialect, emulator.url), level: 'info' });
      const waiting = Array.from({ length: count }, (_, index) => index);
      const worker = async () => {
        for (let index = waiting.shift(); index !== undefined; index = waiting.shift()) await run(server, index);
      };
      await Promise.all(Array.from({ length: 20 }, worker));
      await server.logged('session.usage', count);
      await emulator.control.received.waitFor(({ openCount }) => openCount === 0);

      const { usage } = emulator.control.received;
      expect(totalOf(server)).toEqual(usage);
      const records = recordsOf(server);
      expect(records.filter(({ complete }) => !complete)).toEqual([]);
      expect(new Set(records.map(({ session }) => session)).size).toBe(count);
      const least = Array.from({ length: count }, (_, index) => lives[names[index % names.length] as string]?.[1] ?? 0);
      expect(usage.responses).toBeGreaterThanOrEqual(least.reduce((sum, one) => sum + one, 0));
      for (const name of ['cached_tokens', 'transcription_tokens', 'transcription_seconds'] as const) {
        expect(usage[name]).toBeGreaterThan(0);
      }
      // Each token once: those of responses are all of some modality, and transcription has its own.
      expect(await server.metric('relay_tokens_total')).toBe(usage.total_tokens + usage.transcription_tokens);
    },
    30_000,
  );

  it('is told in one record of who, where and how long, without content', async () => {
    const emulator = await startTestEmulator();
    const server = await startTestRelay({ upstream: emulator.url, yaml: yaml('ga', emulator.url) });
    await run(server, 0);
    const record = await server.logged('session.usage');
    expect(record).toMatchObject({
      session: expect.stringMatching(/^sess_[0-9a-f]{32}$/),
      subject: 'user-0',
      tenant: 'acme',
      profile: 'default',
      upstream: 'main',
      responses: 1,
      complete: true,
      minutes: expect.any(Number),
      input_audio_seconds: 0,
    });
    expect(Date.parse(String(record.ended_at))).toBeGreaterThanOrEqual(Date.parse(String(record.started_at)));
    expect((await server.logged('session.ended')).session).toBe(record.session);
  });

  it('is incomplete when the upstream dies, and when it never says what an answer cost', async () => {
    const emulator = await startTestEmulator();
    const server = await startTestRelay({ upstream: emulator.url, yaml: yaml('ga', emulator.url) });
    emulator.control.faults.arm('die_mid_response');
    const client = await server.connect();
    client.send({ type: 'response.create' });
    await client.closed;
    expect(await server.logged('session.usage')).toMatchObject({ complete: false, responses: 0 });

    emulator.control.faults.arm('mute');
    const patient = await server.connect();
    await patient.next('session.created');
    patient.send({ type: 'response.create' });
    await emulator.control.received.waitFor((received) => received.events('response.create').length === 2);
    patient.ws.terminate();
    await server.logged('session.ended', 2);
    // The user has the place back at once, and upstream is held until the relay closes.
    expect(server.relay.sessions.size).toBe(0);
    expect(emulator.control.received.openCount).toBe(1);
    await server.relay.close();
    expect(await server.logged('session.usage', 2)).toMatchObject({ complete: false });
  });

  it('gives the place back at once, and ends the session line before the usage is known', async () => {
    const emulator = await startTestEmulator();
    const limits = 'profiles: { default: { limits: { sessions_per_user: 1 } } }';
    const server = await startTestRelay({ upstream: emulator.url, yaml: limits });
    emulator.control.faults.arm('mute');
    const client = await server.connect();
    await client.next('session.created');
    client.send({ type: 'response.create' });
    await emulator.control.received.waitFor((received) => received.events('response.create').length === 1);
    client.ws.terminate();
    await server.logged('session.ended');
    const again = await server.connect();
    expect(await again.ask('here again')).toMatchObject({ status: 'completed' });
  });

  it('cancels a response that begins only after the client has left', async () => {
    const upstream = await startUpstream();
    const server = await startTestRelay({ upstream: upstream.url });
    const client = await server.connect();
    await client.next('session.created');
    client.send({ type: 'response.create' });
    await upstream.received(1);
    client.ws.terminate();
    await server.logged('session.ended');
    const { ws } = await upstream.connected();
    ws.send(JSON.stringify({ type: 'response.created', response: { id: 'resp_1', status: 'in_progress' } }));
    const texts = await upstream.received(2);
    expect(JSON.parse(texts[1] as string)).toMatchObject({ type: 'response.cancel', response_id: 'resp_1' });
    const closed = once(ws, 'close');
    const usage = { total_tokens: 7, input_tokens: 4, output_tokens: 3 };
    ws.send(JSON.stringify({ type: 'response.done', response: { id: 'resp_1', status: 'cancelled', usage } }));
    expect(await server.logged('session.usage')).toMatchObject({ total_tokens: 7, responses: 1, complete: true });
    expect((await closed)[0]).toBe(1000);
  });

  it('is incomplete when upstream goes on after the cancel, and it is let go of within two seconds', async () => {
    const upstream = await startUpstream();
    const server = await startTestRelay({ upstream: upstream.url });
    const client = await server.connect();
    await client.next('session.created');
    const { ws } = await upstream.connected();
    ws.send(JSON.stringify({ type: 'response.created', response: { id: 'resp_1', status: 'in_progress' } }));
    await client.next('response.created');
    client.ws.terminate();
    const cancelled = performance.now();
    const delta = { type: 'response.output_text.delta', response_id: 'resp_1', item_id: 'item_1', delta: 'on and on' };
    const goesOn = setInterval(() => ws.send(JSON.stringify(delta)), 50);
    onTestFinished(() => clearInterval(goesOn));
    await once(ws, 'close');
    expect(performance.now() - cancelled).toBeLessThan(4000);
    expect(JSON.parse(upstream.texts[0] as string)).toMatchObject({ type: 'response.cancel', response_id: 'resp_1' });
    expect(await server.logged('session.usage')).toMatchObject({ complete: false });
  });

  it('keeps what upstream counts under names that nobody knows yet', async () => {
    const upstream = await startUpstream();
    const server = await startTestRelay({ upstream: upstream.url });
    const client = await server.connect();
    await client.next('session.created');
    const { ws } = await upstream.connected();
    ws.send(JSON.stringify({ type: 'response.created', response: { id: 'resp_1', status: 'in_progress' } }));
    const details = { text_tokens: 5, reasoning_tokens: 64 };
    const usage = {
      total_tokens: 69,
      output_tokens: 69,
      output_token_details: details,
      searches: 2,
      Bad: 1,
      secret: 'x',
    };
    for (const id of ['resp_1', 'resp_2']) {
      ws.send(JSON.stringify({ type: 'response.done', response: { id, status: 'completed', usage } }));
    }
    const seen = await client.next('response.done');
    expect(seen.response).toMatchObject({ usage: { output_token_details: details, searches: 2 } });
    ws.close(1000);
    expect(await server.logged('session.usage')).toMatchObject({
      total_tokens: 138,
      other: { 'output_token_details.reasoning_tokens': 128, searches: 4 },
    });
    expect(await server.metric('relay_tokens_total', { kind: 'other' })).toBe(128);
  });

  it('counts nothing that is no number of tokens', async () => {
    const upstream = await startUpstream();
    const server = await startTestRelay({ upstream: upstream.url });
    const client = await server.connect();
    await client.next('session.created');
    const { ws } = await upstream.connected();
    const values = [-5, '12', 1e300, null, {}, 2 ** 60];
    for (const [index, value] of values.entries()) {
      const usage = { total_tokens: value, input_tokens: value, output_token_details: { audio_tokens: value } };
      ws.send(JSON.stringify({ type: 'response.done', response: { id: `resp_${index}`, status: 'completed', usage } }));
    }
    ws.send(JSON.stringify({ type: 'response.done', response: { id: 'resp_x', status: 'failed', usage: null } }));
    ws.close(1000);
    await client.closed;
    expect(await server.logged('session.usage')).toMatchObject({
      total_tokens: 0,
      output_audio_tokens: 0,
      responses: 7,
    });
  });
});

interface Post {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A webhook that answers as told, in turn, and then 204. */
async function startWebhook(...answers: (number | 'hang' | 'redirect')[]) {
  const posts: Post[] = [];
  const waiters = new Set<() => void>();
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString();
    });
    request.on('end', () => {
      posts.push({ headers: request.headers, body });
      const answer = answers.shift() ?? 204;
      if (answer === 'redirect') response.writeHead(307, { location: '/elsewhere' }).end();
      else if (answer !== 'hang') response.writeHead(answer).end();
      for (const waiter of [...waiters]) waiter();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/usage`,
    posts,
    posted: (count: number) =>
      new Promise<Post[]>((resolve) => {
        const look = () => {
          if (posts.length < count) return;
          waiters.delete(look);
          resolve(posts);
        };
        waiters.add(look);
        look();
      }),
  };
}

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=';

async function startWithWebhook(url: string, emulator?: Emulator) {
  const upstream = emulator ?? (await startTestEmulator());
  const yaml = `usage: { webhook: { url: "${url}", secret: "${secret}" } }\nlimits: { drain_seconds: 2 }`;
  return startTestRelay({ upstream: upstream.url, yaml });
}

async function session(server: TestRelay): Promise<void> {
  const client = await server.connect();
  await client.ask('hello');
  client.ws.close(1000);
  await client.closed;
}

describe('the usage webhook', () => {
  it('gets the record of the log, signed', async () => {
    const webhook = await startWebhook();
    const server = await startWithWebhook(webhook.url);
    await session(server);
    const [post] = await webhook.posted(1);
    const { headers, body } = post as Post;
    const { msg, level, time, service, ...record } = await server.logged('session.usage');
    expect(JSON.parse(body)).toEqual({ type: 'session.usage', timestamp: record.ended_at, data: record });
    const id = String(headers['webhook-id']);
    const timestamp = Number(headers['webhook-timestamp']);
    expect(id).toBe(`usage_${record.session}`);
    expect(Math.abs(timestamp - Date.now() / 1000)).toBeLessThan(5);
    expect(headers['webhook-signature']).toBe(sign(keyOf(secret), id, timestamp, body));
    await expect.poll(() => server.metric('relay_usage_records_total', { outcome: 'delivered' })).toBe(1);
  });

  it('is asked again with the same id, follows no redirect, and never disturbs a session', async () => {
    const webhook = await startWebhook(500, 'redirect');
    const server = await startWithWebhook(webhook.url);
    await session(server);
    await session(server);
    const posts = await webhook.posted(4);
    expect(new Set(posts.map(({ headers }) => headers['webhook-id'])).size).toBe(2);
    await expect.poll(() => server.metric('relay_usage_records_total', { outcome: 'delivered' })).toBe(2);
  });

  it('has what is left of the time to drain, and not more', async () => {
    const webhook = await startWebhook('hang', 'hang', 'hang');
    const server = await startWithWebhook(webhook.url);
    await session(server);
    await webhook.posted(1);
    const started = performance.now();
    await server.relay.drain();
    expect(performance.now() - started).toBeLessThan(2500);
    expect(await server.logged('usage.undelivered')).toMatchObject({ outcome: 'dropped', attempts: 1 });
    expect(await server.metric('relay_usage_records_total', { outcome: 'dropped' })).toBe(1);
  });

  it('gets the records of sessions that end with the relay', async () => {
    const webhook = await startWebhook();
    const server = await startWithWebhook(webhook.url);
    const client = await server.connect();
    await client.ask('hello');
    await server.relay.drain();
    expect(webhook.posts).toHaveLength(1);
  });
});
