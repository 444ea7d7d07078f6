import { describe, expect, it } from 'vitest';
import { Caller, call, emulate, previewPath, type Seen, say, update } from './caller.js';
import { appends, silence, spoken, texts, tone } from './speech.js';

const vad = (turn_detection: object | null) => update({ audio: { input: { turn_detection } } });
const types = (events: readonly Seen[]) => events.map((event) => event.type).filter((type) => !type.endsWith('.delta'));
const patient = { type: 'server_vad', silence_duration_ms: 600 };

describe('speech is noticed', () => {
  it.each([
    ['pcm', { type: 'audio/pcm', rate: 24000 }, 4800],
    ['ulaw', { type: 'audio/pcmu' }, 800],
    ['alaw', { type: 'audio/pcma' }, 800],
  ] as const)('in %s, committed and answered, with times on the audio timeline', async (name, format, size) => {
    const caller = await call(await emulate());
    caller.send(update({ audio: { input: { format, turn_detection: patient } } }), ...appends(spoken(name), size));
    await caller.until('session.updated');
    const events = await caller.until('response.done');
    expect(types(events).slice(0, 9)).toEqual([
      'input_audio_buffer.speech_started',
      'input_audio_buffer.speech_stopped',
      'input_audio_buffer.committed',
      'conversation.item.added',
      'conversation.item.done',
      'response.created',
      'response.output_item.added',
      'conversation.item.added',
      'response.content_part.added',
    ]);
    const [started, stopped, committed, added] = events as (Seen & Record<string, never>)[];
    const length = (texts['question-order']?.seconds ?? 0) * 1000;
    expect(started?.audio_start_ms).toBeGreaterThan(150);
    expect(started?.audio_start_ms).toBeLessThan(800);
    expect(Math.abs(Number(stopped?.audio_end_ms) - (500 + length + 600))).toBeLessThan(400);
    expect(committed).toMatchObject({ previous_item_id: null, item_id: started?.item_id });
    expect(added?.item).toEqual({
      id: started?.item_id,
      type: 'message',
      status: 'completed',
      role: 'user',
      content: [{ type: 'input_audio', transcript: null }],
    });
    expect(JSON.stringify(events.at(-1)?.response)).toContain(texts['answer-hello']?.text);
  });

  it('in preview, with preview names', async () => {
    const caller = await call(await emulate(), previewPath);
    caller.send({ type: 'session.update', session: { turn_detection: patient, input_audio_format: 'g711_ulaw' } });
    caller.send(...appends(spoken('ulaw'), 800));
    await caller.until('input_audio_buffer.committed');
    expect((await caller.until('response.audio.delta')).map((event) => event.type)).toEqual([
      'conversation.item.created',
      'response.created',
      'response.output_item.added',
      'conversation.item.created',
      'response.content_part.added',
      'response.audio_transcript.delta',
      'response.audio.delta',
    ]);
  });

  it('only above the threshold', async () => {
    const caller = await call(await emulate());
    const quiet = Buffer.concat([tone(400, -45), silence(800)]);
    caller.send(vad({ type: 'server_vad', threshold: 0.5 }), ...appends(quiet), { type: 'input_audio_buffer.clear' });
    expect(types(await caller.until('input_audio_buffer.cleared'))).not.toContain('input_audio_buffer.speech_started');
    caller.send(vad({ type: 'server_vad', threshold: 0.3 }), ...appends(quiet));
    await caller.until('input_audio_buffer.speech_stopped');
  });

  it('after the prefix padding and before the silence that were asked for', async () => {
    const caller = await call(await emulate());
    const said = Buffer.concat([silence(1000), tone(500, -20), silence(2000)]);
    const detection = { type: 'server_vad', prefix_padding_ms: 100, silence_duration_ms: 900, create_response: false };
    caller.send(vad(detection), ...appends(said));
    expect(await caller.next('input_audio_buffer.speech_started')).toMatchObject({ audio_start_ms: 900 });
    expect(await caller.next('input_audio_buffer.speech_stopped')).toMatchObject({ audio_end_ms: 2400 });
  });

  it('however it is cut into pieces, and twice in one', async () => {
    const caller = await call(await emulate());
    const turn = Buffer.concat([tone(500, -20), silence(500)]);
    caller.send(vad({ type: 'server_vad', create_response: false }));
    caller.send(...appends(Buffer.concat([turn, turn]), 1_000_000), ...appends(turn, 777));
    for (let count = 0; count < 3; count++) await caller.until('input_audio_buffer.speech_stopped');
  });

  it.each([
    ['low', 2000],
    ['medium', 800],
    ['auto', 800],
    ['high', 400],
  ])('by semantic_vad of eagerness %s after %i ms', async (eagerness, ms) => {
    const caller = await call(await emulate());
    caller.send(vad({ type: 'semantic_vad', eagerness, create_response: false }));
    caller.send(...appends(Buffer.concat([tone(500, -20), silence(2500)])));
    expect(await caller.next('input_audio_buffer.speech_stopped')).toMatchObject({ audio_end_ms: 500 + ms });
  });

  it('without an answer when create_response is false', async () => {
    const caller = await call(await emulate());
    caller.send(vad({ ...patient, create_response: false }), ...appends(spoken()), {
      type: 'input_audio_buffer.clear',
    });
    expect(types(await caller.until('input_audio_buffer.cleared'))).not.toContain('response.created');
  });

  it('and so is its absence, when idle_timeout_ms asks for it', async () => {
    const caller = await call(await emulate());
    caller.send(vad({ type: 'server_vad', idle_timeout_ms: 5000 }), say('hi'), { type: 'response.create' });
    await caller.until('response.done');
    caller.send(...appends(silence(6000), 48_000));
    const idle = await caller.next('input_audio_buffer.timeout_triggered');
    expect(idle).toMatchObject({ audio_start_ms: 0, audio_end_ms: 5000, item_id: expect.any(String) });
    expect(await caller.next('input_audio_buffer.committed')).toMatchObject({ item_id: idle.item_id });
    await caller.until('response.done');
  });
});

