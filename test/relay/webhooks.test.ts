import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, vi } from 'vitest';
import { readWav } from '../../src/audio/wav.js';
import type { EmulatorOptions } from '../../src/emulator/emulator.js';
import type { TestClient } from '../support/client.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';
import { type Receiver, startReceiver, webhookSecret } from '../support/webhook.js';

const { samples } = readWav(
  readFileSync(fileURLToPath(new URL('../../assets/speech/question-order.wav', import.meta.url))),
);
const speech = Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength);

const profile = `
    session: { instructions: Be brief., audio: { input: { transcription: { model: gpt-4o-mini-transcribe } } } }
    limits: { audio_burst_seconds: 600, audio_realtime_factor: 100, responses_per_second: 1000, responses_burst: 1000, events_per_second: 10000 }
    transcripts: { webhook: true, log: true }`;

function yamlOf(receiver: Receiver, more = '', hook = ''): string {
  return `
webhooks: [{ url: "${receiver.url}", secret: "${webhookSecret}"${hook} }]
profiles:
  default: ${profile}
${more}`;
}

async function start(receiver: Receiver, more = '', options: EmulatorOptions = {}) {
  const emulator = await startTestEmulator(options);
  const server = await startTestRelay({ upstream: emulator.url, yaml: yamlOf(receiver, more) });
  return { emulator, server };
}

/** Says the question about an order, and waits for the answer. */
async function ask(client: TestClient, words = speech): Promise<void> {
  for (let at = 0; at < words.length; at += 48_000) {
    client.send({ type: 'input_audio_buffer.append', audio: words.subarray(at, at + 48_000).toString('base64') });
  }
  client.send({ type: 'input_audio_buffer.append', audio: Buffer.alloc(96_000).toString('base64') });
  await client.next('response.done');
}

async function leave(client: TestClient): Promise<void> {
  client.ws.close(1000);
  await client.closed;
}

