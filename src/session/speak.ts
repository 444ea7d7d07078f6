/** How the relay itself speaks: it says something upstream, and tells the client; both in GA, and each leg hears its own dialect. */

import type { Leg } from '../legs/websocket.js';
import { applied, encode, eventOf, type JsonObject, type Step } from '../protocol/event.js';
import type { Meter } from './meter.js';

/** Sends an event of the relay's own, in GA. */
export type Speak = (body: JsonObject) => void;

/** Speaks to a leg, through `translate` where that has a dialect of its own. */
export function speakTo(leg: Pick<Leg, 'send'>, translate?: Step): Speak {
  return (body) => {
    for (const event of applied(translate, eventOf(body))) leg.send(encode(event));
  };
}

/** Speaks upstream, also after the end of the session. Whoever keeps the answers from the client names the event in `named`. */
export function createSay(
  speak: Speak,
  meter: Pick<Meter, 'injected'>,
  named: (body: JsonObject) => JsonObject,
): Speak {
  return (body) => {
    // Who has named an event himself sees to its answer, too.
    const said = body.event_id === undefined ? named(body) : body;
    meter.injected(said);
    speak(said);
  };
}
