/** The items that the relay puts into a conversation for calls, and what upstream says to each of them. */

import { randomBytes } from 'node:crypto';
import { Bounded } from '../policy/bounded.js';
import { unknownCallCode } from '../policy/faults.js';
import { relayPrefix } from '../protocol/catalogue.js';
import type { Json, JsonObject } from '../protocol/event.js';
import type { Round } from './round.js';

/** What outputs need of their session. */
interface OutputPorts {
  /** Speaks upstream; the event has its id, so that whoever answers it can be told. */
  say(body: JsonObject): void;
  /** Upstream did not take the output of a call. */
  outputRefused(callId: string, code: Json): void;
}

/** The items of one session. */
export interface Outputs {
  /** Sends an item, or keeps it until the response that it answers has ended. */
  put(round: Round, item: JsonObject): void;
  /** The response has ended: what was kept is sent. */
  flush(round: Round): void;
  /** An item has come into the conversation. */
  acknowledged(id: Json | undefined): void;
  /** Upstream refused something: what it refused is not waited for. */
  refused(error: JsonObject): void;
  /** Whether an item is from here. */
  isOwn(id: Json | undefined): boolean;
}

const mostSent = 64;
const mostOwn = 1024;

/** Makes the outputs of a session that begins. */
export function createOutputs({ say, outputRefused }: OutputPorts): Outputs {
  const sent = new Bounded<{ readonly round: Round; readonly item: JsonObject }>(mostSent);
  const own = new Bounded<true>(mostOwn);

  function send(round: Round, item: JsonObject): void {
    // A client that can speak to upstream itself must not be able to guess it; ids over 32 characters may be refused.
    const id = `${relayPrefix}${randomBytes(12).toString('hex')}`;
    sent.set(id, { round, item });
    own.set(id, true);
    round.unacknowledged.add(id);
    say({ type: 'conversation.item.create', event_id: id, item: { id, ...item } });
  }

  function settle(id: string): JsonObject | null {
    const entry = sent.get(id);
    if (entry === undefined) return null;
    const { round, item } = entry;
    sent.delete(id);
    round.unacknowledged.delete(id);
    if (round.unacknowledged.size === 0) round.acknowledged?.();
    return item;
  }

  return {
    put(round, item) {
      if (round.status === null) round.unsent.push(item);
      else send(round, item);
    },
    flush(round) {
      const { unsent } = round;
      round.unsent = [];
      for (const item of unsent) send(round, item);
    },
    acknowledged(id) {
      if (typeof id === 'string') settle(id);
    },
    refused({ event_id: named, code }) {
      // Upstream does not always say what it refused; what was sent first is refused first.
      const id = typeof named === 'string' ? named : code === unknownCallCode ? sent.first()?.[0] : undefined;
      const item = id === undefined ? null : settle(id);
      if (typeof item?.call_id === 'string') outputRefused(item.call_id, code ?? null);
    },
    isOwn: (id) => typeof id === 'string' && own.has(id),
  };
}