describe('a webhook', () => {
  it('is told of a session from its start to its end, in numbers without a gap, and last of its end', async () => {
    const receiver = await startReceiver();
    const { server } = await start(receiver);
    const client = await server.connect({ token: server.token({ tenant: 'acme' }) });
    const { session } = await client.next('session.created');
    await client.ask('Where is my order?');
    await ask(client);
    await leave(client);
    await receiver.until(() => receiver.taken('session.ended').length === 1);
    const taken = receiver.taken();
    const { id } = session as { id: string };
    expect(taken.map(({ data }) => data.seq)).toEqual(taken.map((_, index) => index + 1));
    expect(taken.map(({ type }) => type)).toEqual([
      'session.started',
      ...Array(4).fill('transcript.item'),
      'session.usage',
      'session.ended',
    ]);
    for (const { data } of taken) {
      expect(data).toMatchObject({ session: id, subject: 'alice', tenant: 'acme', profile: 'default' });
      expect(data).not.toHaveProperty('issuer');
    }
    const [started] = taken;
    const [usage, ended] = taken.slice(-2);
    expect(started?.data).toMatchObject({ transport: 'websocket', dialect: 'ga', upstream: 'default' });
    expect(usage?.data).toMatchObject({ responses: 2, complete: true, started_at: started?.data.started_at });
    expect(ended?.data).toMatchObject({
      reason: 'normal',
      initiator: 'client',
      turns: 2,
      counts: { 'transcript.item': 4, 'tool.called': 0 },
      started_at: started?.data.started_at,
      ended_at: usage?.data.ended_at,
    });
    for (const { id: messageId, body } of receiver.posts) expect(messageId).toBe(`${id}_${body.data.seq}`);
    const items = receiver.taken('transcript.item').map(({ data }) => data);
    expect(items.map(({ role, source, status }) => [role, source, status])).toEqual([
      ['user', 'user', 'completed'],
      ['assistant', 'model', 'completed'],
      ['user', 'user', 'completed'],
      ['assistant', 'model', 'completed'],
    ]);
    expect(items[0]?.text).toBe('Where is my order?');
    expect(items[2]?.text).toMatch(/order/i);
    for (const { text, started_at, ended_at, item_id } of items) {
      expect(text).not.toBe('');
      expect(item_id).toMatch(/./);
      expect(Date.parse(String(ended_at))).toBeGreaterThanOrEqual(Date.parse(String(started_at)));
    }
    await vi.waitFor(async () =>
      expect(await server.metric('relay_webhook_deliveries_total', { outcome: 'delivered' })).toBe(7),
    );
    const logged = server.log.filter(({ msg }) => msg === 'session.transcript');
    expect(logged.map(({ seq, text }) => [seq, text])).toEqual(items.map(({ seq, text }) => [seq, text]));
  });

  it('gets every turn once and in order though it fails half of the time, answers are cut, and the relay drains', {
    timeout: 60_000,
  }, async () => {
    const tries = new Map<string, number>();
    // Each message fails none, one or two times before it is taken.
    const receiver = await startReceiver((_, { id }) => {
      const tried = (tries.get(id) ?? 0) + 1;
      tries.set(id, tried);
      return tried > Number(id.slice(id.lastIndexOf('_') + 1)) % 3 ? 204 : 500;
    });
    const { server } = await start(receiver, 'limits: { drain_seconds: 5 }');
    const turns = 24;
    const talk = async (subject: string) => {
      const client = await server.connect({ token: server.token({ subject }) });
      await client.next('session.created');
      for (let turn = 0; turn < turns; turn++) {
        client.send({
          type: 'conversation.item.create',
          item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: `${subject} ${turn}` }] },
        });
        client.send({ type: 'response.create' });
        const { response } = (await client.next('response.done')) as unknown as {
          response: { output: { id: string }[] };
        };
        if (turn % 3 > 0) continue;
        const [{ id }] = response.output as [{ id: string }];
        client.send({ type: 'conversation.item.truncate', item_id: id, content_index: 0, audio_end_ms: 300 });
        await client.next('conversation.item.truncated');
      }
    };
    await Promise.all([talk('alice'), talk('bob')]);
    expect(receiver.posts.length).toBeGreaterThan(2);
    await server.relay.drain();
    for (const subject of ['alice', 'bob']) {
      const mine = receiver.taken().filter(({ data }) => data.subject === subject);
      expect(mine.map(({ data }) => data.seq)).toEqual(Array.from({ length: 2 * turns + 3 }, (_, i) => i + 1));
      const said = mine.filter(({ type }) => type === 'transcript.item').map(({ data }) => data);
      const users = said.filter(({ role }) => role === 'user').map(({ text }) => text);
      expect(users).toEqual(Array.from({ length: turns }, (_, turn) => `${subject} ${turn}`));
      expect(said.map(({ role }) => role)).toEqual(Array.from({ length: turns }, () => ['user', 'assistant']).flat());
      const answers = said.filter(({ role }) => role === 'assistant');
      const whole = String(answers[1]?.text);
      for (const [turn, { status, text, audio_end_ms }] of answers.entries()) {
        expect(status).toBe(turn % 3 === 0 ? 'interrupted' : 'completed');
        expect(audio_end_ms).toBe(turn % 3 === 0 ? 300 : undefined);
        if (turn % 3 === 0) expect(String(text).length).toBeLessThan(whole.length);
      }
      expect(mine.at(-1)).toMatchObject({
        type: 'session.ended',
        data: { reason: 'draining', initiator: 'relay', counts: { 'transcript.item': 2 * turns } },
      });
    }
    expect(await server.metric('relay_webhook_deliveries_total', { outcome: 'dropped' })).toBe(0);
  });

  it('is told of calls of tools, and only of what it asked for', async () => {
    const [receiver, tool] = await Promise.all([startReceiver(), startReceiver(() => 204)]);
    const emulator = await startTestEmulator();
    emulator.control.script({ functionCall: { name: 'order_status', arguments: '{"order":"secret-1"}' } });
    const server = await startTestRelay({
      upstream: emulator.url,
      yaml: `
webhooks: [{ url: "${receiver.url}", secret: ["${webhookSecret}"], events: [tool.called, session.ended] }]
profiles:
  default:
    tools:
      - name: order_status
        runs: http
        http: { url: "${tool.url}", private: true, secret: "${webhookSecret}" }`,
    });
    const client = await server.connect();
    await client.next('session.created');
    await client.ask('Where is my order?');
    await receiver.until(() => receiver.taken('tool.called').length === 1);
    await leave(client);
    await receiver.until(() => receiver.taken('session.ended').length === 1);
    const [called, ended] = receiver.taken();
    expect(called?.data).toMatchObject({
      seq: 2,
      name: 'order_status',
      runs: 'http',
      call_id: expect.stringMatching(/./),
      outcome: expect.stringMatching(/^(ok|failed)$/),
    });
    expect(JSON.stringify(receiver.posts)).not.toContain('secret-1');
    expect(ended?.data).toMatchObject({ seq: 4, counts: { 'transcript.item': 0, 'tool.called': 1 } });
    expect(receiver.taken()).toHaveLength(2);
  });

  it('hears nothing of a session that was never open', async () => {
    const receiver = await startReceiver();
    const { server, emulator } = await start(receiver);
    emulator.control.faults.arm('refuse_401_permission', 5);
    const refused = await server.connect();
    await refused.closed;
    emulator.control.faults.clear();
    await server.logged('session.ended');
    expect(receiver.posts).toEqual([]);
  });

  it('is another one from the moment at which the settings are read again, for sessions that run as well', async () => {
    const [before, after] = await Promise.all([startReceiver(), startReceiver()]);
    const { server } = await start(before);
    const client = await server.connect();
    await client.next('session.created');
    await before.until(() => before.posts.length === 1);
    server.rewrite(yamlOf(after));
    server.relay.reload();
    await server.logged('config.reloaded');
    await client.ask('Are you there?');
    await leave(client);
    await after.until(() => after.taken('session.ended').length === 1);
    expect(before.taken().map(({ type }) => type)).toEqual(['session.started']);
    expect(after.taken().map(({ data }) => data.seq)).toEqual([2, 3, 4, 5]);
  });
});