describe('the answer is spoken', () => {
  const length = (events: readonly Seen[]) =>
    events
      .filter((event) => event.type === 'response.output_audio.delta')
      .reduce((sum, event) => sum + Buffer.byteLength(String(event.delta), 'base64'), 0);

  it.each([
    ['audio/pcm', 48_000],
    ['audio/pcmu', 8000],
    ['audio/pcma', 8000],
  ])('in %s at %i bytes a second', async (type, rate) => {
    const caller = await call(await emulate());
    caller.send(update({ audio: { output: { format: { type } } } }), { type: 'response.create' });
    const events = await caller.until('response.done');
    expect(length(events) / rate).toBeCloseTo(texts['answer-hello']?.seconds ?? 0, 1);
    expect(events.at(-1)?.response).toMatchObject({ audio: { output: { format: { type } } } });
  });

  it('as long as a scripted text takes, from the recording that was named', async () => {
    const emulator = await emulate();
    emulator.control.script({ text: 'x'.repeat(150) }, { speech: 'answer-story' });
    const caller = await call(emulator);
    caller.send({ type: 'response.create' });
    expect(length(await caller.until('response.done')) / 48_000).toBeCloseTo(10, 1);
    caller.send({ type: 'response.create' });
    const events = await caller.until('response.done');
    expect(length(events) / 48_000).toBeCloseTo(texts['answer-story']?.seconds ?? 0, 1);
    expect(JSON.stringify(events.at(-1)?.response)).toContain(texts['answer-story']?.text);
  });
});

describe('an interruption', () => {
  const interrupting = { type: 'server_vad', silence_duration_ms: 200 };

  it('cancels the answer, which can then be cut to what was heard', async () => {
    const emulator = await emulate({ speed: 2 });
    emulator.control.script({ speech: 'answer-story' });
    const caller = await call(emulator);
    caller.send(vad(interrupting), { type: 'response.create' });
    const { item } = await caller.next<{ item: { id: string } }>('response.output_item.added');
    await caller.until('response.output_audio.delta');
    await caller.until('response.output_audio.delta');
    caller.send(...appends(tone(200, -20)));
    const events = await caller.until('response.done');
    expect(types(events)).toEqual([
      'input_audio_buffer.speech_started',
      'response.output_audio.done',
      'response.output_audio_transcript.done',
      'response.content_part.done',
      'conversation.item.done',
      'response.output_item.done',
      'response.done',
    ]);
    expect(events.at(-1)?.response).toMatchObject({
      status: 'cancelled',
      status_details: { type: 'cancelled', reason: 'turn_detected' },
      output: [{ id: item.id, status: 'incomplete' }],
    });
    const cut = { type: 'conversation.item.truncate', item_id: item.id, content_index: 0, audio_end_ms: 250 };
    caller.send(cut, { type: 'response.cancel', event_id: 'c_7' });
    expect(await caller.next('conversation.item.truncated')).toMatchObject({ item_id: item.id, audio_end_ms: 250 });
    expect(await caller.error()).toMatchObject({ code: 'response_cancel_not_active', event_id: 'c_7' });
  });

  it('may be told before the answer has ended, and stays', async () => {
    const caller = await call(await emulate({ speed: 3 }));
    caller.send({ type: 'response.create' });
    const { item } = await caller.next<{ item: { id: string } }>('response.output_item.added');
    await caller.until('response.output_audio.delta');
    caller.send({ type: 'conversation.item.truncate', item_id: item.id, content_index: 0, audio_end_ms: 0 });
    await caller.until('conversation.item.truncated');
    caller.send({ type: 'response.cancel' });
    const { response } = await caller.next<{ response: object }>('response.done');
    expect(response).toMatchObject({ output: [{ content: [{ transcript: '' }] }] });
  });

  it('does not happen when interrupt_response is false', async () => {
    const caller = await call(await emulate({ speed: 40 }));
    caller.send(vad({ ...interrupting, interrupt_response: false, create_response: false }), {
      type: 'response.create',
    });
    await caller.until('response.output_audio.delta');
    caller.send(...appends(tone(200, -20)));
    await caller.until('input_audio_buffer.speech_started');
    expect((await caller.next<{ response: object }>('response.done')).response).toMatchObject({ status: 'completed' });
  });
});

