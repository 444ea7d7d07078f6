import { describe, expect, it } from 'vitest';
import { type Caller, call, emulate, gaPath, say, update } from './caller.js';
import { appends, spoken } from './speech.js';

const create = (id: string, previous_item_id?: string) => ({
  ...say(id, id),
  ...(previous_item_id ? { previous_item_id } : {}),
});

async function answered(caller: Caller): Promise<{ id: string; transcript: string; audioMs: number }> {
  caller.send({ type: 'response.create' });
  const events = await caller.until('response.done');
  const item = events.find((event) => event.type === 'response.output_item.done')?.item as {
    id: string;
    content: { transcript: string }[];
  };
  const audio = events.filter((event) => event.type === 'response.output_audio.delta');
  const bytes = audio.reduce((sum, event) => sum + Buffer.byteLength(String(event.delta), 'base64'), 0);
  return { id: item.id, transcript: item.content[0]?.transcript ?? '', audioMs: bytes / 48 };
}

describe('items', () => {
  it('go to the end, behind another one, or to the front', async () => {
    const caller = await call(await emulate());
    caller.send(create('a'), create('b'), create('c', 'a'), create('d', 'root'));
    const order: [unknown, unknown][] = [];
    for (let count = 0; count < 4; count++) {
      const event = await caller.next<{ item: { id: string } }>('conversation.item.done');
      order.push([event.item.id, event.previous_item_id]);
    }
    expect(order).toEqual([
      ['a', null],
      ['b', 'a'],
      ['c', 'a'],
      ['d', null],
    ]);
  });

  it('cannot follow an unknown one nor take a known id', async () => {
    const caller = await call(await emulate());
    caller.send(create('a', 'nope'));
    expect(await caller.error()).toMatchObject({ param: 'previous_item_id' });
    caller.send(create('a'), create('a'));
    expect(await caller.error()).toMatchObject({ param: 'item.id' });
  });

  it('can be retrieved and deleted, and then not again', async () => {
    const caller = await call(await emulate());
    caller.send(create('a'), { type: 'conversation.item.retrieve', item_id: 'a' });
    expect((await caller.next<{ item: object }>('conversation.item.retrieved')).item).toMatchObject({ id: 'a' });
    caller.send({ type: 'conversation.item.delete', item_id: 'a' });
    expect(await caller.next('conversation.item.deleted')).toMatchObject({ item_id: 'a' });
    caller.send({ type: 'conversation.item.delete', item_id: 'a' });
    expect((await caller.error()).code).toBe('item_delete_invalid_item_id');
    caller.send({ type: 'conversation.item.retrieve', item_id: 'a' });
    expect((await caller.error()).code).toBe('item_retrieve_invalid_item_id');
  });

  it('of the assistant can be cut once, within their length', async () => {
    const caller = await call(await emulate());
    const item = await answered(caller);
    const cut = (audio_end_ms: number, item_id = item.id, content_index = 0) =>
      caller.send({ type: 'conversation.item.truncate', item_id, content_index, audio_end_ms });
    cut(10, 'nope');
    expect((await caller.error()).code).toBe('item_truncate_invalid_item_id');
    cut(10, item.id, 1);
    expect((await caller.error()).code).toBe('item_truncate_invalid_item_id');
    cut(Math.ceil(item.audioMs) + 1);
    expect((await caller.error()).code).toBe('item_truncate_invalid_audio_end_ms');
    cut(1000);
    await caller.until('conversation.item.truncated');
    cut(500);
    expect((await caller.error()).code).toBe('item_already_truncated');
    caller.send({ type: 'conversation.item.retrieve', item_id: item.id });
    const { item: kept } = await caller.next<{ item: { content: { transcript: string; audio: string }[] } }>(
      'conversation.item.retrieved',
    );
    const [part] = kept.content;
    expect(item.transcript.startsWith(part?.transcript ?? 'x')).toBe(true);
    expect(part?.transcript.length).toBeLessThan(item.transcript.length);
    expect(Buffer.byteLength(part?.audio ?? '', 'base64')).toBe(48_000);
  });

  it('of the user cannot be cut', async () => {
    const caller = await call(await emulate());
    caller.send(create('a'), { type: 'conversation.item.truncate', item_id: 'a', content_index: 0, audio_end_ms: 0 });
    expect((await caller.error()).code).toBe('item_truncate_invalid_item_id');
  });
});

