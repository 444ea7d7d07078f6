/** How the relay itself speaks: it says something upstream, and tells the client; both in GA. */

import type { Leg } from '../legs/leg.js';
import { relayPrefix } from '../protocol/catalogue.js';
import { eventOf, type JsonObject, objectOf } from '../protocol/event.js';
import { family } from '../protocol/family.js';
import type { Meter } from './meter.js';

/** Sends an event of the relay's own. */
export type Speak = (body: JsonObject) => void;

/** The same upstream; gives what was sent. `after` is the response whose turn a new one goes on with. */
export type Say = (body: JsonObject, after?: string | null) => JsonObject;

/** Speaks to a leg. */
export function speakTo(leg: Pick<Leg, 'send'>): Speak {
  return (body) => leg.send(eventOf(body));
}

/** Speaks upstream, also after the end of the session. Whoever keeps the answers from the client names the event in `named`. */
export function createSay(leg: Pick<Leg, 'send'>, meter: Pick<Meter, 'injected'>, named: Say): Say {
  return (body, after = null) => {
    // Who has named an event himself sees to its answer, too.
    const said = body.event_id === undefined ? named(body, after) : body;
    meter.injected(said);
    leg.send(eventOf(said));
    return said;
  };
}

/** Names what is said where there is no client to keep the answers from; an answer that is asked for is found by its tag. */
export function createNames(): Say {
  let names = 0;
  return (body) => {
    const id = `said_${++names}`;
    const said: JsonObject = { ...body, event_id: relayPrefix + id };
    if (body.type !== family.up.ask) return said;
    const response = objectOf(body.response);
    const metadata = { ...objectOf(response.metadata), [relayPrefix.slice(0, -1)]: id };
    return { ...said, response: { ...response, metadata } };
  };
}