describe('transcripts', () => {
  it('are kept nowhere unless a profile says so', async () => {
    const receiver = await startReceiver();
    const emulator = await startTestEmulator();
    const server = await startTestRelay({
      upstream: emulator.url,
      yaml: `webhooks: [{ url: "${receiver.url}", secret: "${webhookSecret}" }]`,
    });
    const client = await server.connect();
    await client.next('session.created');
    await client.ask('A word that nobody may read.');
    await leave(client);
    await receiver.until(() => receiver.taken('session.ended').length === 1);
    expect(receiver.taken().map(({ type }) => type)).toEqual(['session.started', 'session.usage', 'session.ended']);
    expect(JSON.stringify([receiver.posts, server.log])).not.toContain('nobody may read');
  });

  it.each(['ga', 'preview'])('are the same before an upstream of %s', async (dialect) => {
    const receiver = await startReceiver();
    const emulator = await startTestEmulator();
    const upstream = `{ name: main, endpoint: "${emulator.url}", deployment: gpt-realtime, dialect: ${dialect}, api_key: emulator-key }`;
    const server = await startTestRelay({
      upstream: emulator.url,
      yaml: yamlOf(receiver, `upstreams: [${upstream}]`),
    });
    const client = await server.connect();
    await client.next('session.created');
    await ask(client);
    await ask(client);
    await leave(client);
    await receiver.until(() => receiver.taken('session.ended').length === 1);
    const said = receiver.taken('transcript.item').map(({ data }) => [data.role, data.source, data.status]);
    expect(said).toEqual([
      ['user', 'user', 'completed'],
      ['assistant', 'model', 'completed'],
      ['user', 'user', 'completed'],
      ['assistant', 'model', 'completed'],
    ]);
  });
});
