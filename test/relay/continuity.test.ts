import { describe, expect, it } from 'vitest';
import { appends, spoken } from '../emulator/speech.js';
import { expectNoCanary, say, startLasting, talk, wordsOf } from '../support/continuity.js';
import { startTestEmulator } from '../support/relay.js';

const kill = 'die_mid_response';
const ask = (text: string) => [
  {
    type: 'conversation.item.create',
    item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
  },
  { type: 'response.create' },
];

describe('a connection to upstream that is lost', () => {
  it('is replaced, and what was said before is known', async () => {
    const emulator = await startTestEmulator();
    const relay = await startLasting(emulator);
    const client = await talk(relay);
    await say(client, 'Please remember that my parrot is called Nemo.');
    emulator.control.faults.strike(kill);
    const replacing = await client.next('relay.upstream_replacing');
    expect(replacing).toMatchObject({ trigger: 'reset' });
    const replaced = await client.next('relay.upstream_replaced');
    expect(replaced).toMatchObject({ trigger: 'reset', continuity: 'full', turn_interrupted: false });
    expect(await say(client, 'What is my parrot called?')).toContain('Nemo');
    expectNoCanary(client);
    expect(client.types()).not.toContain('error');
    expect(await relay.metric('relay_replacements_total', { trigger: 'reset', outcome: 'ok' })).toBe(1);
    expect(await relay.logged('session.replaced')).toMatchObject({ trigger: 'reset', continuity: 'full' });
  });

  it('in an answer: that is told to be incomplete, and is given anew', async () => {
    const emulator = await startTestEmulator({ speed: 10 });
    const relay = await startLasting(emulator);
    const client = await talk(relay);
    for (const event of ask('Tell me a story about the number 12345.')) client.send(event);
    await client.next('response.output_audio.delta');
    emulator.control.faults.strike(kill);
    const cut = await client.next('response.done');
    expect(cut.response).toMatchObject({ status: 'incomplete', usage: null });
    expect(await client.next('relay.upstream_replaced')).toMatchObject({
      turn_interrupted: true,
      continuity: 'transcript_only',
    });
    const whole = await client.next('response.done');
    expect(whole.response).toMatchObject({ status: 'completed' });
    expect(wordsOf(whole.response as Record<string, unknown>)).toContain('12345');
    // One part after the other, as upstream would have said it.
    const about = client.events.filter(({ response_id: id }) => id === (cut.response as { id: string }).id);
    expect(about.map(({ type }) => type).slice(-4)).toEqual([
      'response.output_audio.done',
      'response.output_audio_transcript.done',
      'response.content_part.done',
      'response.output_item.done',
    ]);
    expect(await say(client, 'And now?')).toContain('And now?');
    expectNoCanary(client);
  });

  it('in the middle of a sentence: that is heard whole, once, as the one item that was announced', async () => {
    const emulator = await startTestEmulator({ keepAudio: true });
    const relay = await startLasting(emulator);
    const client = await talk(relay);
    const sound = spoken('pcm', 2000, 1500);
    const events = appends(sound);
    const half = 29;
    for (const event of events.slice(0, half)) client.send(event);
    const started = await client.next('input_audio_buffer.speech_started');
    await emulator.control.received.waitFor(({ open }) => open[0]?.eventCount === half + 1);
    emulator.control.faults.strike(kill);
    for (const event of events.slice(half)) client.send(event);
    const stopped = await client.next('input_audio_buffer.speech_stopped');
    const committed = await client.next('input_audio_buffer.committed');
    expect(stopped.item_id).toBe(started.item_id);
    expect(committed.item_id).toBe(started.item_id);
    expect(Number(stopped.audio_end_ms)).toBeGreaterThan(Number(started.audio_start_ms));
    const [words] = await Promise.all([
      client.next('conversation.item.input_audio_transcription.completed'),
      client.next('response.done'),
    ]);
    expect(words.item_id).toBe(started.item_id);
    expect(client.types().filter((type) => type === 'input_audio_buffer.speech_started')).toHaveLength(1);
    const all = emulator.control.received.connections.flatMap(({ committed: one }) => one);
    expect(all).toHaveLength(1);
    const from = sound.indexOf(all[0]?.data as Buffer);
    expect(from).toBeGreaterThan(0);
    expect(from / 48).toBeCloseTo(Number(started.audio_start_ms), -2);
    expect((from + (all[0]?.data?.length ?? 0)) / 48).toBeCloseTo(Number(stopped.audio_end_ms), -2);
    expect(client.types()).not.toContain('error');
  });

  it('between a sentence and its words: that is answered, and its words are told to be lost', async () => {
    const emulator = await startTestEmulator({ speed: 0.3 });
    const relay = await startLasting(emulator);
    const client = await talk(relay);
    for (const event of appends(spoken('pcm', 300, 600))) client.send(event);
    const committed = await client.next('input_audio_buffer.committed');
    emulator.control.faults.strike(kill);
    const failed = await client.next('conversation.item.input_audio_transcription.failed');
    expect(failed).toMatchObject({ item_id: committed.item_id, error: { code: 'words_lost' } });
    await client.next('response.created');
    await client.next('response.output_audio.delta');
    const replaced = client.events.find(({ type }) => type === 'relay.upstream_replaced');
    expect(replaced).toMatchObject({ continuity: 'transcript_only', lost: { items: 1, audio_ms: 0 } });
    const [item] = emulator.control.received.events('conversation.item.create').map(({ body }) => body.item);
    expect(item).toBeDefined();
  }, 20_000);
});

describe('a connection to upstream that is about to end', () => {
  it('is replaced between turns, again and again, and what was said first is known', async () => {
    const emulator = await startTestEmulator({ sessionSeconds: 6 });
    const relay = await startLasting(emulator);
    const client = await talk(relay);
    await say(client, 'Please remember that my parrot is called Nemo.');
    for (let count = 0; count < 2; count++) {
      const replaced = await client.next('relay.upstream_replaced');
      expect(replaced).toMatchObject({ trigger: 'expiry', continuity: 'full', lost: { items: 0, audio_ms: 0 } });
      expect(await say(client, 'What is my parrot called?')).toContain('Nemo');
    }
    expectNoCanary(client);
    expect(client.types()).not.toContain('error');
    expect(client.types()).not.toContain('relay.upstream_replacing');
  }, 20_000);
});
