import { afterEach, describe, expect, it, vi } from 'vitest';
import type { TestClient } from '../support/client.js';
import { arena } from './arena.js';
import type { Passage } from './wire.js';

const yaml = `profiles:
  default: {}
  few: { limits: { items: 20, refusals: 10, events_burst: 100000 } }
  patient: { limits: { refusals: 100000, events_per_second: 100000, events_burst: 100000, responses_per_second: 0.001 } }
`;
const field = arena({ yaml });
afterEach(() => field.honestTurn());

let users = 0;
/** A session of a user of its own. */
async function session(profile: string): Promise<{ client: TestClient; passage: Passage }> {
  const client = await field.connect('ga', { token: field.token({ profile, subject: `user_${++users}` }) });
  await client.next('session.created');
  return { client, passage: field.wire.passages.at(-1) as Passage };
}

const clear = { type: 'input_audio_buffer.clear' };
const say = (text: string) => ({
  type: 'conversation.item.create',
  item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
});
const codes = (client: TestClient) =>
  client.events.filter(({ type }) => type === 'error').map(({ error }) => (error as { code: string }).code);
const sent = ({ up }: Passage, type: string) => up.filter((text) => text.includes(`"type":"${type}"`)).length;
/** Resolves once about so many bytes wait in the relay, and no more come. */
async function held(bytes: number): Promise<void> {
  const waiting = () => [...field.relay.sessions].reduce((most, { buffered }) => Math.max(most, buffered.up), 0);
  await vi.waitFor(() => expect(waiting()).toBeGreaterThan(bytes), { timeout: 5000 });
  expect(waiting()).toBeLessThan(bytes + 1_000_000);
}

/** Half a second of silence in PCM. */
const half = { type: 'input_audio_buffer.append', audio: Buffer.alloc(24_000).toString('base64') };
const slowly = JSON.stringify(half).replace('AAAA', '\\u0041AAA');

describe('a session over its budget', () => {
  it('gets no more than twenty responses at once, however it asks', async () => {
    const { client, passage } = await session('patient');
    for (let i = 0; i < 25; i++) {
      client.send({ type: 'response.create', response: { output_modalities: ['text'] } });
      await client.next(({ type }) => type === 'response.done' || type === 'error');
    }
    expect(sent(passage, 'response.create')).toBe(20);
    expect(codes(client)).toEqual(Array(5).fill('rate_limited'));
    client.ws.terminate();
  });

  it('gets one response of a hundred asked for in one breath', async () => {
    const { client, passage } = await session('patient');
    for (let i = 0; i < 100; i++) client.send({ type: 'response.create', response: { output_modalities: ['text'] } });
    await client.next('response.done');
    expect(sent(passage, 'response.create')).toBe(1);
    expect(codes(client)).toHaveLength(99);
    client.ws.terminate();
  });

  it('creates no more items than it may, and ends when it goes on trying', async () => {
    const { client, passage } = await session('few');
    for (let i = 0; i < 5000; i++) client.send(say(`${i}`));
    expect(await client.closed).toEqual({ code: 1007, reason: 'bad_event' });
    expect(sent(passage, 'conversation.item.create')).toBe(20);
    expect(codes(client)).toEqual([...Array(10).fill('too_many_items'), 'bad_event']);
  });

  it.each([
    ['plain audio', JSON.stringify(half)],
    ['audio with escapes', slowly],
  ])('sends no more than ten seconds ahead of its own voice, and is not refused the rest: %s', async (_, append) => {
    const { client, passage } = await session('patient');
    // Minutes of speech in an instant are far over real time.
    for (let i = 0; i < 400; i++) client.ws.send(append);
    client.send(say('fence'));
    await vi.waitFor(() => expect(sent(passage, 'input_audio_buffer.append')).toBeGreaterThanOrEqual(20));
    await held(4_000_000);
    expect(sent(passage, 'input_audio_buffer.append')).toBeLessThan(32);
    expect(sent(passage, 'conversation.item.create')).toBe(0);
    expect(codes(client)).toEqual([]);
    client.ws.terminate();
  });

  it('is held when its events do not stop', async () => {
    const { client, passage } = await session('default');
    for (let i = 0; i < 20_000; i++) client.send(clear);
    await vi.waitFor(() => expect(sent(passage, 'input_audio_buffer.clear')).toBeGreaterThanOrEqual(1200));
    await held(4_000_000);
    expect(sent(passage, 'input_audio_buffer.clear')).toBeLessThan(1400);
    expect(codes(client)).toEqual([]);
    client.ws.terminate();
  });

  it('ends as bad_event after fifty refusals, and not before', async () => {
    const { client, passage } = await session('default');
    for (let i = 0; i < 49; i++) client.send({ type: 'session.steal' });
    client.send(say('still here'));
    await client.next('conversation.item.added');
    client.send({ type: 'session.steal' });
    client.send(say('too late'));
    expect(await client.closed).toEqual({ code: 1007, reason: 'bad_event' });
    expect(codes(client)).toEqual([...Array(50).fill('event_not_allowed'), 'bad_event']);
    expect(passage.up.join('')).not.toContain('too late');
  });

  it('ends as bad_event when it goes on guessing at items', async () => {
    const { client, passage } = await session('default');
    for (let i = 0; i < 200; i++) client.send({ type: 'conversation.item.retrieve', item_id: `item_${i}` });
    expect(await client.closed).toEqual({ code: 1007, reason: 'bad_event' });
    expect(codes(client)).toEqual([...Array(50).fill('unknown_item'), 'bad_event']);
    expect(passage.up).toHaveLength(1);
  });

  it('is refused an event over the limit for what is not audio, and a larger one ends it', async () => {
    const { client, passage } = await session('default');
    client.send(say('x'.repeat(300_000)));
    client.send(say('still here'));
    await client.next('conversation.item.added');
    expect(codes(client)).toEqual(['too_big']);
    client.send({ ...half, audio: 'A'.repeat(17_000_000) });
    expect(await client.closed).toEqual({ code: 1009, reason: 'too_big' });
    expect(passage.up.every((text) => text.length < 2000)).toBe(true);
  });
});
