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
});
