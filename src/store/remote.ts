/** A store in another process: calls as messages, one end of which asks and the other answers. */

import { z } from 'zod';
import { RelayError } from '../errors.js';
import type { Store } from './store.js';

/** Room for what a token may say of its user, escaped twice. */
const name = z.string().max(64 * 1024);

const storeCall = z.discriminatedUnion('do', [
  z.strictObject({
    do: z.literal('acquire'),
    key: name,
    holder: name,
    limit: z.number(),
    ttlSeconds: z.number(),
  }),
  z.strictObject({ do: z.literal('renew'), key: name, holder: name, ttlSeconds: z.number() }),
  z.strictObject({ do: z.literal('release'), key: name, holder: name }),
  z.strictObject({ do: z.literal('put'), key: name, value: z.string(), ttlSeconds: z.number() }),
  z.strictObject({ do: z.literal('take'), key: name }),
  z.strictObject({
    do: z.literal('draw'),
    draws: z.array(z.strictObject({ key: name, limit: z.number(), amount: z.number() })).max(100),
    until: z.number(),
  }),
  z.strictObject({ do: z.literal('charge'), key: name, amount: z.number(), until: z.number() }),
]);

/** One call of a store, as it travels. */
export type StoreCall = z.output<typeof storeCall>;

/** Does what a message asks of a store. Rejects as the store does, and with a ZodError for what is no call. */
export async function answerCall(store: Store, message: unknown): Promise<unknown> {
  const call = storeCall.parse(message);
  switch (call.do) {
    case 'acquire':
      return store.acquire(call.key, call.holder, call.limit, call.ttlSeconds);
    case 'renew':
      return store.renew(call.key, call.holder, call.ttlSeconds);
    case 'release':
      return store.release(call.key, call.holder);
    case 'put':
      return store.put(call.key, call.value, call.ttlSeconds);
    case 'take':
      return store.take(call.key);
    case 'draw':
      return store.draw(call.draws, call.until);
    case 'charge':
      return store.charge(call.key, call.amount, call.until);
  }
}

const drawn = z.array(z.object({ taken: z.number(), used: z.number() }));

/**
 * The asking end. Closing it leaves the store itself to the others.
 * @param ask carries a call to the other end; rejects with a RelayError when no answer came in time, and then the call may
 * have had its effect or not: what was drawn stays drawn, a value that was taken is lost, a place runs out by itself
 */
export function createRemoteStore(ask: (call: StoreCall) => Promise<unknown>): Store {
  let closed = false;
  const open = async (call: StoreCall): Promise<unknown> => {
    if (closed) throw new RelayError('draining', 'The relay is shutting down.');
    return ask(call);
  };
  return {
    async acquire(key, holder, limit, ttlSeconds) {
      return z.boolean().parse(await open({ do: 'acquire', key, holder, limit, ttlSeconds }));
    },
    async renew(key, holder, ttlSeconds) {
      return !closed && z.boolean().parse(await ask({ do: 'renew', key, holder, ttlSeconds }));
    },
    async release(key, holder) {
      if (!closed) await ask({ do: 'release', key, holder });
    },
    async put(key, value, ttlSeconds) {
      await open({ do: 'put', key, value, ttlSeconds });
    },
    async take(key) {
      return z
        .string()
        .nullable()
        .parse(await open({ do: 'take', key }));
    },
    async draw(draws, until) {
      return drawn.parse(await open({ do: 'draw', draws: [...draws], until }));
    },
    async charge(key, amount, until) {
      return z.number().parse(await open({ do: 'charge', key, amount, until }));
    },
    async close() {
      closed = true;
    },
  };
}
