import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { call, emulate, say, update } from './caller.js';
import { appends, silence, spoken, tone } from './speech.js';

const create = (item: object) => ({ type: 'conversation.item.create', item });
const assistant = { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'Hello Ada.' }] };

describe('ids that somebody else made', () => {
  it.each([
    ['of an item', { ...assistant, id: 'i'.repeat(33) }, 'item.id'],
    ['of a call', { type: 'function_call', name: 'a', arguments: '{}', call_id: 'c'.repeat(33) }, 'item.call_id'],
    ['of an output', { type: 'function_call_output', output: '', call_id: 'c'.repeat(33) }, 'item.call_id'],
  ])('%s have 32 characters at most', async (_name, item, param) => {
    const caller = await call(await emulate());
    caller.send(create(item));
    expect(await caller.error()).toMatchObject({
      code: 'invalid_value',
      param,
      message: expect.stringMatching(/32.*33/),
    });
    caller.send(create({ ...assistant, id: 'i'.repeat(32) }));
    await caller.until('conversation.item.done');
  });

  it('are refused at will, and the item is taken without one', async () => {
    const emulator = await emulate();
    emulator.control.faults.arm('refuse_item_id');
    const caller = await call(emulator);
    caller.send(say('no id'));
    await caller.until('conversation.item.done');
    caller.send(say('hello', 'item_1'));
    expect(await caller.error()).toMatchObject({ code: 'invalid_value', param: 'item.id' });
    caller.send(say('hello', 'item_1'));
    await caller.until('conversation.item.done');
  });
});

describe('the fault text_after_replay', () => {
  const kindOf = async (items: object[]) => {
    const emulator = await emulate();
    emulator.control.faults.arm('text_after_replay');
    const caller = await call(emulator);
    caller.send(...items, say('And now?'), { type: 'response.create' });
    const { response } = await caller.next<{ response: { output: { content: { type: string }[] }[] } }>(
      'response.done',
    );
    return response.output[0]?.content[0]?.type;
  };

  it('has the model write where its words were brought in, and speak where they were not', async () => {
    expect(await kindOf([create(assistant)])).toBe('output_text');
    expect(await kindOf([say('Hello.')])).toBe('output_audio');
  });
});

describe('the ledger of audio', () => {
  const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

  it('has each utterance as the stretch of what was sent that it was made of', async () => {
    const emulator = await emulate({ keepAudio: true });
    const caller = await call(emulator);
    caller.send(update({ audio: { input: { turn_detection: { type: 'server_vad', silence_duration_ms: 600 } } } }));
    const sent = Buffer.concat([spoken(), silence(2000), spoken(), silence(500)]);
    caller.send(...appends(sent, 5000));
    const connection = await emulator.control.received.waitFor(
      ({ open }) => open[0]?.committed.length === 2 && open[0]?.audioBytes === sent.length && open[0],
    );
    let end = 0;
    for (const { from, to, data, sha256: digest } of connection.committed) {
      expect(from).toBeGreaterThanOrEqual(end);
      expect(data?.equals(sent.subarray(from, to))).toBe(true);
      expect(digest).toBe(sha256(sent.subarray(from, to)));
      end = to;
    }
    expect(end).toBeLessThan(sent.length);
  });

  it('has every byte once where the client commits', async () => {
    const emulator = await emulate();
    const caller = await call(emulator);
    caller.send(update({ audio: { input: { turn_detection: null } } }));
    // Of a length that no frame of the service's divides.
    const sent = tone(777, -20).subarray(0, 36_998);
    const cuts = [0, 10_002, 20_000, 36_998];
    for (const [index, from] of cuts.slice(0, 3).entries()) {
      caller.send(...appends(sent.subarray(from, cuts[index + 1]), 3334), { type: 'input_audio_buffer.commit' });
    }
    const { committed, audioBytes } = await emulator.control.received.waitFor(
      ({ open }) => open[0]?.committed.length === 3 && open[0],
    );
    expect(audioBytes).toBe(sent.length);
    expect(committed.map(({ from, to }) => [from, to])).toEqual([0, 1, 2].map((at) => [cuts[at], cuts[at + 1]]));
    expect(committed.map((one) => one.sha256)).toEqual(
      [0, 1, 2].map((at) => sha256(sent.subarray(cuts[at], cuts[at + 1]))),
    );
    expect(committed.map((one) => one.data)).toEqual([undefined, undefined, undefined]);
  });

  it('counts what was cleared, and shows stretches without their sound over HTTP', async () => {
    const emulator = await emulate({ keepAudio: true });
    const caller = await call(emulator);
    caller.send(update({ audio: { input: { turn_detection: null } } }));
    caller.send(...appends(tone(100, -20).subarray(0, 1002)), { type: 'input_audio_buffer.clear' });
    caller.send(...appends(tone(200, -20)), { type: 'input_audio_buffer.commit' });
    await caller.until('input_audio_buffer.committed');
    const text = await (await fetch(`${emulator.url}/emulator/received`)).text();
    const [connection] = (JSON.parse(text) as { connections: { committed: object[] }[] }).connections;
    expect(connection?.committed).toEqual([
      { itemId: expect.stringMatching(/^item_/), from: 1002, to: 1002 + 9600, sha256: expect.any(String) },
    ]);
  });
});

it('a region goes away with its connections, and comes back', async () => {
  const emulator = await emulate();
  const caller = await call(emulator);
  await caller.until('session.created');
  const faults = [
    { fault: 'reset', count: 1_000_000 },
    { fault: 'die_mid_response', now: true },
  ];
  await fetch(`${emulator.url}/emulator/faults`, { method: 'POST', body: JSON.stringify(faults) });
  expect((await caller.closed).code).toBe(1006);
  for (let count = 0; count < 3; count++) await expect(call(emulator)).rejects.toThrow();
  await fetch(`${emulator.url}/emulator/faults`, { method: 'DELETE' });
  await (await call(emulator)).until('session.created');
});
