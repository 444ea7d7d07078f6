import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { signToken } from '../../src/auth/token.js';
import { connect } from '../support/client.js';
import { relayEnv, serve } from '../support/process.js';
import { connectRaw } from '../support/raw.js';
import { jwt, startTestEmulator, startTestRelay } from '../support/relay.js';
import { startUpstream } from '../support/upstream.js';

const audioOf = (delta: string) =>
  JSON.stringify({
    type: 'response.output_audio.delta',
    event_id: 'event_3',
    response_id: 'resp_1',
    item_id: 'item_1',
    output_index: 0,
    content_index: 0,
    delta,
  });

it('keeps its memory when many stop reading, ends them and nobody else, and books it on itself', {
  timeout: 60_000,
}, async () => {
  const upstream = await startUpstream();
  const budget = 4 * 1024 * 1024;
  const relay = await startTestRelay({
    upstream: upstream.url,
    yaml: `
profiles: { default: { limits: { sessions_per_user: 50 } } }
limits: { buffered_bytes: ${budget} }`,
  });
  const honest = await relay.connect({ token: relay.token({ subject: 'alice' }) });
  await honest.next('session.created');
  const silent = [];
  for (let i = 0; i < 6; i++) {
    const client = await connectRaw(relay.address, relay.token({ subject: 'mallory' }));
    await client.event('session.created');
    client.socket.pause();
    silent.push(client);
  }
  const [first, ...others] = upstream.connections;
  const item = { id: 'item_1', type: 'message', role: 'assistant', status: 'in_progress', content: [] };
  for (const { ws } of upstream.connections) {
    const say = (event: object) => ws.send(JSON.stringify({ event_id: 'event_2', ...event }));
    say({ type: 'response.created', response: { id: 'resp_1', status: 'in_progress', output: [] } });
    say({ type: 'response.output_item.added', response_id: 'resp_1', output_index: 0, item });
  }
  let highest = 0;
  const watch = setInterval(() => {
    highest = Math.max(
      highest,
      [...relay.relay.sessions].reduce((sum, { buffered }) => sum + buffered.up + buffered.down, 0),
    );
  }, 10);
  onTestFinished(() => clearInterval(watch));
  const much = audioOf('A'.repeat(64 * 1024));
  // Whatever the system's own buffers hold, at some time they are full.
  for (let i = 0; i < 200 && relay.log.filter(({ msg }) => msg === 'session.shed').length < 2; i++) {
    // Little enough that the look at the memory, four times a second, sees it before it is much more than the budget.
    for (let j = 0; j < 4; j++) for (const { ws } of others) if (ws.bufferedAmount < 8_000_000) ws.send(much);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await relay.logged('session.shed', 2);
  const shed = relay.log.filter(({ msg }) => msg === 'session.shed');
  for (const line of shed) expect(line).toMatchObject({ subject: 'mallory', want: 'memory', level: 'warn' });
  const ended = await relay.logged('session.ended');
  expect(ended).toMatchObject({ reason: 'slow_consumer', initiator: 'relay', subject: 'mallory' });
  expect(await relay.metric('relay_shed_total', { want: 'memory' })).toBeGreaterThanOrEqual(2);
  expect(highest).toBeLessThan(5 * budget);
  await expect
    .poll(() => [...relay.relay.sessions].reduce((sum, { buffered }) => sum + buffered.down, 0), { timeout: 5000 })
    .toBeLessThan(budget);
  first?.ws.send(audioOf('AAAA'));
  expect(await honest.next('response.output_audio.delta')).toMatchObject({ delta: 'AAAA' });
  for (const { socket } of silent) socket.destroy();
});

it('takes nobody new while its processor is taken away, answers operators, and is there again afterwards', {
  timeout: 60_000,
}, async () => {
  const emulator = await startTestEmulator();
  const folder = mkdtempSync(join(tmpdir(), 'relay-busy-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'relay.yaml');
  writeFileSync(file, 'limits: { busy_delay_ms: 200, busy_percent: 0 }');
  const relay = await serve(relayEnv(emulator.url, { RELAY_CONFIG: file }));
  const knock = async (subject: string) => {
    const credential = signToken({ ...jwt, subject, ttlSeconds: 600 });
    const client = await connect(`${relay.url.replace('http', 'ws')}/v1/realtime?model=x`, {
      headers: { 'api-key': credential },
    });
    await client.next('session.created');
    return client;
  };
  const before = await knock('before');
  const { pid } = relay.child;
  // One standstill is none.
  process.kill(pid as number, 'SIGSTOP');
  await new Promise((resolve) => setTimeout(resolve, 2500));
  process.kill(pid as number, 'SIGCONT');
  await relay.line((line) => line.includes('"relay.stalled"'));
  (await knock('between')).ws.close(1000);
  // Stopped for nine tenths of the time.
  let running = true;
  const starving = (async () => {
    while (running) {
      process.kill(pid as number, 'SIGSTOP');
      await new Promise((resolve) => setTimeout(resolve, 450));
      process.kill(pid as number, 'SIGCONT');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  })();
  const busy = JSON.parse(await relay.line((line) => line.includes('"relay.busy"')));
  expect(busy.delayMs).toBeGreaterThan(200);
  await expect(knock('late')).rejects.toThrow('503');
  const ready = await fetch(`${relay.ops}/readyz`);
  expect([ready.status, await ready.json()]).toMatchObject([503, { detail: 'busy' }]);
  const asked = performance.now();
  expect((await fetch(`${relay.ops}/healthz`)).status).toBe(200);
  expect(await (await fetch(`${relay.ops}/metrics`)).text()).toContain('relay_loop_delay_seconds');
  expect(performance.now() - asked).toBeLessThan(4000);
  running = false;
  await starving;
  await relay.line((line) => line.includes('"relay.relieved"'));
  await knock('after');
  // Who was there was late, and is there still.
  await before.ask('hello');
  expect(relay.lines.filter((line) => line.includes('"session.shed"'))).toEqual([]);
  before.ws.close(1000);
  await once(before.ws, 'close');
});
