import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import type { Clock } from '../../src/clock.js';
import { eventOf, type JsonObject } from '../../src/protocol/event.js';
import { Notices } from '../../src/session/notices.js';
import { Scribe } from '../../src/session/scribe.js';
import { wordsBefore } from '../../src/session/utterance.js';
import type { Utterance } from '../../src/telemetry/records.js';

let now = 0;
beforeEach(() => {
  now = 1000;
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => now);
  onTestFinished(() => clock.mockRestore());
});

/** A clock that goes as told. */
function heldClock() {
  const waiting: { due: number; work: () => void }[] = [];
  const clock: Clock = {
    at(ms, work) {
      const one = { due: now + ms, work };
      waiting.push(one);
      return () => void (waiting.includes(one) && waiting.splice(waiting.indexOf(one), 1));
    },
  };
  const pass = (ms: number) => {
    const until = now + ms;
    for (;;) {
      const [next] = waiting.filter(({ due }) => due <= until).sort((a, b) => a.due - b.due);
      if (!next) break;
      waiting.splice(waiting.indexOf(next), 1);
      now = Math.max(now, next.due);
      next.work();
    }
    now = until;
  };
  return { clock, pass, waiting };
}

type Include = ConstructorParameters<typeof Scribe>[0]['include'];

/** A session that transcribes, whose client reads at once unless it is said otherwise. */
function start(include: Include = ['user', 'assistant', 'tools'], whenRead = (_: () => void) => false) {
  const records: Utterance[] = [];
  const held = heldClock();
  let late = 0;
  const scribe = new Scribe({
    clock: held.clock,
    include,
    wallOf: (at) => at,
    whenRead,
    said: (one) => records.push(one),
    late: () => void late++,
  });
  const came = (type: string, fields: JsonObject = {}) => scribe.tap.came?.(eventOf({ type, ...fields }));
  const configured = (transcription: JsonObject | null) =>
    came('session.updated', { session: { audio: { input: { transcription } } } });
  configured({ model: 'm' });
  const texts = () => records.map(({ text }) => text);
  const committed = (item_id: string, previous_item_id: string | null) =>
    came('input_audio_buffer.committed', { item_id, previous_item_id });
  const words = (item_id: string, transcript: string) =>
    came('conversation.item.input_audio_transcription.completed', { item_id, content_index: 0, transcript });
  const typed = (id: string, text: string, previous_item_id: string | null, role = 'user') =>
    came('conversation.item.added', {
      previous_item_id,
      item: { id, type: 'message', role, status: 'completed', content: [{ type: 'input_text', text }] },
    });
  /** An answer begins: so many milliseconds of sound come with these words. */
  const speaks = (id: string, text: string, ms: number, previous_item_id: string | null) => {
    const at = { response_id: `resp_${id}`, item_id: id, output_index: 0, content_index: 0 };
    const item = { id, type: 'message', role: 'assistant', status: 'in_progress', content: [] };
    came('response.output_item.added', { response_id: at.response_id, item });
    came('conversation.item.added', { previous_item_id, item });
    came('response.output_audio_transcript.delta', { ...at, delta: text });
    const delta = Buffer.alloc(ms * 48).toString('base64');
    if (ms > 0) scribe.tap.after?.(eventOf({ type: 'response.output_audio.delta', ...at, delta }));
    came('response.output_audio_transcript.done', { ...at, transcript: text });
  };
  const done = (id: string, status = 'completed', usage: JsonObject | null = null) =>
    came('response.done', {
      response: { id: `resp_${id}`, status, usage, output: [{ id, type: 'message', role: 'assistant' }] },
    });
  const truncated = (item_id: string, audio_end_ms: number) =>
    came('conversation.item.truncated', { item_id, content_index: 0, audio_end_ms });
  return {
    ...{ scribe, records, came, configured, texts, committed, words, typed, speaks, done, truncated },
    ...{ pass: held.pass, waiting: held.waiting, late: () => late },
  };
}

const ten = 'one two three four five six seven eight nine ten';

