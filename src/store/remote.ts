/** A store in another process: calls as messages, one end of which asks and the other answers. */

import { z } from 'zod';
import { RelayError } from '../errors.js';
import { purposes, type Store } from './store.js';

/** Room for what a token may say of its user, escaped twice. */
const name = z.string().max(64 * 1024);
const holder = z.string().max(100);
/** What a profile may name. */
const mostCounters = 100;

const group = name.nullable();

const reservation = {
  counter: name,
  group,
  limit: z.number(),
  most: z.number(),
  least: z.number(),
  isExact: z.boolean(),
};

const storeCall = z.discriminatedUnion('do', [
  z.strictObject({
    do: z.literal('enter'),
    place: z.strictObject({ purpose: z.enum(purposes), group, key: name, limit: z.number(), ttlSeconds: z.number() }),
    holds: z.array(z.strictObject(reservation)).max(mostCounters),
    holder,
    owner: holder,
  }),
  z.strictObject({
    do: z.literal('settle'),
    holder,
    totals: z.array(z.strictObject({ ...reservation, total: z.number(), told: z.number() })).max(mostCounters),
  }),
  z.strictObject({ do: z.literal('leave'), holder }),
  z.strictObject({ do: z.literal('forget'), owner: holder }),
  z.strictObject({
    do: z.literal('put'),
    key: name,
    value: z.string(),
    ttlSeconds: z.number(),
    of: name,
    limit: z.number(),
  }),
  z.strictObject({ do: z.literal('look'), key: name }),
  z.strictObject({ do: z.literal('take'), key: name }),
]);

/** One call of a store, as it travels. */
export type StoreMessage = z.output<typeof storeCall>;

/** Does what a message asks of a store. Rejects as the store does, and with a ZodError for what is no call. */
export async function answerCall(store: Store, message: unknown): Promise<unknown> {
  const call = storeCall.parse(message);
  switch (call.do) {
    case 'enter':
      return store.enter(call);
    case 'settle':
      return store.settle(call.holder, call.totals);
    case 'leave':
      return store.leave(call.holder);
    case 'forget':
      return store.forget(call.owner);
    case 'put':
      return store.put(call);
    case 'look':
      return store.look(call.key);
    case 'take':
      return store.take(call.key);
  }
}

const reserved = z.array(z.object({ used: z.number(), held: z.number(), isSpent: z.boolean() }));
const entered = z.discriminatedUnion('outcome', [
  z.object({ outcome: z.literal('in'), reserved, dayEnds: z.number() }),
  z.object({ outcome: z.literal('taken') }),
  z.object({ outcome: z.literal('full') }),
  z.object({ outcome: z.literal('spent'), counter: z.number(), used: z.number(), dayEnds: z.number() }),
]);
const settled = z.object({ reserved, dayEnds: z.number() });
const text = z.string().nullable();

/**
 * The asking end. Closing it leaves the store itself to the others.
 * @param ask carries a call to the other end; rejects with a RelayError when no answer came in time, and then the call may
 * have had its effect or not: a place runs out by itself, a total may be told again, a text that was taken is lost
 */
export function createRemoteStore(ask: (call: StoreMessage) => Promise<unknown>): Store {
  let closed = false;
  const open = async (call: StoreMessage): Promise<unknown> => {
    if (closed) throw new RelayError('draining', 'The relay is shutting down.');
    return ask(call);
  };
  return {
    async enter({ place, holds, holder, owner }) {
      return entered.parse(await open({ do: 'enter', place, holds: [...holds], holder, owner }));
    },
    async settle(holder, totals) {
      return settled.parse(await ask({ do: 'settle', holder, totals: [...totals] }));
    },
    async leave(holder) {
      await ask({ do: 'leave', holder });
    },
    async forget(owner) {
      await ask({ do: 'forget', owner });
    },
    async put({ key, value, ttlSeconds, of, limit }) {
      return z.enum(['kept', 'taken', 'full']).parse(await open({ do: 'put', key, value, ttlSeconds, of, limit }));
    },
    async look(key) {
      return text.parse(await open({ do: 'look', key }));
    },
    async take(key) {
      return text.parse(await open({ do: 'take', key }));
    },
    async close() {
      closed = true;
    },
  };
}
