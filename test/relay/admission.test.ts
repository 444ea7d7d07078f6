import { trace } from '@opentelemetry/api';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import type { Control } from '../../src/control/control.js';
import { createPeers } from '../../src/control/peers.js';
import { createLocalStreams } from '../../src/control/streams.js';
import { SessionRegistry } from '../../src/session/registry.js';
import { MemoryStore } from '../../src/store/memory.js';
import { Revocations } from '../../src/store/revocations.js';
import type { Store } from '../../src/store/store.js';
import { refused } from '../support/client.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { Caller } from '../webrtc/caller.js';

afterEach(() => {
  vi.restoreAllMocks();
});

/** One place and one session a day: whoever loses one of them, shuts everybody out. */
const yaml = `
profiles: { default: { limits: { sessions_per_user: 1, sessions_per_day: 1 } } }
limits: { sessions: 1 }
`;

type Fault = (relay: TestRelay) => void;

/** What may fail between the admission of a session and its place in the registry. */
const faults: readonly (readonly [string, Fault])[] = [
  [
    'counting the client',
    ({ relay }) => {
      vi.spyOn(relay.metrics, 'clientAdmitted').mockImplementationOnce(failing);
    },
  ],
  [
    'making the session',
    () => {
      vi.spyOn(trace, 'getTracer').mockImplementationOnce(failing);
    },
  ],
  [
    'registering the session',
    () => {
      vi.spyOn(SessionRegistry.prototype, 'add').mockImplementationOnce(failing);
    },
  ],
];

function failing(): never {
  throw new TypeError('a fault');
}

async function post(relay: TestRelay, offer: string): Promise<number> {
  const headers = { authorization: `Bearer ${relay.token()}`, 'content-type': 'application/sdp' };
  return (await fetch(`${relay.relay.url}/v1/realtime/calls`, { method: 'POST', headers, body: offer })).status;
}

describe('a fault at the door loses no place, and no session of a budget', () => {
  it.each(faults)('in %s', async (_, arm) => {
    const emulator = await startTestEmulator();
    const relay = await startTestRelay({ upstream: emulator.url, yaml });
    for (let i = 0; i < 3; i++) {
      arm(relay);
      const outcome = await relay.connect().then(
        (client) => client.closed,
        (error: Error) => error.message,
      );
      expect([{ code: 1011, reason: 'internal' }, 'Unexpected server response: 500']).toContainEqual(outcome);
    }
    expect(await relay.logged('session.refused', 3)).toMatchObject({ level: 'error', reason: 'internal' });
    const client = await relay.connect();
    await client.next('session.created');
    expect(relay.relay.sessions.size).toBe(1);
    expect(emulator.control.received.connectionCount).toBe(1);
  });

  it.each(faults)('in %s, of a call', async (_, arm) => {
    const emulator = await startTestEmulator();
    const relay = await startTestRelay({ upstream: emulator.url, yaml });
    const { offer } = await Caller.create();
    for (let i = 0; i < 3; i++) {
      arm(relay);
      expect(await post(relay, offer)).toBe(500);
    }
    expect(await post(relay, offer)).toBe(201);
  });
});

/** A relay whose store fails when it is told to. */
async function withStore() {
  const emulator = await startTestEmulator();
  const memory = new MemoryStore();
  onTestFinished(() => memory.close());
  const failures = new Map<keyof Store, 'before' | 'after'>();
  const store = Object.fromEntries(
    (['enter', 'settle', 'leave', 'forget', 'put', 'look', 'take', 'close'] as const).map((call) => [
      call,
      async (...args: never[]) => {
        const when = failures.get(call);
        if (when === 'before') throw new Error('out of reach');
        const answer = await (memory[call] as (...args: never[]) => Promise<unknown>)(...args);
        if (when === 'after') throw new Error('no answer');
        return answer;
      },
    ]),
  ) as unknown as Store;
  const streams = createLocalStreams();
  const shared = {
    store,
    unready: () => null,
    resized: () => undefined,
    start: async () => undefined,
    close: () => store.close(),
    replica: 'here-abc123',
    isFull: () => false,
    revocations: new Revocations(10),
    streams,
    join: (control: Control) => createPeers(control, streams),
  };
  return { failures, memory, relay: await startTestRelay({ upstream: emulator.url, yaml, shared }) };
}

async function mint(relay: TestRelay): Promise<Response> {
  const headers = { authorization: `Bearer ${relay.token()}` };
  return fetch(`${relay.relay.url}/v1/realtime/client_secrets`, { method: 'POST', headers });
}

describe('a store that fails', () => {
  it.each(['before', 'after'] as const)('%s it has let a session in, loses no place, and is seen', async (when) => {
    const { failures, relay } = await withStore();
    failures.set('enter', when);
    for (let i = 0; i < 3; i++) {
      const answer = await refused(`${relay.address}/v1/realtime`, { headers: { 'api-key': relay.token() } });
      expect([answer.status, answer.body.error.code]).toEqual([500, 'internal']);
    }
    expect(await relay.metric('relay_store_errors_total', { call: 'enter' })).toBe(3);
    expect(await relay.logged('store.failed')).toMatchObject({ call: 'enter', error: { message: /out of|no ans/ } });
    failures.clear();
    await (await relay.connect()).next('session.created');
  });

  it('at a client secret, lets it be good for another try', async () => {
    const { failures, relay } = await withStore();
    const { value } = (await (await mint(relay)).json()) as { value: string };
    for (const call of ['look', 'take'] as const) {
      failures.set(call, 'before');
      const answer = await refused(`${relay.address}/v1/realtime`, { headers: { 'api-key': value } });
      expect(answer.status).toBe(500);
      expect(await relay.metric('relay_store_errors_total', { call })).toBe(1);
      failures.clear();
    }
    await (await relay.connect({ token: value })).next('session.created');
  });

  it('when a session ends or settles, ends nobody, and is seen', async () => {
    const { failures, relay } = await withStore();
    for (const call of ['settle', 'leave'] as const) failures.set(call, 'before');
    const client = await relay.connect();
    await client.next('session.created');
    expect(await client.ask('hello')).toMatchObject({ status: 'completed' });
    client.ws.close(1000);
    await relay.logged('session.ended');
    for (const call of ['settle', 'leave']) {
      await expect.poll(() => relay.metric('relay_store_errors_total', { call })).toBeGreaterThan(0);
    }
  });
});

describe('a refused client secret', () => {
  it('is still good when there was no place for its session, and is used up by the one that begins', async () => {
    const emulator = await startTestEmulator();
    const relay = await startTestRelay({
      upstream: emulator.url,
      yaml: 'profiles: { default: { limits: { sessions_per_user: 1 } } }',
    });
    const { value } = (await (await mint(relay)).json()) as { value: string };
    const first = await relay.connect();
    await first.next('session.created');
    const headers = { 'api-key': value };
    expect((await refused(`${relay.address}/v1/realtime`, { headers })).status).toBe(429);
    first.ws.close(1000);
    await relay.logged('session.ended');
    await (await relay.connect({ token: value })).next('session.created');
    expect((await refused(`${relay.address}/v1/realtime`, { headers })).status).toBe(401);
  });
});