describe('without turn detection', () => {
  it('the client commits and asks for the answer', async () => {
    const caller = await call(await emulate());
    caller.send(vad(null), ...appends(spoken()), { type: 'input_audio_buffer.commit' }, { type: 'response.create' });
    const events = await caller.until('response.done');
    expect(types(events).slice(2, 6)).toEqual([
      'input_audio_buffer.committed',
      'conversation.item.added',
      'conversation.item.done',
      'response.created',
    ]);
  });

  it('a commit of less than 100 ms is refused', async () => {
    const caller = await call(await emulate());
    caller.send(vad(null), { type: 'input_audio_buffer.commit', event_id: 'c_10' });
    expect(await caller.error()).toEqual({
      type: 'invalid_request_error',
      code: 'input_audio_buffer_commit_empty',
      message:
        'Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, but buffer only has 0.00ms of audio.',
      param: null,
      event_id: 'c_10',
    });
    caller.send(...appends(silence(99)), { type: 'input_audio_buffer.commit' });
    expect((await caller.error()).message).toContain('only has 99.00ms');
    caller.send(...appends(silence(1)), { type: 'input_audio_buffer.commit' });
    await caller.until('input_audio_buffer.committed');
    caller.send(...appends(silence(500)), { type: 'input_audio_buffer.clear' }, { type: 'input_audio_buffer.commit' });
    await caller.until('input_audio_buffer.cleared');
    expect((await caller.error()).message).toContain('0.00ms');
  });

  it('hands the audio back on retrieval', async () => {
    const caller = await call(await emulate());
    const audio = tone(300, -20);
    caller.send(vad(null), ...appends(audio), { type: 'input_audio_buffer.commit' });
    const { item_id } = await caller.next<{ item_id: string }>('input_audio_buffer.committed');
    caller.send({ type: 'conversation.item.retrieve', item_id });
    const { item } = await caller.next<{ item: { content: object[] } }>('conversation.item.retrieved');
    expect(item.content).toEqual([{ type: 'input_audio', transcript: null, audio: audio.toString('base64') }]);
  });
});

