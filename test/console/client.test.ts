import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Connection } from '../../src/client/connection.js';
import { RelayClient } from '../../src/client/relay-client.js';
import { maxAttempts, nextAfter } from '../../src/client/retry.js';
import type { ConnectionHandlers, State } from '../../src/client/states.js';
import type { RealtimeEvent } from '../../src/client/transport.js';
import { type ExitId, exitIds, exits } from '../../src/errors.js';
import { fakeTransport } from './fake-transport.js';
import { FakeAudio, FakeAudioContext, FakeSource } from './sound.js';

function quiet(became: (state: State, ms?: number) => void = () => undefined): ConnectionHandlers {
  return { became, received: () => undefined, heard: () => undefined, failed: () => undefined, lost: () => undefined };
}

const session = (detection: object = {}) => ({
  type: 'session.created',
  session: { audio: { input: { turn_detection: detection } } },
});

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

describe('the time until the next attempt', () => {
  const waitAfter = (id: string, given: Partial<Parameters<typeof nextAfter>[0]> = {}) => {
    const code = id in exits ? exits[id as ExitId].close : 1006;
    const ended = { code, id, retryAfterMs: undefined, attempt: 1, hasWorked: true, hadNewToken: false, ...given };
    return nextAfter(ended, () => 0.5);
  };

  it.each(exitIds)('follows the table of exits after %s', (id) => {
    const next = waitAfter(id);
    expect(next.kind).toBe(exits[id].retry === 'stop' ? 'stop' : 'retry');
    if (exits[id].retry === 'reconnect_now' && next.kind === 'retry') expect(next.afterMs).toBeLessThan(100);
    if (exits[id].retry === 'wait' && next.kind === 'retry') expect(next.afterMs).toBeGreaterThanOrEqual(1000);
  });

  it('is never shorter than the relay asks', () => {
    expect(waitAfter('rate_limited', { retryAfterMs: 45_000 })).toMatchObject({ kind: 'retry' });
    for (const random of [0, 0.999]) {
      const next = nextAfter(
        { code: 1013, id: 'overloaded', retryAfterMs: 45_000, attempt: 3, hasWorked: true, hadNewToken: false },
        () => random,
      );
      expect(next).toMatchObject({ kind: 'retry' });
      expect((next as { afterMs: number }).afterMs).toBeGreaterThanOrEqual(45_000);
    }
  });

  it('grows with every failure, up to half a minute', () => {
    const waits = [1, 2, 3, 4, 8, 11].map((attempt) => waitAfter('upstream_lost', { attempt }) as { afterMs: number });
    expect(waits.map(({ afterMs }) => afterMs)).toEqual([250, 500, 1000, 2000, 15_000, 15_000]);
  });

  it('ends after a number of failures in a row', () => {
    expect(waitAfter('upstream_lost', { attempt: maxAttempts })).toEqual({ kind: 'stop' });
  });

  it.each([
    ['a connection that broke', { code: 1006, id: '' }, 'retry'],
    ['an address that never answered', { code: 1006, id: '', hasWorked: false }, 'stop'],
    ['a new token that is refused too', { code: 1008, id: 'unauthorized', hadNewToken: true }, 'stop'],
    ['a proxy that restarts', { code: 1012, id: 'Service Restart' }, 'retry'],
    ['a close code nobody knows', { code: 4321, id: '' }, 'stop'],
  ])('is decided after %s', (_, ended, kind) => {
    expect(waitAfter(ended.id, ended).kind).toBe(kind);
  });
});

describe('a reason that every object has as a name', () => {
  it.each(['toString', 'constructor', '__proto__'])('is none of the exits: %s is judged by its close code', (id) => {
    const ended = { code: 1013, retryAfterMs: undefined, attempt: 1, hasWorked: true, hadNewToken: false };
    const next = nextAfter({ ...ended, id }, () => 0.5);
    expect(next).toEqual(nextAfter({ ...ended, id: 'Try Again Later' }, () => 0.5));
    expect(next).toMatchObject({ kind: 'retry' });
  });
});

