import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeUlaw, encodeAlaw } from '../../src/audio/g711.js';
import { resample } from '../../src/audio/resample.js';
import { pcm16FromBytes, pcm16ToBytes, readWav, writeWav } from '../../src/audio/wav.js';
import type { JsonObject } from '../../src/protocol/event.js';
import type { TalkOptions } from '../../src/talk/plan.js';
import { type TalkResult, talk } from '../../src/talk/talk.js';
import { audioDelta, began, created, done, heard, serverVad, spoken, transcript, words } from './events.js';
import { type Peer, scripted } from './scripted.js';

const question = Int16Array.from({ length: 4800 }, (_, i) => Math.round(9000 * Math.sin(i / 20)));
const answer = Int16Array.from({ length: 2400 }, (_, i) => i);
const append = 'input_audio_buffer.append';

let folder: string;
let wav: string;
let out: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'talk-'));
  wav = join(folder, 'question.wav');
  out = join(folder, 'answer.wav');
  await writeFile(wav, writeWav(question, 24_000));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function say(url: string, options: Partial<TalkOptions> = {}): Promise<TalkResult & { lines: string[] }> {
  const lines: string[] = [];
  const print = (line: string) => lines.push(line);
  const result = await talk({ url, token: 'secret-token', wav, out, speed: 40, timeoutSeconds: 5, print, ...options });
  return { ...result, lines };
}

/** What a relay does with speech when all is well. */
function wellBehaved(text = 'It arrives tomorrow.') {
  return async (peer: Peer) => {
    peer.send(created());
    await peer.next(append);
    peer.send(...heard, ...spoken(text, answer));
  };
}

