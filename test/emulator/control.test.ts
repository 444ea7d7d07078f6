import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { Caller, call, emulate, gaPath, previewPath, refused, say, update } from './caller.js';
import { appends, tone } from './speech.js';

const post = (url: string, body: unknown, headers: Record<string, string> = {}) =>
  fetch(url, { method: 'POST', body: JSON.stringify(body), headers });

describe('what was received', () => {
  it('holds the upgrade and every event, audio as size and digest', async () => {
    const emulator = await emulate();
    const caller = await call(emulator, gaPath, { 'api-key': 'emulator-key', 'user-agent': 'me' });
    const audio = tone(100, -30);
    caller.send(update({ instructions: 'x' }, 'evt_1'), ...appends(audio));
    const [connection] = await emulator.control.received.waitFor(
      ({ open }) => open[0]?.eventCount === 2 && open.slice(),
    );
    expect(connection).toMatchObject({ url: gaPath, headers: { 'user-agent': 'me' }, audioBytes: audio.length });
    expect(connection?.events[0]).toMatchObject({ type: 'session.update', body: { event_id: 'evt_1' }, audio: null });
    const sha256 = createHash('sha256').update(audio).digest('hex');
    expect(connection?.events[1]).toMatchObject({
      body: { type: 'input_audio_buffer.append' },
      audio: { bytes: audio.length, sha256 },
    });
    expect(connection?.events[1]?.audio?.data).toBeUndefined();
    caller.socket.close(1000, 'bye');
    await emulator.control.received.waitFor(({ openCount }) => openCount === 0);
    expect(emulator.control.received.connections[0]?.closed).toEqual({ code: 1000, reason: 'bye' });
  });

  it('keeps audio only when asked', async () => {
    const emulator = await emulate({ keepAudio: true });
    const audio = tone(50, -30);
    (await call(emulator)).send(...appends(audio));
    const event = await emulator.control.received.waitFor((received) => received.events()[0]);
    expect(event.audio?.data?.equals(audio)).toBe(true);
  });

  it('stays within its bounds and counts on', async () => {
    const emulator = await emulate({ recordEvents: 5, recordConnections: 3 });
    const caller = await call(emulator);
    for (let count = 0; count < 100; count++) caller.send({ type: 'input_audio_buffer.clear', event_id: `e${count}` });
    await emulator.control.received.waitFor(({ open }) => open[0]?.eventCount === 100);
    const events = emulator.control.received.open[0]?.events ?? [];
    expect(events.length).toBeLessThan(20);
    expect(events.at(-1)?.body.event_id).toBe('e99');
    for (let count = 0; count < 6; count++) await refused(emulator, '/nowhere');
    expect(emulator.control.received.connections).toHaveLength(4);
    expect(emulator.control.received.connectionCount).toBe(7);
  });

  it('counts the errors it reported, and can be forgotten', async () => {
    const emulator = await emulate();
    const caller = await call(emulator);
    caller.send({ type: 'nonsense' }, { type: 'response.cancel' });
    await emulator.control.received.waitFor((received) => received.errors === 2);
    expect(emulator.control.received.errorEvents.map(({ code }) => code)).toEqual([
      'invalid_event',
      'response_cancel_not_active',
    ]);
    emulator.control.received.clear();
    expect(emulator.control.received.errors).toBe(0);
    expect(emulator.control.received.open[0]?.events).toEqual([]);
  });

  it('rejects a wait that is not fulfilled in time, and one whose probe throws', async () => {
    const { received } = (await emulate()).control;
    await expect(received.waitFor(() => false, 10)).rejects.toThrow('within 10 ms');
    const failing = () => {
      throw new Error('bad probe');
    };
    await expect(received.waitFor(failing)).rejects.toThrow('bad probe');
  });
});