describe('a transcript', () => {
  it('is in the order of the conversation when the words of the user come after the answer', () => {
    const { committed, words, speaks, done, pass, texts } = start();
    committed('u1', null);
    speaks('a1', 'Hello.', 500, 'u1');
    done('a1');
    pass(2000);
    expect(texts()).toEqual([]);
    words('u1', 'Hi!');
    expect(texts()).toEqual(['Hi!', 'Hello.']);
  });

  it('takes words that come before their turn is committed', () => {
    const { came, committed, words, records } = start();
    came('input_audio_buffer.speech_started', { item_id: 'u1', audio_start_ms: 0 });
    now += 700;
    words('u1', 'Hi!');
    came('input_audio_buffer.speech_stopped', { item_id: 'u1', audio_end_ms: 700 });
    now += 50;
    committed('u1', null);
    const [{ started_at, ended_at, text } = {} as Utterance] = records;
    expect([Date.parse(started_at), Date.parse(ended_at), text]).toEqual([1000, 1700, 'Hi!']);
  });

  it('goes on without words after five seconds, and counts those that come later', () => {
    const { committed, words, typed, pass, records, late } = start();
    committed('u1', null);
    typed('u2', 'typed', 'u1');
    pass(4999);
    expect(records).toEqual([]);
    pass(1);
    expect(records.map(({ text, status }) => [text, status])).toEqual([
      ['', 'failed'],
      ['typed', 'completed'],
    ]);
    words('u1', 'too late');
    expect(records).toHaveLength(2);
    expect(late()).toBe(1);
  });

  it('says at once that a turn did not become words', () => {
    const { came, committed, records } = start();
    committed('u1', null);
    came('conversation.item.input_audio_transcription.failed', { item_id: 'u1', error: { code: 'x' } });
    expect(records).toMatchObject([{ item_id: 'u1', text: '', status: 'failed' }]);
  });

  it('has no records of speech where nothing is transcribed, and waits for none', () => {
    const { configured, committed, typed, texts } = start();
    configured(null);
    committed('u1', null);
    typed('u2', 'typed', 'u1');
    expect(texts()).toEqual(['typed']);
  });

  it('puts an item in the middle of what waits, and does not believe what is said when an item is done', () => {
    const { came, committed, words, typed, texts } = start();
    committed('u1', null);
    typed('u3', 'third', 'u1');
    typed('u2', 'second', 'u1');
    came('conversation.item.done', { previous_item_id: null, item: { id: 'u3', type: 'message', role: 'user' } });
    words('u1', 'first');
    expect(texts()).toEqual(['first', 'second', 'third']);
  });

  it('waits until an answer has had the time to be played, and a second more', () => {
    const { speaks, done, pass, texts } = start();
    speaks('a1', ten, 10_000, null);
    now += 3000;
    done('a1');
    pass(7999);
    expect(texts()).toEqual([]);
    pass(1);
    expect(texts()).toEqual([ten]);
  });

  it.each([
    ['at the end', 10_000],
    ['behind it', 12_000],
  ])('has the whole answer when it was cut %s', (_, at) => {
    const { speaks, done, truncated, records } = start();
    speaks('a1', ten, 10_000, null);
    done('a1');
    truncated('a1', at);
    expect(records).toMatchObject([{ text: ten, status: 'completed', audio_end_ms: at }]);
    expect(records[0]).not.toHaveProperty('full_text');
  });

  it('has of an answer that was cut the words that were heard, and all of them only where that is wanted', () => {
    for (const include of [['assistant', 'full_text'], ['assistant']] as Include[]) {
      const { speaks, done, truncated, records } = start(include);
      speaks('a1', ten, 10_000, null);
      now += 1000;
      done('a1', 'cancelled');
      truncated('a1', 5000);
      expect(records).toMatchObject([{ status: 'interrupted', audio_end_ms: 5000, text: 'one two three four five' }]);
      expect(records[0]?.full_text).toBe(include.includes('full_text') ? ten : undefined);
      expect(records[0]).not.toHaveProperty('tools');
    }
  });

  it('does not believe a client that claims to have heard nothing of what it has had the time to play', () => {
    const { speaks, done, truncated, records } = start();
    speaks('a1', ten, 10_000, null);
    done('a1');
    now += 8000;
    truncated('a1', 0);
    expect(records).toMatchObject([{ text: 'one two three four five six', audio_end_ms: 0, status: 'interrupted' }]);
  });

  it('counts that time from when the client has proved to have the sound', () => {
    let read: () => void = () => undefined;
    const { speaks, done, truncated, records } = start(undefined, (callback) => {
      read = callback;
      return true;
    });
    speaks('a1', ten, 10_000, null);
    done('a1');
    now += 3000;
    read();
    now += 5000;
    truncated('a1', 0);
    expect(records).toMatchObject([{ text: 'one two three' }]);
  });

  it('has no more than what was sent of an answer whose sound was dropped', () => {
    const { scribe, speaks, done, truncated, records } = start();
    speaks('a1', ten, 10_000, null);
    scribe.dropped(Math.round(10_000 * 48 * 0.8));
    done('a1', 'cancelled');
    now += 60_000;
    truncated('a1', 9000);
    expect(records).toMatchObject([{ text: 'one two', audio_end_ms: 9000 }]);
  });

  it('cuts the answer of a call, whose sound is not seen, by the sound that upstream counts', () => {
    const { speaks, done, truncated, records } = start();
    speaks('a1', ten, 0, null);
    done('a1', 'cancelled', { output_token_details: { audio_tokens: 200 } });
    truncated('a1', 5000);
    expect(records).toMatchObject([{ text: 'one two three four five' }]);
  });

  it('waits in a call until upstream says that the answer is no longer played', () => {
    const { came, speaks, done, pass, texts } = start();
    came('output_audio_buffer.started', { response_id: 'resp_a1' });
    speaks('a1', ten, 0, null);
    done('a1', 'completed', { output_token_details: { audio_tokens: 20 } });
    pass(5000);
    expect(texts()).toEqual([]);
    came('output_audio_buffer.stopped', { response_id: 'resp_a1' });
    pass(1000);
    expect(texts()).toEqual([ten]);
  });

  it('names the functions that were called since the answer before', () => {
    const { came, speaks, typed, done, pass, records } = start();
    typed('u1', 'Where?', null);
    const call = (id: string, name: string | undefined, previous_item_id: string) =>
      came('conversation.item.added', { previous_item_id, item: { id, type: 'function_call', ...(name && { name }) } });
    call('f1', 'find', 'u1');
    call('f2', undefined, 'f1');
    came('response.output_item.done', { response_id: 'r', item: { id: 'f2', type: 'function_call', name: 'look' } });
    speaks('a1', 'There.', 100, 'f2');
    done('a1');
    speaks('a2', 'Anything else?', 100, 'a1');
    done('a2');
    pass(5000);
    expect(records.map(({ tools }) => tools)).toEqual([[], ['find', 'look'], []]);
  });

  it('leaves out instructions, empty answers, and answers beside the conversation', () => {
    const { came, typed, speaks, done, pass, texts } = start();
    typed('s1', 'Be nice.', null, 'system');
    typed('u1', 'Hi!', 's1');
    came('response.output_item.added', {
      response_id: 'resp_x',
      item: { id: 'x', type: 'message', role: 'assistant', status: 'in_progress' },
    });
    came('response.output_text.delta', { response_id: 'resp_x', item_id: 'x', content_index: 0, delta: 'secret' });
    came('response.done', { response: { id: 'resp_x', status: 'completed', output: [{ id: 'x', type: 'message' }] } });
    speaks('a1', '', 0, 'u1');
    done('a1');
    pass(5000);
    expect(texts()).toEqual(['Hi!']);
  });

  it('says whose words they are', () => {
    const { scribe, typed, records } = start();
    scribe.injected('b1');
    scribe.injected('b2');
    typed('u1', 'mine', null);
    typed('c1', 'brought along', 'u1', 'assistant');
    typed('b1', 'a colleague', 'c1', 'assistant');
    typed('b2', 'for the user', 'b1');
    expect(records.map(({ source }) => source)).toEqual(['user', 'client', 'backend', 'backend']);
  });

  it('keeps what was deleted, and leaves its words out only where that is wanted', () => {
    for (const include of [['user'], ['user', 'no_deleted']] as Include[]) {
      const { came, committed, words, records } = start(include);
      committed('u1', null);
      came('conversation.item.deleted', { item_id: 'u1' });
      words('u1', 'the deed');
      expect(records).toMatchObject([{ deleted: true, text: include.length === 1 ? 'the deed' : '' }]);
    }
  });

  it('tells of an answer that ended badly, and of one that failed', () => {
    const { speaks, done, pass, records } = start();
    speaks('a1', 'Well', 100, null);
    done('a1', 'incomplete');
    speaks('a2', 'Oh', 100, 'a1');
    done('a2', 'failed');
    pass(5000);
    expect(records.map(({ status }) => status)).toEqual(['interrupted', 'failed']);
  });

  it('says all that waits at the end, in order, and what never became words as failed', () => {
    const { scribe, committed, speaks, done, records, waiting } = start();
    committed('u1', null);
    speaks('a1', 'Heard.', 9000, 'u1');
    done('a1');
    committed('u2', 'a1');
    speaks('a2', 'In the mid', 100, 'u2');
    scribe.close();
    expect(records.map(({ text, status }) => [text, status])).toEqual([
      ['', 'failed'],
      ['Heard.', 'completed'],
      ['', 'failed'],
      ['In the mid', 'interrupted'],
    ]);
    expect(waiting).toEqual([]);
  });

  it('shortens what is very long, between characters', () => {
    const { typed, records } = start();
    typed('u1', `a${'😀'.repeat(9000)}`, null);
    expect(records[0]?.truncated).toBe(true);
    expect(records[0]?.text).toMatch(/^a(😀){7999}$/u);
  });

  it('does not wait for ever for the first of very many', () => {
    const { committed, typed, records } = start();
    committed('u0', null);
    for (let i = 1; i <= 300; i++) typed(`u${i}`, `${i}`, `u${i - 1}`);
    expect(records[0]).toMatchObject({ item_id: 'u0', status: 'failed' });
    expect(records.map(({ item_id }) => item_id)).toEqual(Array.from({ length: 301 }, (_, i) => `u${i}`));
  });
});