describe('a connection', () => {
  it('comes back by itself, and asks for a token each time', async () => {
    const transport = fakeTransport();
    const token = vi.fn(async (isRefused: boolean) => (isRefused ? 'fresh' : 'cached'));
    const states: [State, number | undefined][] = [];
    const connection = new Connection(
      { url: 'http://relay', token, transport: transport.open },
      quiet((state, ms) => states.push([state, ms])),
    );
    connection.start();
    await vi.advanceTimersByTimeAsync(0);
    transport.last().handlers.received(session());
    await vi.advanceTimersByTimeAsync(20_000);
    transport.endWith('upstream_lost');
    expect(states.at(-1)).toEqual(['waiting', 250]);
    await vi.advanceTimersByTimeAsync(250);
    expect(transport.opened).toHaveLength(2);
    transport.endWith('token_expired');
    await vi.advanceTimersByTimeAsync(0);
    expect(transport.opened.map((one) => one.token)).toEqual(['cached', 'cached', 'fresh']);
    transport.endWith('unauthorized');
    expect(states.at(-1)).toEqual(['idle', undefined]);
    expect(token.mock.calls).toEqual([[false], [false], [true]]);
  });

  async function expiring(token: (isRefused: boolean) => string | Promise<string>, reason = 'token_expired') {
    const transport = fakeTransport();
    const failed = vi.fn();
    const handlers = { ...quiet(), failed };
    const connection = new Connection({ url: 'http://relay', token, transport: transport.open }, handlers);
    connection.start();
    await vi.advanceTimersByTimeAsync(0);
    const { handlers: relay, sent } = transport.last();
    relay.received(session());
    await vi.advanceTimersByTimeAsync(20_000);
    relay.received({ type: 'relay.session_expiring', reason, expires_at: 1 });
    await vi.advanceTimersByTimeAsync(0);
    return { transport, connection, failed, relay, sent };
  }

  it('goes on with another token when its own is about to run out', async () => {
    const given = ['first', 'second', 'third', 'third'];
    const token = vi.fn((_isRefused: boolean) => given.shift() as string);
    const { transport, connection, relay, sent, failed } = await expiring(token);
    expect(sent).toEqual([{ type: 'relay.authenticate', token: 'second' }]);
    relay.received({ type: 'relay.authenticated', expires_at: 2 });
    relay.received({ type: 'relay.session_expiring', reason: 'token_expired', expires_at: 2 });
    await vi.advanceTimersByTimeAsync(0);
    expect(sent).toEqual(['second', 'third'].map((one) => ({ type: 'relay.authenticate', token: one })));
    relay.received({ type: 'relay.authenticated', expires_at: 3 });
    expect(token.mock.calls).toEqual([[false], [false], [false]]);
    expect(transport.opened).toHaveLength(1);
    expect(failed).not.toHaveBeenCalled();
    // The one that it went on with has run out, and there is no other.
    transport.endWith('token_expired');
    await vi.advanceTimersByTimeAsync(60_000);
    expect(transport.opened).toHaveLength(1);
    expect(connection.state).toBe('idle');
  });

  it('stays as it is when the other token is refused, cannot be had or cannot be one', async () => {
    const bad = [() => 'refused', () => Promise.reject(new Error('no backend')), () => 'two words'];
    const codes = ['renewal_refused', 'no_token', 'unusable_token'];
    for (const [index, other] of bad.entries()) {
      const given: (() => string | Promise<string>)[] = [() => 'first', other, () => 'refused'];
      const { transport, connection, relay, failed } = await expiring(async () => (given.shift() as () => string)());
      if (index === 0)
        relay.received({ type: 'error', error: { code: 'renewal_refused', message: 'said by the test' } });
      expect(failed.mock.calls).toEqual([[expect.objectContaining({ code: codes[index], isFinal: false })]]);
      expect(connection.state).toBe('open');
      expect(transport.last().isClosed).toBe(false);
      transport.endWith('token_expired');
      await vi.advanceTimersByTimeAsync(0);
      expect(transport.opened.map(({ token }) => token)).toEqual(['first', 'refused']);
    }
  });

  it('asks for no token when the session itself is at its end, nor sends one that comes after', async () => {
    const token = vi.fn(() => 'a');
    await expiring(token, 'session_expired');
    expect(token).toHaveBeenCalledOnce();
    let give = (_token: string) => undefined as unknown;
    const given: (string | Promise<string>)[] = ['a', new Promise<string>((resolve) => (give = resolve))];
    const { connection, sent } = await expiring(() => given.shift() as string);
    connection.stop();
    give('late');
    await vi.advanceTimersByTimeAsync(0);
    expect(sent).toEqual([]);
  });

  it('waits as long as the relay says', async () => {
    const transport = fakeTransport();
    const connection = new Connection({ url: 'http://relay', token: () => 'a', transport: transport.open }, quiet());
    connection.start();
    await vi.advanceTimersByTimeAsync(0);
    transport.endWith('overloaded', 9000);
    await vi.advanceTimersByTimeAsync(8999);
    expect(transport.opened).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1001);
    expect(transport.opened).toHaveLength(2);
  });

  it.each(['forbidden', 'quota_exceeded', 'bad_event', 'normal'] as const)('stays down after %s', async (id) => {
    const transport = fakeTransport();
    const connection = new Connection({ url: 'http://relay', token: () => 'a', transport: transport.open }, quiet());
    connection.start();
    await vi.advanceTimersByTimeAsync(0);
    transport.endWith(id);
    expect(connection.state).toBe('idle');
    await vi.advanceTimersByTimeAsync(120_000);
    expect(transport.opened).toHaveLength(1);
  });

  it('does not open what was stopped while the token was on its way, or while it waited', async () => {
    const transport = fakeTransport();
    let give = (_token: string) => undefined as unknown;
    const token = () => new Promise<string>((resolve) => (give = resolve));
    const connection = new Connection({ url: 'http://relay', token, transport: transport.open }, quiet());
    connection.start();
    connection.stop();
    give('late');
    await vi.advanceTimersByTimeAsync(0);
    expect(transport.opened).toHaveLength(0);
    connection.start();
    give('in-time');
    await vi.advanceTimersByTimeAsync(0);
    transport.endWith('overloaded');
    connection.stop();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(transport.opened).toHaveLength(1);
  });

  it('does not try a token again that was refused', async () => {
    const transport = fakeTransport();
    const failed = vi.fn();
    const handlers = { ...quiet(), failed };
    const connection = new Connection({ url: 'http://relay', token: () => 'a', transport: transport.open }, handlers);
    connection.start();
    await vi.advanceTimersByTimeAsync(0);
    transport.endWith('unauthorized');
    await vi.advanceTimersByTimeAsync(60_000);
    expect(transport.opened).toHaveLength(1);
    expect(connection.state).toBe('idle');
    expect(failed).toHaveBeenCalledOnce();
  });

  it.each(['', 'two words', '"quoted"', 'line\nbreak'])('does not send %j as a token', async (text) => {
    const transport = fakeTransport();
    const failed = vi.fn();
    const handlers = { ...quiet(), failed };
    new Connection({ url: 'http://relay', token: () => text, transport: transport.open }, handlers).start();
    await vi.advanceTimersByTimeAsync(0);
    expect(transport.opened).toHaveLength(0);
    expect(failed).toHaveBeenCalledWith(expect.objectContaining({ code: 'unusable_token', isFinal: true }));
  });
});

