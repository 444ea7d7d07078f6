import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createClock } from '../../src/clock.js';
import { eventOf, type JsonObject } from '../../src/protocol/event.js';
import { createAsks } from '../../src/session/asks.js';
import type { Want } from '../../src/session/wants.js';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

const vad = { audio: { input: { turn_detection: { type: 'server_vad' } } } };
const quietVad = { audio: { input: { turn_detection: { type: 'server_vad', create_response: false } } } };
const manual = { audio: { input: { turn_detection: null } } };

/** A leg on which an answer with calls is over; what the relay asks for gets the ids `rly_1`, `rly_2`, …, and their tags. */
function start(session: JsonObject = vad, { mostRounds = 8, echoes = true } = {}) {
  const said: JsonObject[] = [];
  const passed: string[] = [];
  const withdrawn: string[] = [];
  const asks = createAsks({
    clock: createClock(),
    mostRounds,
    say(body) {
      said.push(body);
      const { response = {} } = body as { response?: JsonObject };
      return {
        ...body,
        event_id: `rly_${said.length}`,
        response: { ...response, metadata: { rly: `r${said.length}` } },
      };
    },
    pass: (event) => passed.push(String(event.body?.event_id)),
    withdrawn: (id) => withdrawn.push(id),
    isSilent: () => false,
    hush: () => undefined,
  });
  asks.configured(session);
  const hear = (type: string, body: JsonObject = {}) => {
    asks.down(eventOf({ type, ...body }));
    asks.look();
  };
  const begin = (id: string, tag?: string, rest: JsonObject = {}) =>
    hear('response.created', {
      response: { id, conversation_id: 'conv', metadata: echoes && tag ? { rly: tag } : null, ...rest },
    });
  const end = (id: string) => hear('response.done', { response: { id, status: 'completed' } });
  return {
    ...{ asks, said, passed, withdrawn, hear, begin, end },
    refuse: (event_id: string | null, code = 'conversation_already_has_active_response') =>
      hear('error', { error: { code, event_id } }),
    /** The client asks for a response: what goes on its way upstream. */
    client: (event_id: string, response: JsonObject = {}) =>
      asks.up(
        eventOf({ type: 'response.create', event_id, response: { ...response, metadata: { rly: `of_${event_id}` } } }),
      )?.body?.event_id ?? null,
    cancel: () => asks.up(eventOf({ type: 'response.cancel' })),
    want(want: Partial<Want> = {}) {
      const ends: string[] = [];
      const placed = asks.want({ kind: 'follow-up', ended: (how) => ends.push(how), ...want });
      return { ...placed, ends };
    },
  };
}

