import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Connection } from '../../src/client/connection.js';
import type { State } from '../../src/client/states.js';
import type { RealtimeEvent } from '../../src/client/transport.js';
import type { ExitId } from '../../src/errors.js';
import { fakeTransport } from './fake-transport.js';
import { open, soon } from './opened.js';

const resumable = { type: 'relay.resumable', token: 'rr_1', epoch: 1, window_seconds: 30 };
const resumed = (received: number, more: object = {}) => ({
  ...{ type: 'relay.resumed', received, token: 'rr_2', epoch: 2, window_seconds: 30 },
  ...{ continuity: 'full', missed: { messages: 0, audio_ms: 0 }, ...more },
});

/** An open session that can be gone on with. */
async function start(token: () => string | Promise<string> = () => 'a') {
  const transport = fakeTransport();
  const states: State[] = [];
  const received: RealtimeEvent[] = [];
  let lost = 0;
  const connection = new Connection(
    { url: 'https://relay.test', token, transport: transport.open },
    {
      became: (state) => void states.push(state),
      received: (event) => void received.push(event),
      heard: () => undefined,
      failed: () => undefined,
      lost: () => void lost++,
    },
  );
  connection.start();
  await soon();
  const say = (event: RealtimeEvent) => transport.last().handlers.received(event);
  say({ type: 'session.created', session: {} });
  say(resumable);
  const sound = (index: number) => connection.send({ type: 'input_audio_buffer.append', audio: `a${index}` }, 40);
  return {
    ...{ transport, connection, states, received, say, sound },
    breaks: (code = 1006) => transport.last().handlers.ended({ code, reason: '' }),
    lost: () => lost,
    sent: () => transport.last().sent.map(({ audio, type }) => audio ?? type),
  };
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

describe('a page whose connection breaks', () => {
  it('goes on with its session: what was not acknowledged is sent again, then what was said meanwhile', async () => {
    const { transport, states, say, sound, breaks, lost, sent } = await start();
    for (const index of [1, 2, 3]) sound(index);
    say({ type: 'relay.ack', received: 2 });
    breaks();
    for (const index of [4, 5]) sound(index);
    await soon();
    expect(transport.opened).toHaveLength(2);
    // Two at the start and the acknowledgement.
    expect(transport.last().shown).toEqual({ token: 'rr_1', received: 3 });
    expect(sent()).toEqual([]);
    say(resumed(2));
    expect(sent()).toEqual(['a3', 'a4', 'a5']);
    sound(6);
    expect(sent().at(-1)).toBe('a6');
    expect(states).toEqual(['connecting', 'open', 'resuming', 'open']);
    expect(lost()).toBe(0);
    // And once more, with the token that it was given then; 1 and 2 were acknowledged, 3 has come.
    breaks(1001);
    await soon();
    expect(transport.last().shown).toEqual({ token: 'rr_2', received: 3 });
    say(resumed(3, { token: 'rr_3', missed: { messages: 4, audio_ms: 100 } }));
    expect(sent()).toEqual(['a4', 'a5', 'a6']);
    breaks();
    await soon();
    expect(transport.last().shown).toEqual({ token: 'rr_3', received: 7 });
  });

  it('keeps 5 s of sound, says what it had to leave out, and leaves out nothing else', async () => {
    const { connection, say, sound, breaks, sent, transport } = await start();
    for (let index = 1; index <= 25; index++) sound(index);
    connection.send({ type: 'response.create' });
    breaks();
    for (let index = 26; index <= 150; index++) sound(index);
    await soon();
    say(resumed(5));
    // 25 pieces were left out, 20 of those that the relay does not have: they had the numbers 6 to 25.
    expect(transport.last().sent[0]).toEqual({ type: 'relay.resume', from: 26, lost_audio_ms: 800 });
    expect(sent().slice(1, 3)).toEqual(['response.create', 'a26']);
    expect(sent()).toHaveLength(127);
  });

  it('says that sound is lost which it never sent, too', async () => {
    const { say, sound, breaks, transport } = await start();
    breaks();
    for (let index = 1; index <= 130; index++) sound(index);
    await soon();
    say(resumed(0));
    expect(transport.last().sent[0]).toEqual({ type: 'relay.resume', from: 1, lost_audio_ms: 200 });
    expect(transport.last().sent[1]).toMatchObject({ audio: 'a6' });
  });

  it('tries at once and then less and less often, as long as the relay waits, and begins anew after that', async () => {
    const { transport, states, breaks, lost } = await start();
    breaks();
    await soon();
    const tries = [transport.opened.length];
    for (let second = 0; second < 29; second++) {
      if (transport.opened.length > (tries.at(-1) ?? 0)) tries.push(transport.opened.length);
      transport.last().handlers.ended({ code: 1006, reason: '' });
      await vi.advanceTimersByTimeAsync(1000);
    }
    expect(transport.opened.length).toBeGreaterThan(6);
    expect(transport.opened.length).toBeLessThan(20);
    expect(lost()).toBe(0);
    expect(states.at(-1)).toBe('resuming');
    transport.last().handlers.ended({ code: 1006, reason: '' });
    await vi.advanceTimersByTimeAsync(3000);
    transport.last().handlers.ended({ code: 1006, reason: '' });
    await soon();
    expect(lost()).toBe(1);
    expect(states).toContain('waiting');
    await vi.advanceTimersByTimeAsync(60_000);
    expect(transport.last().shown).toBe(null);
  });

  it('begins anew when it gets another session', async () => {
    const { transport, states, say, sound, breaks, lost } = await start();
    sound(1);
    breaks();
    await soon();
    say({ type: 'session.created', session: {} });
    expect(lost()).toBe(1);
    expect(states.slice(-2)).toEqual(['connecting', 'open']);
    expect(transport.last().sent).toEqual([]);
    say({ ...resumable, token: 'rr_9' });
    sound(2);
    breaks();
    await soon();
    expect(transport.last().shown).toEqual({ token: 'rr_9', received: 2 });
    say(resumed(0));
    expect(transport.last().sent).toMatchObject([{ audio: 'a2' }]);
  });

  it('gives up a connection on which nothing comes back, and takes no more from it', async () => {
    const { transport, states, received, sound, say } = await start();
    const first = transport.last();
    sound(1);
    await vi.advanceTimersByTimeAsync(5500);
    expect(states.at(-1)).toBe('open');
    await vi.advanceTimersByTimeAsync(2000);
    expect(states.at(-1)).toBe('resuming');
    expect(first).toMatchObject({ isAbandoned: true, isClosed: false });
    const before = received.length;
    first.handlers.received({ type: 'response.created' });
    expect(received).toHaveLength(before);
    say(resumed(0));
    expect(transport.last().sent).toMatchObject([{ audio: 'a1' }, { type: 'relay.ack' }]);
  });

  it('leaves a quiet connection alone', async () => {
    const { transport, say } = await start();
    for (let index = 0; index < 5; index++) say({ type: 'rate_limits.updated' });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(transport.opened).toHaveLength(1);
    expect(transport.last().sent).toEqual([{ type: 'relay.ack', received: 7 }]);
  });

  it('comes back with another token where the first one has run out', async () => {
    const tokens = ['a', 'a', 'b'];
    const { transport, states, breaks, say } = await start(() => tokens.shift() ?? '');
    breaks();
    await soon();
    transport.endWith('token_expired');
    await vi.advanceTimersByTimeAsync(500);
    expect(transport.last()).toMatchObject({ token: 'b', shown: { token: 'rr_1' } });
    say(resumed(0));
    expect(states).toEqual(['connecting', 'open', 'resuming', 'open']);
  });
});

describe('a session that has ended', () => {
  it.each<ExitId>(['ended_by_backend', 'superseded', 'session_expired', 'draining', 'upstream_lost', 'normal'])(
    'is not gone on with: %s',
    async (id) => {
      const { transport, states, lost } = await start();
      transport.endWith(id);
      await vi.advanceTimersByTimeAsync(5000);
      expect(lost()).toBe(1);
      expect(states).not.toContain('resuming');
      for (const { shown } of transport.opened) expect(shown).toBe(null);
    },
  );

  it('is not gone on with where the relay does not offer that', async () => {
    const transport = fakeTransport();
    const { client } = await open({}, {});
    expect(client.state).toBe('open');
    expect(transport.opened).toHaveLength(0);
  });
});

describe('a client that is resuming', () => {
  it('keeps its conversation, its microphone and what is being played, and sends when it goes on', async () => {
    const { client, transport, handlers, problems } = await open();
    const states: State[] = [];
    client.on('state', ({ state }) => states.push(state));
    handlers.received(resumable);
    handlers.received({ type: 'response.created', response: { id: 'resp_1' } });
    handlers.ended({ code: 1006, reason: '' });
    expect(states).toEqual(['resuming']);
    client.send({ type: 'input_audio_buffer.clear' });
    client.sendText('are you there?');
    await soon();
    transport.last().handlers.received(resumed(0));
    expect(transport.last().sent.map(({ type }) => type)).toEqual([
      'input_audio_buffer.clear',
      'response.cancel',
      'conversation.item.create',
    ]);
    // Its answer is still running: the next one is asked for when that is over.
    transport.last().handlers.received({ type: 'response.done', response: { id: 'resp_1' } });
    expect(transport.last().sent.at(-1)).toEqual({ type: 'response.create' });
    expect(problems).toEqual([]);
    expect(states).toEqual(['resuming', 'open']);
  });
});