describe('a conversation', () => {
  it('is told as it happens, saved, and its first audio measured', async () => {
    const url = await scripted(wellBehaved());
    const { lines, ...result } = await say(url);
    expect(result).toEqual({
      ok: true,
      heard: 'Where is my order?',
      answer: 'It arrives tomorrow.',
      answerSeconds: 0.1,
      firstAudioMs: expect.any(Number),
      sessionId: 'sess_1',
      out,
    });
    expect(result.firstAudioMs).toBeLessThan(1000);
    expect(readWav(await readFile(out))).toEqual({ sampleRate: 24_000, channels: 1, samples: answer });
    expect(lines.map((line) => line.replace(/\d+ ms/, 'n ms').replace(url.slice(7), 'host'))).toEqual([
      'connected to ws://host/openai/v1/realtime in n ms',
      'session sess_1',
      'saying question.wav (0.2 s)',
      'speech heard at 0.30 s',
      'speech ended at 2.10 s',
      'you: Where is my order?',
      'first audio after n ms',
      'answer: It arrives tomorrow.',
      `saved 0.10 s of answer to ${out}`,
    ]);
  });

  it('sends the token as bearer, waits for the session, and sends nothing but sound in text frames', async () => {
    let peer: Peer | undefined;
    const url = await scripted(async (client) => {
      peer = client;
      await new Promise((resolve) => setTimeout(resolve, 60));
      expect(client.events).toEqual([]);
      await wellBehaved()(client);
    });
    expect((await say(url)).ok).toBe(true);
    expect(peer?.request.headers.authorization).toBe('Bearer secret-token');
    expect(peer?.request.url).toBe('/openai/v1/realtime');
    expect(new Set(peer?.events.map((event) => Object.keys(event).join()))).toEqual(new Set(['type,audio']));
  });

  it('sends the recording as it is, in pieces of 40 ms, and then silence', async () => {
    let peer: Peer | undefined;
    const url = await scripted(async (client) => {
      peer = client;
      await wellBehaved()(client);
    });
    await say(url);
    const audio = pcm16FromBytes(peer?.audio() ?? Buffer.alloc(0));
    expect(audio.subarray(0, question.length)).toEqual(question);
    expect(audio.length).toBeGreaterThanOrEqual(question.length + 24_000);
    expect(audio.subarray(question.length).every((sample) => sample === 0)).toBe(true);
    expect(Buffer.from(String(peer?.events[0]?.audio), 'base64')).toHaveLength(1920);
  });

  it('keeps to real time', async () => {
    let elapsed = 0;
    const url = await scripted(async (peer) => {
      const startedAt = performance.now();
      peer.send(created({ input: { turn_detection: null } }));
      await peer.next('response.create');
      elapsed = performance.now() - startedAt;
      peer.send(transcript('Is it on its way?'), ...spoken('Yes.', answer));
    });
    await say(url, { speed: 1 });
    // The last of the five pieces of 40 ms is due 160 ms after the first.
    expect(elapsed).toBeGreaterThanOrEqual(155);
  });

  it('mixes stereo and converts the sample rate', async () => {
    const stereo = writeWav(
      Int16Array.from({ length: 3200 }, (_, i) => (i % 2 ? 3000 : 1000)),
      8000,
    );
    stereo.writeUInt16LE(2, 22);
    stereo.writeUInt16LE(4, 32);
    const path = join(folder, 'stereo.wav');
    await writeFile(path, stereo);
    let peer: Peer | undefined;
    const url = await scripted(async (client) => {
      peer = client;
      await wellBehaved()(client);
    });
    expect((await say(url, { wav: path })).ok).toBe(true);
    const audio = pcm16FromBytes(peer?.audio() ?? Buffer.alloc(0));
    expect(new Set(audio.subarray(400, 4400))).toEqual(new Set([2000]));
  });

  it('speaks telephone formats when the session has them', async () => {
    let peer: Peer | undefined;
    const tone = answer.map((_, i) => Math.round(8000 * Math.sin(i / 5)));
    const url = await scripted(async (client) => {
      peer = client;
      const input = { format: { type: 'audio/pcmu' }, turn_detection: serverVad };
      client.send(created({ input, output: { format: { type: 'audio/pcma' } } }));
      await client.next(append);
      client.send(...heard, began(), audioDelta(encodeAlaw(tone)), done());
    });
    const { ok, answerSeconds } = await say(url);
    expect(ok).toBe(true);
    expect(answerSeconds).toBeCloseTo(0.3);
    expect(readWav(await readFile(out)).sampleRate).toBe(8000);
    const sent = decodeUlaw(peer?.audio() ?? new Uint8Array());
    const expected = resample(question, 24_000, 8000);
    expect(Math.abs((sent[500] ?? 0) - (expected[500] ?? 0))).toBeLessThan(400);
  });

  it('commits and asks for the answer where the profile detects no turns', async () => {
    let peer: Peer | undefined;
    const url = await scripted(async (client) => {
      peer = client;
      client.send(created({ input: { turn_detection: null } }));
      await client.next('input_audio_buffer.commit');
      await client.next('response.create');
      client.send(transcript('Is it on its way?'), ...spoken('Yes.', answer));
    });
    const result = await say(url);
    expect(result).toMatchObject({ ok: true, answer: 'Yes.' });
    expect(result.firstAudioMs).not.toBeNull();
    expect(peer?.audio()).toHaveLength(question.length * 2);
  });

  it('asks for the answer where turns are detected but not answered', async () => {
    const url = await scripted(async (peer) => {
      peer.send(created({ input: { turn_detection: { type: 'server_vad', create_response: false } } }));
      await peer.next(append);
      peer.send(...heard);
      await peer.next('response.create');
      peer.send(...spoken('Yes.', answer));
    });
    expect(await say(url)).toMatchObject({ ok: true, answer: 'Yes.' });
  });

  it('of a profile that answers in writing ends well with the written answer', async () => {
    const url = await scripted(async (peer) => {
      peer.send({ type: 'session.created', session: { id: 'sess_1', output_modalities: ['text'], audio: {} } });
      await peer.next(append);
      const words = { type: 'response.output_text.delta', response_id: 'resp_1', delta: 'Tomorrow.' };
      peer.send(...heard, began(), words, done());
    });
    const result = await say(url);
    expect(result).toMatchObject({ ok: true, answer: 'Tomorrow.', answerSeconds: 0, out: null });
    expect(result.lines).toContain('answer: Tomorrow.');
  });

  describe('of a profile that transcribes and answers nothing', () => {
    const transcribing = (input: JsonObject) => ({
      type: 'session.created',
      session: { type: 'transcription', id: 'sess_1', audio: { input } },
    });
    const [started, stopped] = heard as [JsonObject, JsonObject];
    const utterance = (item_id: string) => [
      { ...started, item_id },
      { ...stopped, item_id },
      { type: 'input_audio_buffer.committed', item_id },
    ];
    const understood = (item_id: string, words: string) => ({ ...transcript(words), item_id });

    it('ends well with all that was said, and asks for no answer', async () => {
      let peer: Peer | undefined;
      const url = await scripted(async (client) => {
        peer = client;
        client.send(transcribing({ turn_detection: { type: 'server_vad' } }));
        await client.next(append);
        client.send(...utterance('item_1'), ...utterance('item_2'), understood('item_2', 'Is it late?'));
        setTimeout(() => client.send(understood('item_1', 'Where is my order?')), 60);
      });
      const result = await say(url);
      expect(result).toMatchObject({ ok: true, heard: 'Where is my order? Is it late?', answer: '', out: null });
      expect(result.lines).toContain('you: Where is my order?');
      expect(peer?.events.every(({ type }) => type === append)).toBe(true);
    });

    it('is committed, and not asked, where turns are not detected', async () => {
      let peer: Peer | undefined;
      const url = await scripted(async (client) => {
        peer = client;
        client.send(transcribing({ turn_detection: null }));
        await client.next('input_audio_buffer.commit');
        client.send({ type: 'input_audio_buffer.committed', item_id: 'item_1' }, understood('item_1', 'Hello.'));
      });
      expect(await say(url)).toMatchObject({ ok: true, heard: 'Hello.' });
      expect(peer?.events.map(({ type }) => type)).not.toContain('response.create');
    });

    it('fails with the reason when nothing can be transcribed, and when there is only a text', async () => {
      const url = await scripted(async (client) => {
        client.send(transcribing({ turn_detection: { type: 'server_vad' } }));
        await client.next(append);
        const error = { code: 'transcription_unavailable', message: 'The model is not deployed.' };
        const type = 'conversation.item.input_audio_transcription.failed';
        client.send(...utterance('item_1'), { type, item_id: 'item_1', error });
      });
      expect((await say(url)).reason).toContain('transcription_unavailable: The model is not deployed.');
      expect((await say(url, { text: 'Hello', wav: undefined })).reason).toContain(
        'transcribes speech and answers nothing',
      );
    });

    it('says what it waits for when the words do not come', async () => {
      const url = await scripted(async (client) => {
        client.send(transcribing({ turn_detection: { type: 'server_vad' } }));
        await client.next(append);
        client.send(...utterance('item_1'));
      });
      expect((await say(url, { timeoutSeconds: 0.5 })).reason).toContain('its words did not come');
    });
  });

  it('can be in text, without a recording', async () => {
    let peer: Peer | undefined;
    const url = await scripted(async (client) => {
      peer = client;
      client.send(created());
      await client.next('response.create');
      client.send(...spoken('Tomorrow.', answer));
    });
    const result = await say(url, { text: 'Where is my order?', wav: undefined });
    expect(result).toMatchObject({ ok: true, heard: 'Where is my order?', answer: 'Tomorrow.' });
    expect(result.firstAudioMs).not.toBeNull();
    expect(peer?.events[0]).toMatchObject({
      type: 'conversation.item.create',
      item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Where is my order?' }] },
    });
  });

  it('waits through a response without words, as a tool of the server makes one', async () => {
    const url = await scripted(async (peer) => {
      peer.send(created());
      await peer.next(append);
      peer.send(...heard, began('resp_0'), done('completed', null, 'resp_0'), ...spoken('Found it.', answer));
    });
    expect(await say(url)).toMatchObject({ ok: true, answer: 'Found it.', answerSeconds: 0.1 });
  });

  it('drops an answer that the rest of the recording interrupted, and measures the next', async () => {
    const stale = audioDelta(pcm16ToBytes(new Int16Array(4800)), 'resp_0');
    const url = await scripted(async (peer) => {
      peer.send(created());
      await peer.next(append);
      const cancelled = { type: 'cancelled', reason: 'turn_detected' };
      peer.send(...heard, began('resp_0'), words('I th', 'resp_0'), stale, done('cancelled', cancelled, 'resp_0'));
      peer.send(stale, ...heard, ...spoken('Tomorrow.', answer));
    });
    const result = await say(url);
    expect(result).toMatchObject({ ok: true, answer: 'Tomorrow.', answerSeconds: 0.1 });
    expect(result.lines.filter((line) => line.startsWith('first audio'))).toHaveLength(2);
  });

  it('waits a little for a transcript that comes after the answer', async () => {
    const url = await scripted(async (peer) => {
      peer.send(created());
      await peer.next(append);
      const delta = { type: 'conversation.item.input_audio_transcription.delta', item_id: 'item_1', delta: 'Where' };
      peer.send(...heard.slice(0, 3), delta, ...spoken('Tomorrow.', answer));
      setTimeout(() => peer.send(transcript('Where is it?')), 1200 / 40 + 150);
    });
    expect(await say(url)).toMatchObject({ ok: true, heard: 'Where is it?' });
  });

  it('says goodbye with 1000', async () => {
    let peer: Peer | undefined;
    const url = await scripted(async (client) => {
      peer = client;
      await wellBehaved()(client);
    });
    await say(url);
    expect(await peer?.closed).toEqual({ code: 1000, reason: '' });
  });

  it('does not wait for a relay that never says goodbye', async () => {
    const url = await scripted(async (peer) => {
      await wellBehaved()(peer);
      peer.socket.pause();
    });
    const startedAt = performance.now();
    expect((await say(url)).ok).toBe(true);
    expect(performance.now() - startedAt).toBeLessThan(4000);
  });

  it('prints nothing that a terminal would obey', async () => {
    const url = await scripted(wellBehaved('\u001b[2Jgone\u0007\r\nsecond \u202eline'));
    const { lines, ok } = await say(url);
    expect(ok).toBe(true);
    expect(lines).toContain('answer: [2Jgone second line');
  });

  it('writes <name>.answer.wav when no file is named', async () => {
    const url = await scripted(wellBehaved());
    const before = process.cwd();
    process.chdir(folder);
    try {
      expect((await say(url, { out: undefined })).out).toBe('question.answer.wav');
    } finally {
      process.chdir(before);
    }
    expect(readWav(await readFile(join(folder, 'question.answer.wav'))).samples).toEqual(answer);
  });

  it('ends cleanly on a signal and keeps what it heard', async () => {
    const stop = new AbortController();
    let peer: Peer | undefined;
    const url = await scripted(async (client) => {
      peer = client;
      client.send(created());
      await client.next(append);
      client.send(...heard, began(), words('To begin'), audioDelta(pcm16ToBytes(answer)));
    });
    const print = (line: string) => line.startsWith('first audio') && setImmediate(() => stop.abort());
    const result = await say(url, { signal: stop.signal, print });
    expect(result).toMatchObject({ ok: false, answer: 'To begin', answerSeconds: 0.1, out });
    expect(result.reason).toBe('Stopped before the answer was complete.');
    expect((await peer?.closed)?.code).toBe(1000);
  });

  it('does not start after the signal', async () => {
    const url = await scripted(wellBehaved());
    expect(await say(url, { signal: AbortSignal.abort() })).toMatchObject({ ok: false, out: null });
  });
});
