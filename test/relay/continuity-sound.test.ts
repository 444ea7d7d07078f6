import { describe, expect, it, vi } from 'vitest';
import type { Emulator } from '../../src/emulator/emulator.js';
import { appends, silence, spoken } from '../emulator/speech.js';
import type { TestClient } from '../support/client.js';
import { lasting, startLasting, talk } from '../support/continuity.js';
import { startTestEmulator } from '../support/relay.js';

const kill = 'die_mid_response';

/** So that each stretch of it is found in one place only. */
function marked(sound: Buffer): Buffer {
  let state = 7;
  for (let at = 0; at < sound.length; at += 2) {
    state = (state * 48_271) % 2_147_483_647;
    sound.writeInt16LE(Math.max(-32_000, Math.min(32_000, sound.readInt16LE(at))) + (state % 16), at);
  }
  return sound;
}

/** Where in what was sent the utterances of all connections are, in order. */
function utterances(emulator: Emulator, sent: Buffer): { from: number; to: number }[] {
  const all = emulator.control.received.connections.flatMap(({ committed }) => committed);
  return all.map(({ data }) => {
    const from = sent.indexOf(data as Buffer);
    expect(from).toBeGreaterThanOrEqual(0);
    return { from, to: from + (data as Buffer).length };
  });
}

/** Answers that were given whole. */
function answers(client: TestClient): number {
  const done = client.events.filter(({ type }) => type === 'response.done');
  return done.filter(({ response }) => (response as { status: string }).status === 'completed').length;
}

/** Sends it in pieces of 100 ms; done when upstream has them. */
async function send(emulator: Emulator, client: TestClient, sound: Buffer): Promise<void> {
  const { received } = emulator.control;
  const count = () => received.events('input_audio_buffer.append').length;
  const events = appends(sound);
  for (const event of events) client.send(event);
  const before = count();
  await received.waitFor(() => count() >= before + events.length);
}

describe('what users say over connections that are lost', () => {
  it('is heard once and whole, whether they are lost in a sentence, behind one, or between two', async () => {
    const emulator = await startTestEmulator({ keepAudio: true });
    const relay = await startLasting(emulator, { yaml: lasting('', '    limits: { audio_burst_seconds: 60 }\n') });
    const client = await talk(relay);
    const question = spoken('pcm', 1800, 0);
    const trail = silence(1000);
    const sent = marked(Buffer.concat([question, trail, question, trail, question, trail]));
    const turn = question.length + trail.length;
    const ends: number[] = [];
    for (const [index, cut] of [2400, Number.POSITIVE_INFINITY, 300].entries()) {
      const from = index * turn;
      const at = from + Math.min(cut * 48, turn);
      await send(emulator, client, sent.subarray(from, at));
      if (index === 1) await client.next('input_audio_buffer.committed');
      emulator.control.faults.strike(kill);
      await client.next('relay.upstream_replaced');
      if (at < from + turn) await send(emulator, client, sent.subarray(at, from + turn));
      if (index !== 1) await client.next('input_audio_buffer.committed');
      await vi.waitFor(() => expect(answers(client)).toBe(index + 1), 5000);
      ends.push(from + question.length);
    }
    const heard = utterances(emulator, sent);
    expect(heard).toHaveLength(3);
    for (const [index, { from, to }] of heard.entries()) {
      expect(from).toBeGreaterThanOrEqual(heard[index - 1]?.to ?? 0);
      expect(from).toBeLessThanOrEqual(index * turn + 1800 * 48);
      // The recording fades out.
      expect(to).toBeGreaterThanOrEqual((ends[index] as number) - 300 * 48);
    }
    const ids = client.events
      .filter(({ type }) => type === 'input_audio_buffer.committed')
      .map(({ item_id: id }) => id);
    expect(new Set(ids).size).toBe(3);
    expect(client.types()).not.toContain('error');
  }, 20_000);

  it('is committed byte for byte where the client commits', async () => {
    const emulator = await startTestEmulator({ keepAudio: true });
    const relay = await startLasting(emulator, { yaml: lasting('', '    limits: { audio_burst_seconds: 60 }\n') });
    const client = await talk(relay);
    const none = { type: 'realtime', audio: { input: { turn_detection: null } } };
    client.send({ type: 'session.update', session: none });
    await client.next('session.updated');
    const sent = marked(spoken('pcm', 200, 200));
    const third = Math.floor(sent.length / 6) * 2;
    for (const [index, from] of [0, third, 2 * third].entries()) {
      const to = index === 2 ? sent.length : from + third;
      const half = from + Math.floor((to - from) / 4) * 2;
      await send(emulator, client, sent.subarray(from, half));
      emulator.control.faults.strike(kill);
      await client.next('relay.upstream_replaced');
      await send(emulator, client, sent.subarray(half, to));
      client.send({ type: 'input_audio_buffer.commit' });
      await client.next('input_audio_buffer.committed');
    }
    const heard = utterances(emulator, sent);
    expect(heard.map(({ from }) => from)).toEqual([0, third, 2 * third]);
    expect(heard.at(-1)?.to).toBe(sent.length);
    expect(client.types()).not.toContain('error');
  }, 20_000);

  it('and do not stop saying until the connection ends by itself', async () => {
    const emulator = await startTestEmulator({ keepAudio: true, sessionSeconds: 6 });
    const relay = await startLasting(emulator, { yaml: lasting('', '    limits: { audio_burst_seconds: 60 }\n') });
    const client = await talk(relay);
    // Louder than a pause at any moment.
    const loud = Buffer.alloc(48 * 100);
    for (let at = 0; at < loud.length; at += 2) loud.writeInt16LE(Math.round(8000 * Math.sin(at / 9)), at);
    const pieces: Buffer[] = [];
    const say = (piece: Buffer) => {
      pieces.push(marked(piece));
      client.send(appends(piece)[0] as object);
    };
    for (let count = 0; count < 5; count++) say(silence(100));
    let replaced = false;
    void client.next('relay.upstream_replaced').then(() => {
      replaced = true;
    });
    let seed = 0;
    while (!replaced) {
      const piece = Buffer.from(loud);
      piece.writeInt16LE(++seed, 0);
      say(piece);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(client.events.at(-1)).toMatchObject({ trigger: 'expiry', continuity: 'full', turn_interrupted: false });
    for (let count = 0; count < 10; count++) say(silence(100));
    await client.next('response.done');
    const sent = Buffer.concat(pieces);
    const heard = utterances(emulator, sent);
    expect(heard).toHaveLength(1);
    expect(heard[0]?.from).toBeLessThanOrEqual(500 * 48);
    expect(heard[0]?.to).toBeGreaterThanOrEqual(sent.length - 1000 * 48);
    expect(client.types().filter((type) => type === 'input_audio_buffer.speech_started')).toHaveLength(1);
  }, 20_000);
});
