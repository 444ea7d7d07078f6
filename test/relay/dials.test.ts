import { describe, expect, it } from 'vitest';
import { startTestEmulator, startTestRelay } from '../support/relay.js';

describe('a failed dial', () => {
  it.each([
    ['refuse_401_permission', 'missing_role', 'relay', 'upstream_failed', 1],
    ['refuse_404_deployment', 'deployment_not_found', 'relay', 'upstream_failed', 1],
    ['refuse_403_private', 'network_rules', 'network', 'upstream_failed', 1],
    ['refuse_429', 'throttled', 'upstream', 'upstream_unavailable', 1],
    ['refuse_500', 'server_error', 'upstream', 'upstream_failed', 2],
    ['reset', 'reset', 'network', 'upstream_failed', 2],
  ] as const)('by %s is counted once, as %s, on the side of: %s', async (fault, kind, origin, code, dials) => {
    const emulator = await startTestEmulator();
    emulator.control.faults.arm(fault, 5);
    const { connect, logged, metric } = await startTestRelay({ upstream: emulator.url });
    await (await connect()).closed;
    await logged('session.ended');
    const labels = { upstream: 'default', outcome: code, kind };
    expect(await metric('relay_upstream_dial_seconds_count', labels)).toBe(dials);
    expect(await metric('relay_upstream_dial_seconds_count')).toBe(dials);
    expect(await metric('relay_upstream_errors_total', { origin, code })).toBe(dials);
    expect(await metric('relay_upstream_errors_total')).toBe(dials);
  });

  it('is told from an open connection that dies, which is the network again', async () => {
    const emulator = await startTestEmulator();
    emulator.control.faults.arm('die_mid_response');
    const { connect, logged, metric } = await startTestRelay({ upstream: emulator.url });
    const client = await connect();
    await client.next('session.created');
    client.ask('hello').catch(() => undefined);
    await client.closed;
    await logged('session.ended');
    expect(await metric('relay_upstream_errors_total', { origin: 'network', code: 'upstream_lost' })).toBe(1);
  });

  it('has no kind when it did not fail', async () => {
    const emulator = await startTestEmulator();
    const { connect, metric } = await startTestRelay({ upstream: emulator.url });
    await (await connect()).next('session.created');
    expect(await metric('relay_upstream_dial_seconds_count', { outcome: 'ok', kind: '' })).toBe(1);
    expect(await metric('relay_upstream_errors_total')).toBe(0);
  });
});