describe('a follow-up', () => {
  it('is asked for at once when nobody has the floor, and bare', () => {
    const { said, want, begin, end } = start();
    const { ends } = want();
    expect(said).toEqual([{ type: 'response.create' }]);
    begin('resp_2', 'r1');
    end('resp_2');
    expect(ends).toEqual(['answered']);
  });

  it.each<[string, string, string, (leg: ReturnType<typeof start>) => void]>([
    ['a response runs', 'response.created', 'its end', ({ end }) => end('resp_1')],
    [
      'the user speaks',
      'input_audio_buffer.speech_started',
      'a clear of the buffer',
      ({ hear }) => hear('input_audio_buffer.cleared'),
    ],
    [
      'the user speaks',
      'input_audio_buffer.speech_started',
      'half a minute without another word of it',
      () => void vi.advanceTimersByTime(30_000),
    ],
    [
      'the user speaks',
      'input_audio_buffer.speech_started',
      'an update that turns the detection of turns off',
      ({ hear }) => hear('session.updated', { session: manual }),
    ],
    [
      'upstream is about to answer what it has heard',
      'input_audio_buffer.speech_stopped',
      'five seconds without an answer',
      () => void vi.advanceTimersByTime(5000),
    ],
    [
      'upstream is about to answer silence',
      'input_audio_buffer.timeout_triggered',
      'five seconds without an answer',
      () => void vi.advanceTimersByTime(5000),
    ],
  ])('waits while %s (%s) until %s', (_, type, __, free) => {
    const leg = start();
    leg.hear(type, { response: { id: 'resp_1', conversation_id: 'conv' } });
    leg.want();
    vi.advanceTimersByTime(4999);
    expect(leg.said).toEqual([]);
    free(leg);
    expect(leg.said).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it.each([
    ['there is no detection of turns', manual],
    ['upstream does not answer by itself', quietVad],
  ])('is asked for right after a commit where %s', (_, session) => {
    const { said, want, hear } = start(session);
    hear('input_audio_buffer.speech_started');
    want();
    expect(said).toHaveLength(0);
    hear('input_audio_buffer.committed');
    expect(said).toHaveLength(1);
  });

  it('is settled by a response that begins when upstream has taken its outputs, and never asked for', () => {
    const { said, want, hear, begin, end } = start();
    hear('input_audio_buffer.speech_started');
    const { ends, acknowledged } = want();
    acknowledged();
    hear('input_audio_buffer.speech_stopped');
    begin('resp_vad');
    end('resp_vad');
    expect(ends).toEqual(['settled']);
    vi.advanceTimersByTime(60_000);
    expect(said).toEqual([]);
  });

  it('comes after a response that began before upstream had taken its outputs', () => {
    const { said, want, hear, begin, end } = start();
    hear('input_audio_buffer.speech_started');
    const { ends, acknowledged } = want();
    hear('input_audio_buffer.speech_stopped');
    begin('resp_vad');
    acknowledged();
    expect(said).toEqual([]);
    end('resp_vad');
    expect(said).toHaveLength(1);
    begin('resp_2', 'r1');
    end('resp_2');
    expect(ends).toEqual(['answered']);
  });

  it.each([
    ['names it', 'rly_1'],
    ['names nothing', null],
  ])('is asked for again after the answer that upstream was busy with, when its error %s', (_, named) => {
    const { said, want, begin, end, refuse } = start();
    const { ends } = want();
    begin('resp_vad');
    refuse(named);
    vi.advanceTimersByTime(20_000);
    expect(said).toHaveLength(1);
    end('resp_vad');
    expect(said).toHaveLength(2);
    begin('resp_2', 'r2');
    end('resp_2');
    expect(ends).toEqual(['answered']);
  });

  it('is settled when the answer that was in its way had begun with its outputs', () => {
    const { said, want, begin, end, refuse } = start();
    const { ends, acknowledged } = want();
    begin('resp_tagged', 'of_somebody');
    end('resp_tagged');
    acknowledged();
    begin('resp_vad');
    refuse('rly_1');
    end('resp_vad');
    vi.advanceTimersByTime(20_000);
    expect(ends).toEqual(['settled']);
    expect(said).toHaveLength(1);
  });

  it('is not asked for without end of an upstream that says it is busy and is not', () => {
    const { said, want, refuse } = start();
    const { ends } = want();
    for (let i = 1; i < 20; i++) {
      refuse(`rly_${i}`);
      vi.advanceTimersByTime(1000);
    }
    expect(said).toHaveLength(6);
    expect(ends).toEqual(['refused']);
  });

  it.each(['rate_limit_exceeded', 'server_error', 'internal_error'])(
    'is asked for again after a while when upstream has trouble that may pass: %s',
    (code) => {
      const { said, want, begin, end, refuse } = start();
      const { ends } = want();
      refuse('rly_1', code);
      expect(said).toHaveLength(1);
      vi.advanceTimersByTime(1000);
      expect(said).toHaveLength(2);
      begin('resp_2', 'r2');
      end('resp_2');
      expect(ends).toEqual(['answered']);
    },
  );

  it('is given up when upstream refuses it for another reason', () => {
    const { said, want, refuse, asks } = start();
    const { ends } = want();
    refuse('rly_1', 'invalid_value');
    vi.advanceTimersByTime(20_000);
    expect(ends).toEqual(['refused']);
    expect(said).toHaveLength(1);
    expect(asks.isOwing || asks.isBusy).toBe(false);
  });

  it('is dropped by a cancel of the client, and by who wanted it', () => {
    const { said, want, hear, cancel } = start();
    hear('input_audio_buffer.speech_started');
    const [one, other] = [want(), want()];
    other.drop();
    cancel();
    hear('input_audio_buffer.cleared');
    expect([one.ends, other.ends]).toEqual([['dropped'], ['dropped']]);
    expect(said).toEqual([]);
  });

  it('goes on as its turn was asked for, and so does the next one', () => {
    const { said, want, client, begin, end } = start();
    client('c1', { output_modalities: ['text'], max_output_tokens: 99, instructions: 'once' });
    begin('resp_1', 'of_c1');
    end('resp_1');
    want({ after: 'resp_1' });
    begin('resp_2', 'r1');
    end('resp_2');
    want({ after: 'resp_2' });
    const response = { output_modalities: ['text'], max_output_tokens: 99 };
    expect(said).toEqual([
      { type: 'response.create', response },
      { type: 'response.create', response },
    ]);
  });

  it('goes on as a turn that upstream began by itself: bare', () => {
    const { said, want, client, begin, end } = start();
    client('c1', { output_modalities: ['text'] });
    begin('resp_1', 'of_c1');
    end('resp_1');
    begin('resp_vad');
    end('resp_vad');
    want({ after: 'resp_vad' });
    expect(said).toEqual([{ type: 'response.create' }]);
  });

  it.each([
    ['required', { tool_choice: 'auto' }],
    [{ type: 'function', name: 'f' }, { tool_choice: 'auto' }],
    ['auto', undefined],
    ['none', undefined],
  ])('does not make the model call again where the session says %o', (tool_choice, response) => {
    const { said, want } = start({ ...vad, tool_choice });
    want();
    expect(said).toEqual([{ type: 'response.create', ...(response && { response }) }]);
  });

  it('calls no tools any more after so many in a row, until the user says something new', () => {
    const { said, want, begin, end, hear, client } = start(vad, { mostRounds: 2 });
    const round = () => {
      want();
      begin(`resp_${said.length}`, `r${said.length}`);
      end(`resp_${said.length}`);
    };
    for (let i = 0; i < 4; i++) round();
    hear('conversation.item.added', { item: { type: 'message', role: 'user' } });
    round();
    round();
    client('c1');
    begin('resp_c', 'of_c1');
    end('resp_c');
    round();
    const none = { type: 'response.create', response: { tool_choice: 'none' } };
    const bare = { type: 'response.create' };
    expect(said).toEqual([bare, bare, none, none, bare, bare, bare]);
  });

  it('finds its response without a tag on an upstream that sends none back', () => {
    const { want, begin, end } = start(vad, { echoes: false });
    const { ends } = want();
    begin('resp_2', 'r1');
    end('resp_2');
    expect(ends).toEqual(['answered']);
  });

  it('is not held up by a response outside of the conversation, nor settled by it', () => {
    const { said, want, client, begin } = start();
    client('c1', { conversation: 'none' });
    begin('resp_aside', 'of_c1');
    begin('resp_other', undefined, { conversation_id: null });
    expect(want().ends).toEqual([]);
    expect(said).toHaveLength(1);
  });
});

describe('a filler', () => {
  const filler: Partial<Want> = {
    kind: 'filler',
    response: { instructions: 'Say only this: wait', tool_choice: 'none', metadata: { relay: 'filler' } },
  };

  it('is said in the modality of its turn, and does not settle what is owed', () => {
    const { said, want, client, begin, end } = start();
    client('c1', { output_modalities: ['text'] });
    begin('resp_1', 'of_c1');
    end('resp_1');
    want({ ...filler, after: 'resp_1' });
    expect(said).toEqual([{ type: 'response.create', response: { output_modalities: ['text'], ...filler.response } }]);
    const followUp = want({ after: 'resp_1' });
    followUp.acknowledged();
    begin('resp_2', 'r1');
    expect(followUp.ends).toEqual([]);
    end('resp_2');
    expect(said).toHaveLength(2);
  });

  it('comes after what is owed', () => {
    const { said, want, hear } = start();
    hear('input_audio_buffer.speech_started');
    want(filler);
    want();
    hear('input_audio_buffer.cleared');
    expect(said).toEqual([{ type: 'response.create' }]);
  });
});

describe('what a client asks for while a tool of the relay works', () => {
  it('passes, and what the relay wants waits behind it', () => {
    const { said, want, client, begin, end } = start();
    expect(client('c1')).toBe('c1');
    const { ends } = want();
    expect(said).toEqual([]);
    begin('resp_c', 'of_c1');
    end('resp_c');
    expect(said).toHaveLength(1);
    expect(ends).toEqual([]);
  });

  it('is kept where it is about tools of both, and goes on its way with the last output', () => {
    const { asks, passed, client, begin } = start();
    const complete = asks.keep();
    expect(client('c1')).toBeNull();
    expect(client('c2')).toBe('c2');
    complete();
    expect(passed).toEqual([]);
    begin('resp_c2', 'of_c2');
    asks.down(eventOf({ type: 'response.done', response: { id: 'resp_c2' } }));
    asks.look();
    expect(passed).toEqual(['c1']);
    expect(asks.isBusy).toBe(true);
    expect(asks.isOwing).toBe(false);
  });

  it.each<[string, (leg: ReturnType<typeof start>) => void]>([
    ['a new word of the user', ({ hear }) => hear('input_audio_buffer.speech_started')],
    ['a cancel', ({ cancel }) => cancel()],
  ])('is dropped by %s while it is kept', (_, drop) => {
    const leg = start();
    const complete = leg.asks.keep();
    leg.client('c1');
    drop(leg);
    complete();
    vi.advanceTimersByTime(60_000);
    expect(leg.passed).toEqual([]);
    expect(leg.withdrawn).toEqual(['c1']);
  });

  it('passes as ever once the last output is there', () => {
    const { asks, client } = start();
    asks.keep()();
    expect(client('c1')).toBe('c1');
  });
});

describe('what a backend asks for', () => {
  it('does not wait for the user, but for the answer that runs', () => {
    const { said, want, hear, begin, end } = start();
    begin('resp_1');
    hear('input_audio_buffer.speech_started');
    want({ kind: 'backend', response: { instructions: 'Hang up.' } });
    expect(said).toEqual([]);
    end('resp_1');
    expect(said).toEqual([{ type: 'response.create', response: { instructions: 'Hang up.' } }]);
  });

  it('is not asked for again when upstream is busy', () => {
    const { said, want, refuse } = start();
    const { ends } = want({ kind: 'backend' });
    refuse('rly_1');
    vi.advanceTimersByTime(20_000);
    expect(ends).toEqual(['refused']);
    expect(said).toHaveLength(1);
  });
});

it('asks for nothing any more when the leg is gone, and leaves no timer', () => {
  const { asks, said, want, hear } = start();
  hear('input_audio_buffer.speech_started');
  const { ends } = want();
  asks.close();
  vi.advanceTimersByTime(60_000);
  expect(ends).toEqual(['dropped']);
  expect(said).toEqual([]);
  expect(vi.getTimerCount()).toBe(0);
});
