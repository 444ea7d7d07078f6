import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { eventOf, type RealtimeEvent } from '../../../src/protocol/event.js';
import { Microphone } from '../../../src/session/continuity/microphone.js';

const rate = 48_000;
/** Sound in which each sample is another one, so that every byte is known by its place. */
const sound = Buffer.alloc(rate * 45);
for (let at = 0; at < sound.length; at += 4) sound.writeUInt32LE(at, at);

const append = (from: number, to: number): RealtimeEvent => {
  const audio = sound.subarray(from, to).toString('base64');
  const message = Buffer.from(JSON.stringify({ type: 'input_audio_buffer.append', audio }));
  return { ...eventOf({ type: 'input_audio_buffer.append' }), raw: message, body: null, audioBytes: to - from };
};
const session = (detection: object | null) => ({ audio: { input: { turn_detection: detection } } });
const started = (ms: number, id: string) => ({ item_id: id, audio_start_ms: ms });
const stopped = (ms: number, id: string) => ({ item_id: id, audio_end_ms: ms });

/** As fast as it is spoken. */
let now = 0;
beforeEach(() => {
  vi.spyOn(performance, 'now').mockImplementation(() => now);
});
afterEach(() => vi.restoreAllMocks());

function microphone(detection: object | null = { type: 'server_vad' }, lookBack = 1.5): Microphone {
  const made = new Microphone(lookBack, 0);
  made.configured(rate, session(detection) as never);
  return made;
}

function speak(to: Microphone, seconds: number, size = 4801): void {
  const end = Math.min(sound.length, to.position + seconds * rate);
  while (to.position < end) {
    to.keep(append(to.position, Math.min(end, to.position + size)));
    now += size / 48;
  }
}

function heard(from: Microphone): Buffer {
  const audio = from.pending().map(({ message }) => String((JSON.parse(String(message)) as { audio: string }).audio));
  return Buffer.concat(audio.map((one) => Buffer.from(one, 'base64')));
}

describe('what the microphone has sent', () => {
  it('is kept for the time of the look-back while nobody speaks, to the byte', () => {
    const one = microphone();
    speak(one, 10);
    expect(one.start).toBe(one.position - 1.5 * rate);
    expect(heard(one).equals(sound.subarray(one.start, one.position))).toBe(true);
    expect(one.bytes).toBeLessThan(150_000);
  });

  it('is kept for as long also where it came all at once, since it is heard later', () => {
    const one = microphone();
    for (let at = 0; at < 8 * rate; at += 4800) one.keep(append(at, at + 4800));
    expect(heard(one).equals(sound.subarray(0, 8 * rate))).toBe(true);
    now += 1600;
    one.keep(append(8 * rate, 8 * rate + 4800));
    expect(one.start).toBe(one.position - 1.5 * rate);
  });

  it('is kept from the beginning of what is being said', () => {
    const one = microphone();
    speak(one, 5);
    one.saw('input_audio_buffer.speech_started', started(4000, 'a'), 0);
    speak(one, 6);
    expect(heard(one).equals(sound.subarray(4 * rate, one.position))).toBe(true);
    expect(one.speaking).toEqual({ itemId: 'a', isOver: false });
  });

  it('is not heard again where it is part of an utterance', () => {
    const one = microphone();
    speak(one, 3);
    one.saw('input_audio_buffer.speech_started', started(2000, 'a'), 0);
    speak(one, 1);
    one.saw('input_audio_buffer.speech_stopped', stopped(3500, 'a'), 0);
    expect(one.speaking).toEqual({ itemId: 'a', isOver: true });
    one.saw('input_audio_buffer.committed', { item_id: 'a' }, one.position);
    expect(one.start).toBe(3.5 * rate);
    const kept = Buffer.from(String(one.soundOf('a')), 'base64');
    expect(kept.equals(sound.subarray(2 * rate, 3.5 * rate))).toBe(true);
    one.saw('conversation.item.input_audio_transcription.completed', { item_id: 'a' }, 0);
    expect(one.soundOf('a')).toBeNull();
    expect(one.speaking).toBeNull();
  });

  it('is kept from the last commit or clear where the client decides', () => {
    const one = microphone(null);
    speak(one, 8);
    one.saw('input_audio_buffer.committed', { item_id: 'a' }, 3 * rate);
    expect(heard(one).equals(sound.subarray(3 * rate, one.position))).toBe(true);
    expect(Buffer.from(String(one.soundOf('a')), 'base64').equals(sound.subarray(0, 3 * rate))).toBe(true);
    one.saw('input_audio_buffer.cleared', {}, 5 * rate);
    expect(heard(one).equals(sound.subarray(5 * rate, one.position))).toBe(true);
  });

  it('is kept for longer where what comes before a word is, and what is missing of it is counted', () => {
    const patient = microphone({ type: 'server_vad', prefix_padding_ms: 3000 });
    speak(patient, 10);
    expect(patient.start).toBe(patient.position - 4 * rate);
    const one = microphone();
    speak(one, 10);
    one.saw('input_audio_buffer.speech_started', started(8000, 'a'), 0);
    expect(one.lostBytes).toBeGreaterThan(0.4 * rate);
    expect(heard(one).equals(sound.subarray(one.start, one.position))).toBe(true);
  });

  it('is let go of after half a minute, and counted', () => {
    const one = microphone(null);
    speak(one, 40);
    expect(one.start).toBeGreaterThan(one.position - 30 * rate - 4801);
    expect(heard(one).equals(sound.subarray(one.start, one.position))).toBe(true);
    expect(one.lostBytes).toBe(one.start);
  });

  it('is each byte once over any number of sentences and pieces of any size', () => {
    for (let seed = 1; seed < 30; seed++) {
      let state = seed;
      const random = (most: number) => {
        state = (state * 48_271) % 2_147_483_647;
        return state % most;
      };
      const one = microphone();
      let end = 0;
      for (let turn = 0; one.position < sound.length - 6 * rate; turn++) {
        speak(one, 1 + random(2), 2 * (100 + random(5000)));
        const from = Math.max(end, one.position / 48 - random(900));
        one.saw('input_audio_buffer.speech_started', started(from, `i${turn}`), 0);
        speak(one, 1 + random(2), 2 * (100 + random(5000)));
        const to = one.position / 48 - random(300);
        one.saw('input_audio_buffer.speech_stopped', stopped(to, `i${turn}`), 0);
        one.saw('input_audio_buffer.committed', { item_id: `i${turn}` }, one.position);
        const [first, last] = [Math.round(from * 48), Math.round(to * 48)];
        expect(Buffer.from(String(one.soundOf(`i${turn}`)), 'base64').equals(sound.subarray(first, last))).toBe(true);
        expect(one.start).toBeGreaterThanOrEqual(last);
        end = to;
      }
    }
  });
});
