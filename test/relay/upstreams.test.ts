import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { createServer } from 'node:net';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { startTestEmulator, startTestRelay } from '../support/relay.js';

/** Takes connections, reads what comes, and says nothing. */
async function startMute(): Promise<{ url: string; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket.resume());
    socket.on('error', () => undefined);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, sockets };
}

describe('two upstreams, the first of them mute', () => {
  it('delay a session by the wait for the second, and not at all once the first is known', async () => {
    const [mute, emulator] = [await startMute(), await startTestEmulator()];
    const yaml = `
upstreams:
  - { name: mute, endpoint: '${mute.url}', deployment: d, api_key: emulator-key }
  - { name: good, endpoint: '${emulator.url}', deployment: gpt-realtime, api_key: emulator-key }
limits: { second_dial_ms: 150 }`;
    const { connect, logged, metric } = await startTestRelay({ upstream: emulator.url, yaml });
    for (const session of [1, 2, 3, 4, 5]) {
      const client = await connect();
      await client.next('session.created');
      const { readyMs, attempts, upstream } = await logged('session.opened', session);
      expect([attempts, upstream]).toEqual([session <= 3 ? 2 : 1, 'good']);
      if (session <= 3) expect(readyMs).toBeGreaterThanOrEqual(149);
      client.ws.close();
    }
    expect(mute.sockets).toHaveLength(3);
    for (const socket of mute.sockets) await vi.waitFor(() => expect(socket.destroyed).toBe(true));
    expect(emulator.control.received.connections).toHaveLength(5);
    expect(await metric('relay_upstream_dial_seconds_count', { upstream: 'mute', outcome: 'upstream_timeout' })).toBe(
      3,
    );
  });
});

describe('two upstreams, the first of which takes connections and begins no session', () => {
  it.each(['silent', 'ignore_update'] as const)('fail three sessions by %s, and no more', async (fault) => {
    const [mute, good] = [await startTestEmulator(), await startTestEmulator()];
    mute.control.faults.arm(fault, 99);
    const yaml = `
upstreams:
  - { name: mute, endpoint: '${mute.url}', deployment: gpt-realtime, api_key: emulator-key }
  - { name: good, endpoint: '${good.url}', deployment: gpt-realtime, api_key: emulator-key }
limits: { configure_seconds: 0.1 }`;
    const { connect, logged } = await startTestRelay({ upstream: mute.url, yaml });
    const first = await Promise.all([connect(), connect(), connect()]);
    for (const client of first) {
      expect(await client.closed).toMatchObject({ code: 1011, reason: 'upstream_configuration_failed' });
    }
    for (const session of [1, 2, 3]) {
      const client = await connect();
      await client.next('session.created');
      expect(await logged('session.opened', session)).toMatchObject({ upstream: 'good' });
      client.ws.close();
    }
  });
});
