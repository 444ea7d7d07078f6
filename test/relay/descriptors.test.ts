import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { signToken } from '../../src/auth/token.js';
import { TestClient } from '../support/client.js';
import { lacking } from '../support/lacking.js';
import { metricAt } from '../support/memory.js';
import { relayEnv, serve } from '../support/process.js';
import { jwt, startTestEmulator } from '../support/relay.js';

const prlimit = '/usr/bin/prlimit';
const most = 200;
const crowdSize = 120;
const patience = { timeout: 10_000, interval: 100 };

it.skipIf(lacking(existsSync(prlimit), prlimit, 'apt-get install util-linux'))(
  'serves those it has when newcomers want more descriptors than there are, turns these away as overloaded, and recovers',
  { timeout: 40_000 },
  async () => {
    const emulator = await startTestEmulator();
    const relay = await serve(relayEnv(emulator.url));
    execFileSync(prlimit, [`--pid=${relay.child.pid}`, `--nofile=${most}:${most}`]);
    // The relay looks once a second.
    await new Promise((resolve) => setTimeout(resolve, 1100));
    let subjects = 0;
    const knock = () => {
      const token = signToken({ ...jwt, subject: `user-${subjects++}`, ttlSeconds: 600 });
      const headers = { 'api-key': token };
      return new TestClient(new WebSocket(`${relay.url.replace('http', 'ws')}/v1/realtime?model=x`, { headers }));
    };
    const cameIn = (client: TestClient) =>
      client.next('session.created').then(
        () => true,
        () => false,
      );

    // All at once, faster than anybody could look.
    const crowd = Array.from({ length: crowdSize }, knock);
    const inside = await Promise.all(crowd.map(cameIn));
    const served = crowd.filter((_client, index) => inside[index]);
    // Those of the crowd who are turned away have a connection, too, until they are gone.
    expect(served.length).toBeGreaterThan(30);

    // More one by one, until nobody is let in.
    for (let more = knock(); await cameIn(more); more = knock()) served.push(more);
    expect(served.length).toBeLessThan(0.45 * most);

    // What is left is for operators, and for those who are there.
    expect((await fetch(`${relay.ops}/healthz`)).status).toBe(200);
    const open = await metricAt(relay.ops, 'process_open_fds');
    expect(open).toBeLessThan(most * 0.95);
    await Promise.all(served.map((client) => client.ask('hello')));
    // Nobody was let in to find that nothing is left for the connection to upstream.
    expect(relay.lines.filter((line) => line.includes('"session.ended"'))).toEqual([]);
    expect(await metricAt(relay.ops, 'relay_refusals_total')).toBe(
      await metricAt(relay.ops, 'relay_refusals_total', { reason: 'overloaded' }),
    );

    // Connections that say nothing take what is left; from there on none can even be accepted.
    const { hostname, port } = new URL(relay.url);
    const mute = Array.from({ length: most }, () => connect(Number(port), hostname).on('error', () => undefined));
    await Promise.all(mute.map((socket) => new Promise((resolve) => socket.once('connect', resolve))));
    await Promise.all(served.map((client) => client.ask('hello')));
    for (const socket of mute) socket.destroy();

    for (const client of served.slice(0, 10)) client.ws.close(1000);
    const late = await vi.waitFor(async () => {
      const client = knock();
      await client.next('session.created');
      return client;
    }, patience);
    await late.ask('hello');
    await Promise.all(served.slice(10).map((client) => client.ask('hello')));
    expect(await metricAt(relay.ops, 'relay_upstream_errors_total', { origin: 'upstream' })).toBe(0);
    expect(await metricAt(relay.ops, 'relay_upstream_errors_total', { origin: 'network' })).toBe(0);
  },
);
