import { describe, expect, it } from 'vitest';
import { spoken } from '../emulator/speech.js';
import { connect as dial, type ServerEvent, type TestClient } from '../support/client.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';

const page = 'https://rag.test';
const yaml = `
profiles:
  rag:
    session: { instructions: "Answer from the knowledge base only." }
    anonymous: { origins: ["${page}"] }
`;

/** What the page sends while its button is pressed: sound in pieces of exactly 4,800 bytes. */
function speak(client: TestClient, audio: Buffer): void {
  client.send({ type: 'session.update', session: { turn_detection: { type: 'server_vad' } } });
  for (let at = 0; at < audio.length; at += 4800) {
    client.send({ type: 'input_audio_buffer.append', audio: audio.subarray(at, at + 4800).toString('base64') });
  }
}

/** The page of the sample VoiceRAG: no query, no subprotocol, no credential, preview without a sign of it. */
async function openPage(): Promise<TestClient> {
  const emulator = await startTestEmulator({ speed: Number.POSITIVE_INFINITY });
  const relay = await startTestRelay({ upstream: emulator.url, yaml });
  return dial(`${relay.address}/realtime`, { origin: page });
}

describe('the page of the sample VoiceRAG', () => {
  it('speaks, hears the answer, and reads the words under the names it knows', async () => {
    const client = await openPage();
    speak(client, spoken());
    await client.next('input_audio_buffer.speech_started');
    const audio = await client.next('response.audio.delta');
    expect(Buffer.from(String(audio.delta), 'base64').length).toBeGreaterThan(0);
    const done = (await client.next('response.done')) as ServerEvent & { response: { output: unknown } };
    expect(done.response.output).toMatchObject([{ type: 'message', content: [{ type: 'audio' }] }]);
    const words = client.events.filter(({ type }) => type === 'response.audio_transcript.delta');
    expect(words.map(({ delta }) => delta).join('')).toContain('order');
    client.send({ type: 'input_audio_buffer.clear' });
    await client.next('input_audio_buffer.cleared');
    expect(client.types()).not.toContain('error');
    expect(client.types().filter((type) => type.startsWith('response.output_'))).toEqual(
      client.types().filter((type) => type.startsWith('response.output_item.')),
    );
  });

  it('asks for words of its user, and goes on without a complaint', async () => {
    const client = await openPage();
    const session = { turn_detection: { type: 'server_vad' }, input_audio_transcription: { model: 'whisper-1' } };
    client.send({ type: 'session.update', session });
    await client.next('session.updated');
    expect(client.types()).not.toContain('error');
  });
});
