import type { Buffer } from 'node:buffer';
import { afterEach, describe, expect, it } from 'vitest';
import { arena, type Dialect, dialects, evil, type Victim } from './arena.js';

const field = arena();
afterEach(() => field.honestTurn());

const audio = 'RVZJTFdPUkRFVklM';
const deep = (depth: number) => `${'{"a":'.repeat(depth)}"${evil}"${'}'.repeat(depth)}`;

/** Has upstream begin an answer the client may see: response `resp_1` with the message `item_1`. */
async function answering(dialect: Dialect): Promise<Victim> {
  const victim = await field.victim(dialect);
  const response = { object: 'realtime.response', id: 'resp_1', status: 'in_progress', output: [], metadata: null };
  const item = { id: 'item_1', type: 'message', role: 'assistant', status: 'in_progress', content: [] };
  victim.passage.inject({ type: 'response.created', event_id: 'e', response });
  victim.passage.inject({
    type: 'response.output_item.added',
    event_id: 'e',
    response_id: 'resp_1',
    output_index: 0,
    item,
  });
  await victim.client.next('response.output_item.added');
  return victim;
}

/** What no two readers need agree on: nobody reads it. */
const broken: readonly (readonly [name: string, text: string | Buffer])[] = [
  ['type twice', `{"type":"response.output_text.delta","type":"session.updated","session":{"instructions":"${evil}"}}`],
  ['type twice, once escaped', `{"type":"rate_limits.updated","\\u0074ype":"error","error":{"message":"${evil}"}}`],
  [
    'delta twice',
    `{"type":"response.output_audio.delta","response_id":"resp_1","item_id":"item_1","delta":"AAAA","delta":"${audio}"}`,
  ],
  [
    'item twice',
    `{"type":"conversation.item.added","item":{"id":"a","type":"message","role":"user"},"item":{"role":"system","x":"${evil}"}}`,
  ],
  [
    'item_id twice on words',
    `{"type":"response.output_text.delta","response_id":"resp_1","item_id":"item_1","item_id":"item_h","delta":"${evil}"}`,
  ],
  [
    'delta twice on words',
    `{"type":"response.output_text.delta","response_id":"resp_1","item_id":"item_1","delta":"a","delta":"${evil}"}`,
  ],
  [
    'a raw control in words',
    `{"type":"response.output_text.delta","response_id":"resp_1","item_id":"item_1","delta":"${evil}\u0007"}`,
  ],
  [
    'a raw line break in words',
    `{"type":"response.output_text.delta","response_id":"resp_1","item_id":"item_1","delta":"${evil}\n"}`,
  ],
  [
    'words whose last quote is escaped',
    `{"type":"response.output_text.delta","response_id":"resp_1","item_id":"item_1","delta":"${evil}\\"}`,
  ],
  [
    'words never closed',
    `{"type":"response.output_text.delta","response_id":"resp_1","item_id":"item_1","delta":"${evil}`,
  ],
  [
    'role twice',
    `{"type":"conversation.item.added","item":{"id":"a","type":"message","role":"user","role":"system","content":[]}}`,
  ],
  ['__proto__', `{"type":"error","__proto__":{"error":{"message":"${evil}"}}}`],
  ['__proto__ in an item', `{"type":"conversation.item.added","item":{"__proto__":{"text":"${evil}"},"id":"a"}}`],
  ['constructor', `{"type":"error","constructor":{"prototype":{"a":"${evil}"}}}`],
  ['half a surrogate pair', `{"type":"response.output_text.delta","delta":"${evil}\\ud800"}`],
  ['a NUL in a key', `{"type":"error","a\\u0000":"${evil}"}`],
  ['33 levels', `{"type":"error","error":${deep(33)}}`],
  ['50,000 levels', `{"type":"error","error":${deep(50_000)}}`],
  ['25,000 keys', `{"type":"error",${Array.from({ length: 25_000 }, (_, i) => `"k${i}":"${evil}"`).join()}}`],
  ['a byte order mark', `\ufeff{"type":"error","error":{"message":"${evil}"}}`],
  ['two documents', `{"type":"input_audio_buffer.cleared"}{"a":"${evil}"}`],
  ['no JSON', `<html>${evil}</html>`],
  ['an array', `[{"type":"error","error":{"message":"${evil}"}}]`],
  ['null', 'null'],
  ['text', `"${evil}"`],
  ['nothing', ''],
];

describe.each(dialects)('what upstream sends a %s client', (dialect) => {
  it.each(broken)('%s is dropped, and what follows is not', async (_, text) => {
    const victim = await answering(dialect);
    const from = victim.client.raw.length;
    victim.passage.inject(text);
    victim.passage.inject({ type: 'input_audio_buffer.cleared', event_id: 'fence' });
    await victim.client.next('input_audio_buffer.cleared');
    expect(victim.client.types().slice(-1)).toEqual(['input_audio_buffer.cleared']);
    expect(victim.client.raw.slice(from)).toHaveLength(1);
    victim.client.ws.terminate();
  });

  it('upstream_failed: is told when it goes on', async () => {
    const victim = await answering(dialect);
    for (let i = 0; i < 9; i++) victim.passage.inject(`<html>${evil}</html>`);
    victim.passage.inject({ type: 'input_audio_buffer.cleared', event_id: 'fence' });
    await victim.client.next('input_audio_buffer.cleared');
    victim.passage.inject('{"type":"a","type":"b"}');
    expect(await victim.client.closed).toEqual({ code: 1011, reason: 'upstream_failed' });
    expect(victim.client.raw.join()).not.toContain(evil);
  });
});