interface Usage {
  total_tokens: number;
  input_tokens: number;
  output_tokens: number;
  input_token_details: {
    text_tokens: number;
    audio_tokens: number;
    cached_tokens: number;
    cached_tokens_details: { text_tokens: number; audio_tokens: number };
  };
  output_token_details: { text_tokens: number; audio_tokens: number };
}

describe('usage', () => {
  it('adds up, grows with the conversation, and is partly cached', async () => {
    const emulator = await emulate();
    const caller = await call(emulator);
    caller.send(update({ instructions: 'x'.repeat(400), audio: { input: { turn_detection: null } } }));
    caller.send(...appends(spoken()), { type: 'input_audio_buffer.commit' });
    const all: Usage[] = [];
    for (let turn = 0; turn < 3; turn++) {
      caller.send(say('y'.repeat(300)), { type: 'response.create' });
      const { response } = await caller.next<{ response: { usage: Usage } }>('response.done');
      all.push(response.usage);
    }
    for (const usage of all) {
      const { input_token_details: input, output_token_details: output } = usage;
      expect(usage.total_tokens).toBe(usage.input_tokens + usage.output_tokens);
      expect(usage.input_tokens).toBe(input.text_tokens + input.audio_tokens);
      expect(usage.output_tokens).toBe(output.text_tokens + output.audio_tokens);
      const cached = input.cached_tokens_details;
      expect(input.cached_tokens).toBe(cached.text_tokens + cached.audio_tokens);
      expect(cached.text_tokens).toBeLessThanOrEqual(input.text_tokens);
      expect(cached.audio_tokens).toBeLessThanOrEqual(input.audio_tokens);
    }
    const [first, second, third] = all as [Usage, Usage, Usage];
    expect(first.input_token_details.cached_tokens).toBe(0);
    expect(first.input_token_details.audio_tokens).toBe(Math.ceil((spoken().length / 48_000) * 10));
    expect(first.input_token_details.text_tokens).toBe(175);
    expect(second.input_tokens).toBeGreaterThan(first.input_tokens + first.output_tokens);
    expect(third.input_token_details.cached_tokens).toBeGreaterThan(0);
    const sum = (pick: (usage: Usage) => number) => all.reduce((total, usage) => total + pick(usage), 0);
    expect(emulator.control.received.usage).toMatchObject({
      responses: 3,
      total_tokens: sum((usage) => usage.total_tokens),
      cached_tokens: sum((usage) => usage.input_token_details.cached_tokens),
      output_audio_tokens: sum((usage) => usage.output_token_details.audio_tokens),
    });
  });

  it('counts about 20 tokens for a second of speech', async () => {
    const caller = await call(await emulate());
    const { audioMs } = await answered(caller);
    const done = caller.seen.findLast((event) => event.type === 'response.done')?.response as { usage: Usage };
    expect(done.usage.output_token_details.audio_tokens).toBe(Math.ceil((audioMs / 1000) * 20));
  });
});

describe('the length of a session', () => {
  it('is announced, and ends with session_expired and 1001', async () => {
    const caller = await call(await emulate({ sessionSeconds: 0.05 }), gaPath);
    const { session } = await caller.next<{ session: { expires_at: number } }>('session.created');
    expect(Math.abs(session.expires_at - Date.now() / 1000)).toBeLessThan(5);
    expect((await caller.error()).code).toBe('session_expired');
    expect((await caller.closed).code).toBe(1001);
  });

  it('is an hour when nothing else is said', async () => {
    const caller = await call(await emulate());
    const { session } = await caller.next<{ session: { expires_at: number } }>('session.created');
    expect(Math.abs(session.expires_at - Date.now() / 1000 - 3600)).toBeLessThan(5);
  });
});
