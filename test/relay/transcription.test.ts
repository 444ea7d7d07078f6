import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { readWav } from '../../src/audio/wav.js';
import { refused, type TestClient } from '../support/client.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';

const speechFile = fileURLToPath(new URL('../../assets/speech/question-order.wav', import.meta.url));
const { samples } = readWav(readFileSync(speechFile));
const speech = Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength);
const transcript = /order/i;

const ga = {
  path: '/openai/v1/realtime?intent=transcription',
  created: 'session.created',
  updated: 'session.updated',
  update: (turn_detection: object | null) => ({
    type: 'session.update',
    session: { type: 'transcription', audio: { input: { turn_detection, transcription: { model: 'mine' } } } },
  }),
  turnDetection: ({ audio }: Session) => audio?.input.turn_detection,
  added: 'conversation.item.added',
};
const preview = {
  path: '/openai/realtime?api-version=2025-04-01-preview&intent=transcription',
  created: 'transcription_session.created',
  updated: 'transcription_session.updated',
  update: (turn_detection: object | null) => ({
    type: 'transcription_session.update',
    session: { turn_detection, input_audio_transcription: { model: 'mine' } },
  }),
  turnDetection: ({ turn_detection }: Session) => turn_detection,
  added: 'conversation.item.created',
};

interface Session {
  audio?: { input: { turn_detection: unknown } };
  turn_detection?: unknown;
}

const cells = [
  ['GA client, GA upstream', ga, 'ga'],
  ['preview client, GA upstream', preview, 'ga'],
  ['GA client, preview upstream', ga, 'preview'],
  ['preview client, preview upstream', preview, 'preview'],
] as const;

function say(client: TestClient, pcm: Buffer): void {
  for (let at = 0; at < pcm.length; at += 4800) {
    client.send({ type: 'input_audio_buffer.append', audio: pcm.subarray(at, at + 4800).toString('base64') });
  }
}

async function start(dialect: string, profile = '{}') {
  const emulator = await startTestEmulator();
  const relay = await startTestRelay({
    upstream: emulator.url,
    yaml: `
upstreams: [{ name: main, endpoint: "${emulator.url}", deployment: gpt-realtime, dialect: ${dialect}, api_key: emulator-key }]
profiles:
  default: ${profile}
  dictation:
    session: { type: transcription, audio: { input: { transcription: { model: gpt-realtime-whisper, language: en } } } }
    limits: { audio_burst_seconds: 60 }`,
  });
  return { emulator, ...relay };
}

describe.each(cells)('%s', (_, { path, created, updated, update, turnDetection, added }, dialect) => {
  it('opens a session that only transcribes, and shows what is said', async () => {
    const { emulator, connect, token } = await start(dialect);
    const client = await connect({ path, token: token({ profile: 'dictation' }) });
    const first = await client.next(() => true);
    expect(first).toMatchObject({ type: created, session: { id: expect.stringMatching(/^sess_/) } });
    say(client, speech);
    say(client, Buffer.alloc(72_000));
    const { item_id } = await client.next('input_audio_buffer.speech_started');
    await client.next('input_audio_buffer.committed');
    expect((await client.next(added)).item).toMatchObject({ id: item_id, role: 'user' });
    const completed = await client.next('conversation.item.input_audio_transcription.completed');
    expect(completed).toMatchObject({ item_id, transcript: expect.stringMatching(transcript) });
    const deltas = client.events.filter(({ type }) => type === 'conversation.item.input_audio_transcription.delta');
    expect(
      deltas
        .map(({ delta }) => delta)
        .join('')
        .trim(),
    ).toBe(completed.transcript);
    expect(client.types().filter((type) => type.startsWith('response.'))).toEqual([]);

    const [connection] = emulator.control.received.connections;
    expect(connection?.url).toMatch(/[?&]intent=transcription$/);
    expect(connection?.url).not.toMatch(/model|deployment/);
    expect(emulator.control.received.errors).toBe(0);
  });

  it('lets the client update what a device must say about its audio, and keeps the model of the server', async () => {
    const { emulator, connect, token } = await start(dialect);
    const client = await connect({ path, token: token({ profile: 'dictation' }) });
    await client.next(created);
    client.send(update({ type: 'server_vad', silence_duration_ms: 650 }));
    const { session } = await client.next(updated);
    expect(turnDetection(session as Session)).toMatchObject({ type: 'server_vad', silence_duration_ms: 650 });
    expect(client.raw.join()).not.toMatch(/whisper|mine/);
    client.send(update(null));
    expect(turnDetection((await client.next(updated)).session as Session)).toBeNull();
    say(client, speech);
    client.send({ type: 'input_audio_buffer.commit' });
    const { usage } = await client.next('conversation.item.input_audio_transcription.completed');
    // Whisper alone is billed by duration: the client's own model did not get through.
    expect(usage).toMatchObject({ type: 'duration' });
    expect(emulator.control.received.errors).toBe(0);
  });

  it('says by the event id that a session cannot become one of another type', async () => {
    const { connect, emulator, token } = await start(dialect);
    const dictating = await connect({ path, token: token({ profile: 'dictation' }) });
    await dictating.next(created);
    const speed = path.includes('v1') ? { type: 'realtime', audio: { output: { speed: 1 } } } : { speed: 1 };
    dictating.send({ type: 'session.update', event_id: 'talk', session: speed });
    expect((await dictating.next('error')).error).toMatchObject({ code: 'invalid_value', event_id: 'talk' });
    dictating.send(update(null));
    await dictating.next(updated);

    const talking = await connect({ path: path.replace('intent=transcription', '') });
    await talking.next('session.created');
    talking.send({ ...update(null), event_id: 'dictate' });
    expect((await talking.next('error')).error).toMatchObject({ code: 'invalid_value', event_id: 'dictate' });
    expect(await talking.ask('hello')).toMatchObject({ status: 'completed' });
    expect(emulator.control.received.errors).toBe(0);
  });

  it('opens the session of the profile also for a client that does not ask for a transcription', async () => {
    const { connect, token } = await start(dialect);
    const client = await connect({
      path: path.replace('intent=transcription', 'x=1'),
      token: token({ profile: 'dictation' }),
    });
    expect((await client.next(() => true)).type).toBe(created);
  });

  it('refuses a client that asks for a transcription when the profile is for conversations', async () => {
    const { emulator, address, token, metric } = await start(dialect);
    const { status, body } = await refused(`${address}${path}`, { headers: { Authorization: `Bearer ${token()}` } });
    expect(status).toBe(403);
    expect(body.error).toMatchObject({ code: 'forbidden', message: expect.stringMatching(/profile.*transcription/) });
    expect(emulator.control.received.connectionCount).toBe(0);
    expect(await metric('relay_sessions_active')).toBe(0);
  });
});
