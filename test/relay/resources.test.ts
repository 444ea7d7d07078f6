import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WebSocket } from 'ws';
import { type Emulator, startEmulator } from '../../src/emulator/emulator.js';
import type { Fault } from '../../src/emulator/faults.js';
import { ask, dial, gone, handles, lives, many, open, settled, timers } from '../soak/lives.js';
import { type MeasuredRelay, type Sample, startMeasuredRelay } from '../support/memory.js';

const yaml = `
profiles: { default: { limits: { sessions_per_user: 100000, connects_per_second: 1000000, connects_burst: 1000000 } } }
limits: { sessions: 100000, dial_seconds: 0.5, configure_seconds: 0.5 }
`;
let emulator: Emulator;
let relay: MeasuredRelay;
let fresh: Sample;
const headers = () => ({ Authorization: `Bearer ${relay.token()}` });

beforeAll(async () => {
  emulator = await startEmulator({ recordEvents: 0, recordConnections: 0 });
  relay = await startMeasuredRelay({ upstream: emulator.url, yaml });
  fresh = await relay.sample();
});

afterAll(async () => {
  await relay.close();
  await emulator.close();
});

/** Resolves when an answer is complete. */
function answered(client: WebSocket): Promise<void> {
  return new Promise((resolve) => {
    client.on('message', (data: Buffer) => {
      if (data.includes('"response.done"')) resolve();
    });
  });
}

async function expectNothingLeft(): Promise<void> {
  const after = await settled(relay, fresh);
  expect(after.resources).toEqual(fresh.resources);
  expect(after).toMatchObject({ sessions: 0, buffered: { up: 0, down: 0 } });
}

describe('nothing is left in the relay when', () => {
  it.each(Object.entries(lives))('a client %s', async (_, live) => {
    await many(20, () => live(relay, headers()));
    await expectNothingLeft();
    // The relay is a process of its own: what it has let go of, the emulator here has still to hear of.
    await expect.poll(() => emulator.control.received.openCount, { timeout: 5000 }).toBe(0);
  });

  it.each<[string, Fault]>([
    ['refuses its credential', { fault: 'refuse_401' }],
    ['is busy', { fault: 'refuse_500', count: 2 }],
    ['redirects', { fault: 'redirect' }],
    ['never answers the handshake', { fault: 'hang' }],
    ['resets the handshake', { fault: 'reset', count: 2 }],
    ['is no WebSocket server', { fault: 'not_http' }],
    ['answers the handshake wrong', { fault: 'bad_accept' }],
    ['says nothing', { fault: 'silent' }],
    ['refuses the configuration', { fault: 'reject_update' }],
    ['ignores the configuration', { fault: 'ignore_update' }],
    ['ends the session early', { fault: 'expire_early' }],
    ['dies in an answer', { fault: 'die_mid_response' }],
    ['closes in an answer', { fault: 'close_mid_response' }],
  ])('an upstream %s', async (_, fault) => {
    emulator.control.faults.arm(fault);
    const client = dial(relay, headers());
    client.once('message', () => client.send(ask));
    await once(client, 'close');
    emulator.control.faults.clear();
    // Also shows that the next session works.
    const next = await open(relay, headers());
    await gone(next, () => next.close(1000));
    await expectNothingLeft();
  });
});

describe('nothing is left in the relay when the client leaves after', () => {
  // What is odd is dropped, and the session goes on.
  it.each<[string, Fault]>([
    ['garbage', { fault: 'garbage' }],
    ['a binary frame', { fault: 'binary' }],
    ['an array', { fault: 'array' }],
    ['more than anybody should send', { fault: 'huge' }],
  ])('an upstream has sent %s', async (_, fault) => {
    emulator.control.faults.arm(fault);
    const client = await open(relay, headers());
    client.send(ask);
    await Promise.race([once(client, 'close'), answered(client)]);
    emulator.control.faults.clear();
    await gone(client, () => client.close(1000));
    await expectNothingLeft();
  });
});

describe('an idle session', () => {
  it('needs at most 60 KB and no timer of its own', async () => {
    const count = 200;
    await settled(relay, fresh);
    const before = await relay.sample();
    const clients: WebSocket[] = [];
    await many(count, async () => {
      clients.push(await open(relay, headers()));
    });
    const during = await relay.sample();
    expect(during.sessions).toBe(count);
    expect((during.heap + during.external - before.heap - before.external) / count).toBeLessThan(60 * 1024);
    expect(handles(during) - handles(before)).toBe(2 * count);
    expect(timers(during) - timers(before)).toBeLessThanOrEqual(1);
    await Promise.all(clients.map((client) => gone(client, () => client.close(1000))));
    await expectNothingLeft();
  });
});
