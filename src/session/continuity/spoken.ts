/**
 * Sees that a voice goes on speaking: words of the model's own in its history tip some models from speech to writing. The
 * first answer on a leg that was told of the past is hidden where it is written, and asked for once more.
 */

import { type JsonObject, objectOf, type RealtimeEvent, type Step } from '../../protocol/event.js';
import { family } from '../../protocol/family.js';

/** What it needs. */
export interface SpokenPorts {
  /** Stops an answer. */
  cancel(responseId: string): void;
  /** An answer that nobody sees is over: it is counted, what it said is taken from the conversation, and it is asked for again. */
  hidden(done: RealtimeEvent, response: JsonObject, items: readonly string[]): void;
}

type State = 'waiting' | 'deciding' | 'passing' | 'hiding' | 'done';

/** Makes the step that looks at the first answer. */
export function createSpoken({ cancel, hidden }: SpokenPorts): Step {
  let state: State = 'waiting';
  let response: JsonObject = {};
  let kept: RealtimeEvent[] = [];
  const items = new Set<string>();

  const isOfIt = ({ responseId, itemId, body }: RealtimeEvent): boolean => {
    const { response_id: id, item_id: item } = body ?? { response_id: responseId, item_id: itemId };
    const shown = objectOf(body?.item).id ?? item;
    return id === response.id || objectOf(body?.response).id === response.id || items.has(String(shown));
  };

  const release = (next: State, last: RealtimeEvent): readonly RealtimeEvent[] => {
    const all = [...kept, last];
    kept = [];
    state = next;
    return all;
  };

  function decide(event: RealtimeEvent): ReturnType<Step> {
    const { type, body } = event;
    const item = objectOf(body?.item);
    if (type === family.down.outputAdded && typeof item.id === 'string') items.add(item.id);
    if (type === family.down.outputAdded && item.type !== 'message') return release('passing', event);
    if (type === family.down.answerEnded) return release('waiting', event);
    if (type === family.down.partAdded) {
      if (objectOf(body?.part).type !== 'text') return release('done', event);
      kept = [];
      state = 'hiding';
      cancel(String(response.id));
      return null;
    }
    kept.push(event);
    return null;
  }

  return (event) => {
    if (state === 'done') return event;
    if (state === 'waiting') {
      const begun = objectOf(event.body?.response);
      const { output_modalities: modalities, conversation_id: conversation } = begun;
      const speaks = !Array.isArray(modalities) || modalities.includes('audio');
      if (event.type !== family.down.answerBegun || conversation === null || !speaks) return event;
      response = begun;
      items.clear();
      state = 'deciding';
      kept.push(event);
      return null;
    }
    if (!isOfIt(event)) return event;
    if (state === 'deciding') return decide(event);
    const isOver = event.type === family.down.answerEnded;
    if (state === 'passing') {
      if (isOver) state = 'waiting';
      return event;
    }
    if (isOver) {
      state = 'done';
      hidden(event, response, [...items]);
    }
    return null;
  };
}

/** What a hidden answer is asked for with once more. */
export function inSpeech(asked: JsonObject | null, eventId: string): JsonObject {
  const { response, ...rest } = asked ?? { type: family.up.ask, event_id: eventId };
  return { ...rest, response: { ...objectOf(response), output_modalities: ['audio'] } };
}
