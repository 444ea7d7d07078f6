import { describe, expect, it } from 'vitest';
import { Transcripts } from '../../src/client/transcripts.js';

const heard = (item_id: string, delta: string) => ({
  type: 'conversation.item.input_audio_transcription.delta',
  item_id,
  delta,
});

describe('the order of a conversation', () => {
  it('comes from where an item was committed, not from when its words came', () => {
    const transcripts = new Transcripts();
    const early = transcripts.after(heard('item_3', 'And'));
    expect(early).toEqual({ itemId: 'item_3', role: 'user', text: 'And', isFinal: false });
    transcripts.after({
      type: 'conversation.item.added',
      previous_item_id: 'item_1',
      item: { id: 'item_2', role: 'assistant' },
    });
    const committed = { type: 'input_audio_buffer.committed', item_id: 'item_3', previous_item_id: 'item_1' };
    expect(transcripts.after(committed)).toMatchObject({ text: 'And', previousItemId: 'item_1' });
    expect(transcripts.after(heard('item_3', ' when'))).toMatchObject({ text: 'And when', previousItemId: 'item_1' });
  });

  it('does not come from conversation.item.done, which names no predecessor for the first answer', () => {
    const transcripts = new Transcripts();
    const item = { id: 'item_2', role: 'assistant', content: [{ text: 'Hello' }] };
    transcripts.after({ type: 'conversation.item.added', previous_item_id: 'item_1', item: { ...item, content: [] } });
    expect(transcripts.after({ type: 'conversation.item.done', previous_item_id: null, item })).toBeNull();
    const words = { type: 'response.output_text.done', item_id: 'item_2', text: 'Hello' };
    expect(transcripts.after(words)).toMatchObject({ isFinal: true, previousItemId: 'item_1' });
  });

  it('keeps the words of two utterances apart that are understood at the same time', () => {
    const transcripts = new Transcripts();
    transcripts.after(heard('item_1', 'One'));
    transcripts.after(heard('item_2', 'Two'));
    expect(transcripts.after(heard('item_1', ' and'))).toMatchObject({ itemId: 'item_1', text: 'One and' });
  });
});
