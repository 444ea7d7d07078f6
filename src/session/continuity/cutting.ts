/** What is cut off with a leg: how the client learns of it, and what it is owed. */

import { wordsLost } from '../../policy/faults.js';
import { eventOf, objectOf } from '../../protocol/event.js';
import { family } from '../../protocol/family.js';
import { fillerMark } from '../../tools/fillers.js';
import type { Attachment } from '../attachment.js';
import type { Want } from '../wants.js';
import type { Memory } from './memory.js';
import type { Lost } from './running.js';

/** Of an answer that was heard for less, nothing is kept: it begins anew. */
const leastHeardMs = 1000;
const leastReadCharacters = 100;

/**
 * Ends all that runs on a leg as if upstream had said so.
 * @param isDead whether upstream will not say what it cost
 */
export function cutOff(attachment: Attachment, { running, microphone }: Memory, isDead: boolean): readonly Lost[] {
  // What is still being said is heard by the next leg alone.
  if (!isDead && microphone.speaking) attachment.reached.leg.send(eventOf({ type: family.up.clear }));
  const { lost, events } = running.ends();
  attachment.isCounting = isDead;
  for (const event of events) attachment.down.push(event, 0, performance.now());
  attachment.isCounting = true;
  return lost;
}

/**
 * The answer that a user waits for who was cut off; null for none.
 * @param isSilent whether the model answers nobody but backends
 */
export function owedFor(
  lost: readonly Lost[],
  { turns }: Attachment,
  { microphone }: Memory,
  isSilent: boolean,
): Want | null {
  const answer = lost.find(({ isAside, isCancelled, hasCalled, asked }) => {
    const { relay } = objectOf(objectOf(objectOf(asked).response).metadata);
    return !isAside && !isCancelled && !hasCalled && relay !== fillerMark.relay;
  });
  if (answer) return { kind: isSilent ? 'backend' : 'again', after: answer.id, ...askedWith(answer.asked) };
  // What is not an item yet is heard again, and answered then.
  return turns.isAnswerDue && !isSilent && microphone.speaking === null ? { kind: 'again' } : null;
}

/** What it was asked for with, but for the marks of who asked. */
export function askedWith(asked: Lost['asked']): Pick<Want, 'response'> {
  const { metadata: _, ...response } = objectOf(objectOf(asked).response);
  return Object.keys(response).length > 0 ? { response } : {};
}

/** Forgets what of these answers was hardly begun. */
export function forgetBeginnings(lost: readonly Lost[], { shadow }: Memory): void {
  for (const { soundBytes, open } of lost) {
    if (shadow.msOf(soundBytes) >= leastHeardMs) continue;
    for (const id of open) {
      const entry = shadow.find(id);
      const isRead = entry?.soundBytes === 0 && entry.isWritten && entry.parts.join('').length >= leastReadCharacters;
      if (entry && !isRead) shadow.forget(id);
    }
  }
}

/** Tells that the words of these items will not come: their sound was told to another leg, which does not put it into words. */
export function tellWordless(items: Iterable<string>, attachment: Attachment, { shadow }: Memory): void {
  attachment.isCounting = false;
  for (const id of items) {
    if (shadow.find(id)?.isMute !== false) continue;
    const body = { type: family.down.untranscribed, item_id: id, content_index: 0, error: { ...wordsLost } };
    attachment.down.push(eventOf(body), 0, performance.now());
  }
  attachment.isCounting = true;
}
