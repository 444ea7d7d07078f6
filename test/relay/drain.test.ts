import { describe, expect, it } from 'vitest';
import { signToken } from '../../src/auth/token.js';
import { connect, refused } from '../support/client.js';
import { relayEnv, serve } from '../support/process.js';
import { jwt, startTestEmulator } from '../support/relay.js';

const path = '/openai/v1/realtime?model=x';
const headers = (subject: string) => ({ 'api-key': signToken({ ...jwt, subject, ttlSeconds: 600 }) });

async function session(url: string, subject: string) {
  const client = await connect(url.replace('http', 'ws') + path, { headers: headers(subject) });
  await client.next('session.created');
  return client;
}

describe('shutdown', () => {
  it('on SIGTERM lets the running answer finish, refuses the new, ends with draining and exits 0', async () => {
    const emulator = await startTestEmulator({ speed: 3 });
    const relay = await serve(relayEnv(emulator.url));
    const busy = await session(relay.url, 'busy');
    const idle = await session(relay.url, 'idle');
    busy.send({ type: 'response.create' });
    await busy.next('response.output_audio.delta');
    expect((await fetch(`${relay.ops}/readyz`)).status).toBe(200);

    relay.child.kill('SIGTERM');
    expect(await idle.closed).toEqual({ code: 1012, reason: 'draining' });
    expect(idle.types()).not.toContain('error');
    const ready = await fetch(`${relay.ops}/readyz`);
    expect(ready.status).toBe(503);
    expect(await ready.json()).toMatchObject({ detail: 'draining' });
    expect((await fetch(`${relay.ops}/healthz`)).status).toBe(200);
    const late = await refused(relay.url.replace('http', 'ws') + path, { headers: headers('late') });
    expect(late).toMatchObject({ status: 503, body: { error: { code: 'draining', retryable: true } } });
    expect(late.headers['retry-after']).toBe('1');

    const done = await busy.next('response.done');
    expect(done.response).toMatchObject({ status: 'completed' });
    expect(await busy.closed).toEqual({ code: 1012, reason: 'draining' });
    expect(await relay.exited).toBe(0);
    const ends = relay.lines.filter((line) => line.includes('session.ended')).map((line) => JSON.parse(line));
    expect(ends.map(({ reason, initiator }) => [reason, initiator])).toEqual([
      ['draining', 'relay'],
      ['draining', 'relay'],
    ]);
  });

  it('ends stragglers with draining when the time to drain is over', async () => {
    const emulator = await startTestEmulator();
    emulator.control.faults.arm('mute');
    const folder = await import('node:fs/promises');
    const file = `${await folder.mkdtemp('/tmp/relay-drain-')}/relay.yaml`;
    await folder.writeFile(file, 'limits: { drain_seconds: 1 }');
    const relay = await serve(relayEnv(emulator.url, { RELAY_CONFIG: file }));
    const client = await session(relay.url, 'a');
    client.send({ type: 'response.create' });
    await emulator.control.received.waitFor((received) => received.events('response.create').length > 0);
    relay.child.kill('SIGTERM');
    expect(await client.closed).toEqual({ code: 1012, reason: 'draining' });
    expect(await relay.exited).toBe(0);
  });

  it('ends at once on a second signal', async () => {
    const emulator = await startTestEmulator();
    emulator.control.faults.arm('mute');
    const relay = await serve(relayEnv(emulator.url));
    const client = await session(relay.url, 'a');
    client.send({ type: 'response.create' });
    await emulator.control.received.waitFor((received) => received.events('response.create').length > 0);
    relay.child.kill('SIGINT');
    await relay.line((line) => line.includes('relay.draining'));
    relay.child.kill('SIGTERM');
    expect(await relay.exited).toBe(1);
  });
});
