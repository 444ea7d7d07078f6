/** A backend's part in a session: what it says goes upstream in the order in which it came, and is shown to nobody. */

import type { Cancel, Clock } from '../clock.js';
import type { Judged } from '../policy/backend.js';
import { Bounded } from '../policy/bounded.js';
import { type JsonObject, objectOf, type RealtimeEvent } from '../protocol/event.js';
import { family } from '../protocol/family.js';
import { orderedUuid } from '../uuid.js';
import type { Attachment } from './attachment.js';
import type { Taps } from './taps.js';
import { isAside } from './unanswered.js';

/** Told of an event that was placed and not carried out: its id as its sender knows it, and upstream's code. */
type Failed = (eventId: string, code: string) => void;

/** What became of a list: the ids of its events; `busy` where an answer runs that the list does not end, and nothing was sent. */
type PlacedEvents = { readonly ids: readonly string[] } | 'busy';

/** Says what a backend wants said; null while there is nobody to say it to. */
export type SayForBackend = (judged: Judged, failed: Failed) => PlacedEvents | null;

/** Events whose answers upstream may still owe; more than one list. */
const mostKept = 1000;
/** For the answer that a list cancels to be over. */
const cancelMs = 5000;

/**
 * Makes a backend's part of a session.
 * @param open the leg to upstream once that runs what was imposed
 * @param put told of the id of each item that it puts in, where it is known
 */
export function createBackend(
  taps: Taps,
  clock: Clock,
  open: () => Attachment | null,
  put: (itemId: string) => void,
): SayForBackend {
  /** By the id that an event has upstream. */
  const sent = new Bounded<{ readonly id: string; readonly failed: Failed }>(mostKept);
  let isListening = false;

  function came({ type, body }: RealtimeEvent): void {
    if (type !== family.down.error) return;
    const { event_id: eventId, code } = objectOf(body?.error);
    const known = typeof eventId === 'string' ? sent.get(eventId) : undefined;
    if (!known) return;
    sent.delete(eventId as string);
    known.failed(known.id, typeof code === 'string' && /^[a-z_]{1,64}$/.test(code) ? code : 'other');
  }

  function say(attachment: Attachment, event: JsonObject, id: string, failed: Failed): void {
    const { event_id: eventId, item } = attachment.say(event);
    const { id: itemId } = objectOf(item);
    if (typeof itemId === 'string') put(itemId);
    if (typeof eventId === 'string') sent.set(eventId, { id, failed });
  }

  return ({ events, ids }, failed) => {
    const attachment = open();
    if (!attachment) return null;
    const isAsk = ({ type, response }: JsonObject) => type === family.up.ask && !isAside(response);
    const first = events.findIndex(isAsk);
    const cancels = events.slice(0, Math.max(first, 0)).some(({ type }) => type === family.up.cancel);
    if (first >= 0 && !cancels && attachment.asks.isBusy) return 'busy';
    if (!isListening) isListening = taps.add({ came }) !== null;
    const names = ids.map((id) => id ?? `event_${orderedUuid().replaceAll('-', '')}`);
    for (const [index, event] of events.entries()) {
      const id = names[index] as string;
      if (isAsk(event)) ask(attachment, clock, event, () => failed(id, 'not_answered'));
      else say(attachment, event, id, failed);
    }
    return { ids: names };
  };
}

/** Asks for an answer, at once or when the one that was cancelled is over. */
function ask({ asks }: Attachment, clock: Clock, { response }: JsonObject, failed: () => void): void {
  let isOver = false;
  let stopWaiting: Cancel | null = null;
  const { drop } = asks.want({
    kind: 'backend',
    ...(response !== undefined && response !== null && { response: objectOf(response) }),
    ended(how) {
      isOver = true;
      stopWaiting?.();
      if (how === 'refused' || how === 'dropped') failed();
    },
  });
  if (!isOver) stopWaiting = clock.at(cancelMs, drop);
}
