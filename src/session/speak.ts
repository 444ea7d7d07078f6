/** How the relay itself speaks: it says something upstream, and tells the client; both in GA. */

import type { Leg } from '../legs/leg.js';
import { eventOf, type JsonObject } from '../protocol/event.js';
import type { Meter } from './meter.js';

/** Sends an event of the relay's own. */
export type Speak = (body: JsonObject) => void;

/** Speaks to a leg. */
export function speakTo(leg: Pick<Leg, 'send'>): Speak {
  return (body) => leg.send(eventOf(body));
}

/** Speaks upstream, also after the end of the session. Whoever keeps the answers from the client names the event in `named`. */
export function createSay(
  leg: Pick<Leg, 'send'>,
  meter: Pick<Meter, 'injected'>,
  named: (body: JsonObject) => JsonObject,
): Speak {
  return (body) => {
    // Who has named an event himself sees to its answer, too.
    const said = body.event_id === undefined ? named(body) : body;
    meter.injected(said);
    leg.send(eventOf(said));
  };
}