describe('a client', () => {
  async function talking() {
    vi.stubGlobal('AudioContext', FakeAudioContext);
    vi.stubGlobal('AudioBufferSourceNode', FakeSource);
    const transport = fakeTransport();
    const client = new RelayClient({ url: 'http://relay', token: () => 'a', transport: transport.open });
    const heard: unknown[] = [];
    client.on('interrupted', (one) => heard.push(one));
    client.connect();
    await vi.advanceTimersByTimeAsync(0);
    const { handlers, sent } = transport.last();
    const context = FakeAudioContext.last as FakeAudioContext;
    const receive = (event: RealtimeEvent) => handlers.received(event);
    /** A piece of 100 ms. */
    const speak = (item: string, response: string) =>
      receive({
        type: 'response.output_audio.delta',
        item_id: item,
        response_id: response,
        delta: Buffer.alloc(4800).toString('base64'),
      });
    return { transport, client, heard, sent, context, receive, speak };
  }

  it('plays without gaps, and says what was heard when it is interrupted', async () => {
    const { sent, context, receive, speak, heard } = await talking();
    receive(session());
    receive({ type: 'response.created', response: { id: 'resp_1' } });
    for (let piece = 0; piece < 10; piece++) speak('item_1', 'resp_1');
    const starts = context.sources.map(({ startedAt }) => startedAt);
    for (const [at, start] of starts.entries()) expect(start).toBeCloseTo((starts[0] ?? 0) + at * 0.1, 6);
    context.currentTime = (starts[0] ?? 0) + 0.42;
    receive({ type: 'input_audio_buffer.speech_started' });
    const truncate = { type: 'conversation.item.truncate', item_id: 'item_1', content_index: 0, audio_end_ms: 420 };
    expect(sent).toEqual([truncate]);
    expect(heard).toEqual([{ itemId: 'item_1', playedMs: 420 }]);
    expect(context.sources.every(({ stoppedAt }) => stoppedAt !== null)).toBe(true);
    speak('item_1', 'resp_1');
    expect(context.sources, 'a late piece is not played').toHaveLength(10);
  });

  it('silences a call at once when the user speaks, and lets the next answer be heard from its start', async () => {
    vi.stubGlobal('Audio', FakeAudio);
    const { transport, client, context, receive } = await talking();
    const { handlers } = transport.last();
    handlers.opened?.();
    handlers.heard?.({} as MediaStream);
    expect(FakeAudio.last?.muted, 'it is heard by the graph alone').toBe(true);
    const volume = context.volumes.at(-1);
    context.currentTime = 10;
    receive({ type: 'input_audio_buffer.speech_started' });
    expect([9.9, 10, 10.39, 10.5].map((time) => volume?.at(time))).toEqual([1, 0, 0, 1]);
    context.currentTime = 10.1;
    receive({ type: 'output_audio_buffer.started', response_id: 'resp_2' });
    expect([10.05, 10.1, 10.2].map((time) => volume?.at(time))).toEqual([0, 1, 1]);
    client.disconnect();
  });

  it('counts only what came out of the loudspeaker', async () => {
    const { sent, context, receive, speak } = await talking();
    receive(session());
    speak('item_1', 'resp_1');
    context.outputLatency = 0.05;
    context.currentTime = (context.sources[0]?.startedAt ?? 0) + 0.08;
    receive({ type: 'input_audio_buffer.speech_started' });
    expect(sent).toMatchObject([{ audio_end_ms: 30 }]);
  });

  it('counts the whole of a long answer', async () => {
    const { sent, context, receive, speak } = await talking();
    receive(session());
    for (let piece = 0; piece < 300; piece++) {
      speak('item_1', 'resp_1');
      context.currentTime += 0.09;
    }
    const first = context.sources[0]?.startedAt ?? 0;
    receive({ type: 'input_audio_buffer.speech_started' });
    const [{ audio_end_ms }] = sent as unknown as [{ audio_end_ms: number }];
    expect(Math.abs(audio_end_ms - (context.currentTime - first) * 1000)).toBeLessThanOrEqual(1);
  });

  it('says nothing about an answer that was heard to its end', async () => {
    const { sent, context, receive, speak } = await talking();
    receive(session());
    speak('item_1', 'resp_1');
    context.currentTime = 5;
    receive({ type: 'input_audio_buffer.speech_started' });
    expect(sent).toEqual([]);
  });

  it('lets the model speak on when the session says that speech does not interrupt', async () => {
    const { sent, receive, speak } = await talking();
    receive(session({ interrupt_response: false }));
    speak('item_1', 'resp_1');
    receive({ type: 'input_audio_buffer.speech_started' });
    expect(sent).toEqual([]);
  });

  it('asks for the answer to a text only after the running answer is done', async () => {
    const { client, sent, receive } = await talking();
    receive(session());
    receive({ type: 'response.created', response: { id: 'resp_1' } });
    client.sendText('wait');
    expect(sent.map(({ type }) => type)).toEqual(['response.cancel', 'conversation.item.create']);
    receive({ type: 'response.done', response: { id: 'resp_1' } });
    expect(sent.at(-1)).toEqual({ type: 'response.create' });
  });

  it('sends nothing before the session has begun, and nothing after it has ended', async () => {
    const { client, sent, transport } = await talking();
    client.sendText('too early');
    transport.last().handlers.received(session());
    client.disconnect();
    client.sendText('too late');
    expect(sent).toEqual([]);
    expect(transport.last().isClosed).toBe(true);
  });

  it('tells refused events from the end of the session', async () => {
    const { client, receive } = await talking();
    const problems: unknown[] = [];
    client.on('problem', (problem) => problems.push(problem));
    receive(session());
    receive({ type: 'error', error: { code: 'invalid_value', message: 'no' } });
    receive({ type: 'error', error: { code: 'response_cancel_not_active', message: 'late' } });
    receive({ type: 'error', error: { code: 'quota_exceeded', message: 'spent', retryable: false } });
    expect(problems).toEqual([
      { code: 'invalid_value', message: 'no', isFinal: false },
      { code: 'quota_exceeded', message: 'spent', isFinal: true },
    ]);
  });
});