describe('a cut', () => {
  it.each([
    ['one two three', 7, 'one two'],
    ['one two three', 6, 'one'],
    ['one two three', 0, ''],
    ['我想知道我的订单在哪里', 6, '我想知道我的'],
  ])('of %j after %i characters is %j', (text, characters, kept) => {
    expect(wordsBefore(text, characters)).toBe(kept);
  });
});

describe('notices', () => {
  it('give a turn one number wherever it is told, and follow the calls that upstream makes', () => {
    const transcripts = { webhook: true, log: true, sideband: true, include: [] };
    const principal = { issuer: 'https://id.test', subject: 'alice', tenant: null };
    const admission = { id: 'sess_1', principal, profile: { name: 'desk', transcripts } };
    type Parts = ConstructorParameters<typeof Notices>;
    const [sent, logged, told]: unknown[][] = [[], [], []];
    const services = {
      log: { info: (fields: object) => logged?.push(fields) },
      webhooks: { wants: () => true, send: (notice: object) => sent?.push(notice) },
      hasSeveralIssuers: true,
    };
    const taps = { step: () => (event: { body: unknown }) => void told?.push(event.body) };
    const notices = new Notices(admission as never, services as unknown as Parts[1], taps as never, (at) => at);
    notices.said({ item_id: 'i1', role: 'user', source: 'user', text: 'Hi!', status: 'completed' } as Utterance);
    const record = { session: 'sess_1', seq: 1, issuer: 'https://id.test', tenant: null, profile: 'desk', text: 'Hi!' };
    expect(sent).toMatchObject([{ type: 'transcript.item', seq: 1, data: record }]);
    expect(logged).toMatchObject([record]);
    expect(told).toMatchObject([{ type: 'relay.transcript_item', item: record }]);
    const came = (type: string, fields: JsonObject) => notices.hosted?.came?.(eventOf({ type, ...fields }));
    came('response.output_item.added', { item: { id: 'mcp_1', type: 'mcp_call', name: 'find' } });
    came('response.mcp_call.failed', { item_id: 'mcp_1' });
    expect(sent?.[1]).toMatchObject({
      type: 'tool.called',
      data: { seq: 2, call_id: 'mcp_1', name: 'find', runs: 'mcp', outcome: 'failed' },
    });
  });
});
