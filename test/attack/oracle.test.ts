import { describe, expect, it } from 'vitest';
import { faultOf } from './oracle.js';

const sight = {
  locked: ['audio.output.voice', 'audio.input.noise_reduction'],
  maxOutputTokens: 500,
  seenItems: new Set(['item_1', 'item_2']),
  ownItems: new Set(['item_2']),
  seenResponses: new Set(['resp_1']),
  calls: new Set(['call_1']),
};
const user = { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'hi' }] };

describe('the judge of the attacks', () => {
  it.each([
    { type: 'input_audio_buffer.append', audio: 'QUJD' },
    { type: 'input_audio_buffer.commit', event_id: 'mine' },
    { type: 'session.update', event_id: 'rly_c1', session: { type: 'realtime', audio: { output: { speed: 1.1 } } } },
    { type: 'conversation.item.create', item: user, previous_item_id: 'item_1' },
    { type: 'conversation.item.create', item: { type: 'function_call_output', call_id: 'call_1', output: '' } },
    { type: 'conversation.item.retrieve', item_id: 'item_1' },
    { type: 'conversation.item.delete', item_id: 'item_2' },
    { type: 'response.create', response: { max_output_tokens: 500, metadata: { rly: '1' } } },
    { type: 'response.cancel', response_id: 'resp_1' },
  ])('lets $type pass as it may be', (event) => {
    expect(faultOf(JSON.stringify(event), sight)).toBeNull();
  });

  it.each<readonly [string, object | string]>([
    ['instructions', { type: 'session.update', session: { type: 'realtime', instructions: '' } }],
    ['a locked field', { type: 'session.update', session: { type: 'realtime', audio: { output: { voice: 'ash' } } } }],
    ['tools of a response', { type: 'response.create', response: { tools: [] } }],
    ['too many tokens', { type: 'response.create', response: { max_output_tokens: 501 } }],
    ['metadata of the client', { type: 'response.create', response: { metadata: { rly: 'x' } } }],
    ['a system message', { type: 'conversation.item.create', item: { ...user, role: 'system' } }],
    ['a field too many', { type: 'conversation.item.create', item: { ...user, status: 'completed' } }],
    [
      'the output of an unknown call',
      { type: 'conversation.item.create', item: { type: 'function_call_output', call_id: 'x', output: '' } },
    ],
    ['a place it does not know', { type: 'conversation.item.create', item: user, previous_item_id: 'item_3' }],
    ['an item that is called as the beginning', { type: 'conversation.item.create', item: { ...user, id: 'root' } }],
    ['an item it does not know', { type: 'conversation.item.retrieve', item_id: 'item_3' }],
    ['an item that is not its own', { type: 'conversation.item.delete', item_id: 'item_1' }],
    ['a response it does not know', { type: 'response.cancel', response_id: 'resp_2' }],
    ["an id like the relay's", { type: 'input_audio_buffer.commit', event_id: 'rly_EVIL' }],
    ['audio that is none', { type: 'input_audio_buffer.append', audio: 'QUJ' }],
    ['another event', { type: 'output_audio_buffer.clear' }],
    ['blanks in what is not audio', '{ "type":"input_audio_buffer.commit" }'],
    ['a key twice', '{"type":"input_audio_buffer.append","audio":"QUJD","audio":"QUJD"}'],
    ['type twice', '{"type":"input_audio_buffer.append","audio":"QUJD","type":"input_audio_buffer.append"}'],
    ['an escape in audio', '{"type":"input_audio_buffer.append","audio":"QU\\/D"}'],
    ['a key of its own beside audio', '{"type":"input_audio_buffer.append", "audio":"QUJD","x":1}'],
    ['a prototype', '{"type":"input_audio_buffer.commit","__proto__":{}}'],
  ])('finds %s', (_, event) => {
    expect(faultOf(typeof event === 'string' ? event : JSON.stringify(event), sight)).not.toBeNull();
  });
});