describe('transcription', () => {
  it.each([
    ['gpt-realtime-whisper', { type: 'duration', seconds: expect.any(Number) }],
    [
      'gpt-4o-mini-transcribe',
      {
        type: 'tokens',
        total_tokens: expect.any(Number),
        input_tokens: expect.any(Number),
        input_token_details: { text_tokens: 0, audio_tokens: expect.any(Number) },
        output_tokens: expect.any(Number),
      },
    ],
  ])('by %s follows the committed audio, in deltas and whole, with its own usage', async (model, usage) => {
    const emulator = await emulate();
    const caller = await call(emulator);
    caller.send(update({ audio: { input: { transcription: { model }, turn_detection: patient } } }));
    caller.send(...appends(spoken()));
    const { item_id } = await caller.next<{ item_id: string }>('input_audio_buffer.committed');
    const events = await caller.until('conversation.item.input_audio_transcription.completed');
    const deltas = events.filter((event) => event.type === 'conversation.item.input_audio_transcription.delta');
    const { text } = texts['question-order'] ?? { text: '' };
    const told = deltas.map((event) => event.delta).join('');
    expect(told).toBe(model === 'gpt-realtime-whisper' ? ` ${text}` : text);
    for (const { delta, obfuscation } of deltas) expect(`${delta}${obfuscation}`).toHaveLength(16);
    const at = { event_id: expect.any(String), item_id, content_index: 0 };
    expect(events.at(-1)).toEqual({ type: events.at(-1)?.type, ...at, transcript: text, usage });
    expect(emulator.control.received.usage.transcriptions).toBe(1);
    caller.send({ type: 'conversation.item.retrieve', item_id });
    const { item } = await caller.next<{ item: object }>('conversation.item.retrieved');
    expect(item).toMatchObject({ content: [{ transcript: text }] });
  });

  it.each([
    [
      'GA',
      '/openai/v1/realtime?intent=transcription',
      update({
        type: 'transcription',
        audio: { input: { transcription: { model: 'gpt-4o-transcribe', language: 'en' } } },
      }),
      'session',
    ],
    [
      'preview',
      '/openai/realtime?api-version=2025-04-01-preview&intent=transcription',
      {
        type: 'transcription_session.update',
        session: { input_audio_transcription: { model: 'gpt-4o-transcribe', language: 'en' } },
      },
      'transcription_session',
    ],
  ])('sessions in %s transcribe and never answer', async (_name, path, configure, name) => {
    const caller = new Caller(await emulate(), path);
    const created = await caller.next<{ session: Record<string, never> }>(`${name}.created`);
    expect(created.session.model).toBeUndefined();
    caller.send(configure, ...appends(spoken()));
    const updated = await caller.next<{ session: object }>(`${name}.updated`);
    expect(JSON.stringify(updated.session)).toContain('{"model":"gpt-4o-transcribe","language":"en","prompt":null}');
    const events = await caller.until('conversation.item.input_audio_transcription.completed');
    expect(types(events).some((type) => type.startsWith('response.'))).toBe(false);
    caller.send({ type: 'response.create' });
    expect((await caller.error()).code).toBe('invalid_parameter');
  });

  it('tells log probabilities when they are included', async () => {
    const caller = await call(await emulate());
    const include = ['item.input_audio_transcription.logprobs'];
    caller.send(
      update({ include, audio: { input: { transcription: { model: 'gpt-4o-transcribe' }, turn_detection: null } } }),
    );
    caller.send(...appends(tone(500, -20)), { type: 'input_audio_buffer.commit' });
    const done = await caller.next('conversation.item.input_audio_transcription.completed');
    expect(done.logprobs).toContainEqual({ token: '(speech,', bytes: [...Buffer.from('(speech,')], logprob: -0.01 });
  });

  it.each(['no-such-deployment', 'gpt-realtime', 'whisper'])(
    'by %s, which does not transcribe, is accepted and then fails with every turn',
    async (model) => {
      const caller = await call(await emulate());
      caller.send(update({ audio: { input: { transcription: { model }, turn_detection: null } } }));
      await caller.until('session.updated');
      for (let turn = 0; turn < 2; turn++) {
        caller.send(...appends(tone(500, -20)), { type: 'input_audio_buffer.commit' });
        const { item_id } = await caller.next<{ item_id: string }>('input_audio_buffer.committed');
        const failed = await caller.next('conversation.item.input_audio_transcription.failed');
        expect(failed).toMatchObject({
          item_id,
          content_index: 0,
          error: { type: 'server_error', code: 'DeploymentNotFound', param: null },
        });
      }
    },
  );

  it('comes while the user still speaks, when the sound comes at the pace of speech', async () => {
    const caller = await call(await emulate());
    const transcription = { model: 'gpt-4o-transcribe' };
    caller.send(update({ audio: { input: { transcription, turn_detection: patient } } }));
    await caller.until('session.updated');
    const audio = spoken();
    const step = 9600;
    for (let from = 0; from < audio.length; from += step) {
      caller.send(...appends(audio.subarray(from, from + step)));
      // Twice the pace of speech is live enough.
      await new Promise((resolve) => setTimeout(resolve, 90));
    }
    const events = await caller.until('conversation.item.input_audio_transcription.completed');
    const order = events.map(({ type }) => type);
    const delta = order.indexOf('conversation.item.input_audio_transcription.delta');
    expect(delta).toBeGreaterThan(order.indexOf('input_audio_buffer.speech_started'));
    expect(delta).toBeLessThan(order.indexOf('input_audio_buffer.speech_stopped'));
    expect(delta).toBeLessThan(order.indexOf('input_audio_buffer.committed'));
  });
});