describe('over HTTP', () => {
  it('faults are armed, listed, struck and cleared', async () => {
    const emulator = await emulate();
    const url = `${emulator.url}/emulator/faults`;
    await post(url, { fault: 'refuse_429', count: 2, retryAfterSeconds: 3 });
    expect((await refused(emulator, gaPath)).headers['retry-after']).toBe('3');
    const listed = (await (await fetch(url)).json()) as { armed: object[]; known: string[] };
    expect(listed.armed).toEqual([{ fault: 'refuse_429', count: 1, retryAfterSeconds: 3 }]);
    expect(listed.known).toContain('die_mid_response');
    await fetch(url, { method: 'DELETE' });
    const caller = await call(emulator);
    await caller.until('session.created');
    expect(await (await post(url, { fault: 'unknown_event', now: true })).json()).toMatchObject({ struck: 1 });
    await caller.until('session.debug_snapshot');
  });

  it('scripts decide the next answers', async () => {
    const emulator = await emulate();
    await post(`${emulator.url}/emulator/script`, [{ text: 'one' }, { text: 'two' }]);
    const caller = await call(emulator, previewPath);
    caller.send({ type: 'response.create' });
    expect((await caller.next<{ transcript: string }>('response.audio_transcript.done')).transcript).toBe('one');
    await fetch(`${emulator.url}/emulator/script`, { method: 'DELETE' });
    await caller.until('response.done');
    caller.send(say('x'), { type: 'response.create' });
    expect((await caller.next<{ transcript: string }>('response.audio_transcript.done')).transcript).toBe(
      'You said: x',
    );
  });

  it('records are shown without credentials', async () => {
    const emulator = await emulate();
    const headers = { authorization: 'Bearer very.secret.token', 'api-key': 'emulator-key' };
    const caller = await call(emulator, `${gaPath}&api-key=emulator-key`, headers);
    caller.send(update({ instructions: 'hello' }));
    await caller.until('session.updated');
    const text = await (await fetch(`${emulator.url}/emulator/received`)).text();
    expect(text).toContain('hello');
    expect(text).not.toContain('very.secret');
    expect(text).not.toContain('emulator-key');
  });

  it.each([
    ['a fault nobody knows', 'faults', { fault: 'refuse_418' }, {}, 400],
    ['a fault with a text for a number', 'faults', { fault: 'huge', bytes: 'lots' }, {}, 400],
    ['a script of the wrong shape', 'script', { text: 5 }, {}, 400],
    ['a script with a typo', 'script', { txet: 'x' }, {}, 400],
    ['a body that is no object', 'faults', 'x', {}, 400],
    ['an unknown control', 'levers', {}, {}, 404],
    ['a page of another site', 'faults', { fault: 'reset' }, { origin: 'https://evil.example' }, 403],
  ])('%s is refused', async (_name, path, body, headers, status) => {
    const emulator = await emulate();
    const answer = await post(`${emulator.url}/emulator/${path}`, body, headers as Record<string, string>);
    expect(answer.status).toBe(status);
    expect(emulator.control.faults.list()).toEqual([]);
  });
});

describe('many connections', () => {
  it('open side by side, stay cheap while idle, and are cut when it closes', async () => {
    const emulator = await emulate();
    const callers: Caller[] = [];
    for (let batch = 0; batch < 3; batch++) {
      const some = Array.from({ length: 50 }, () => new Caller(emulator, gaPath));
      await Promise.all(some.map((caller) => caller.until('session.created')));
      callers.push(...some);
    }
    expect(emulator.control.received.openCount).toBe(150);
    await emulator.close();
    expect((await Promise.all(callers.map((caller) => caller.closed))).every(({ code }) => code === 1006)).toBe(true);
  });

  it('share nothing: not the conversation, not the configuration', async () => {
    const emulator = await emulate();
    const [one, two] = [await call(emulator), await call(emulator)];
    one.send(update({ instructions: 'one' }), say('x', 'item_1'));
    await one.until('conversation.item.done');
    two.send({ type: 'conversation.item.retrieve', item_id: 'item_1' }, update({}));
    expect((await two.error()).code).toBe('item_retrieve_invalid_item_id');
    const { session } = await two.next<{ session: { instructions: string } }>('session.updated');
    expect(session.instructions).toContain('vendor default');
  });
});

it('says which port is taken', async () => {
  const { port } = await emulate();
  await expect(emulate({ port })).rejects.toThrow('EADDRINUSE');
});
