import { describe, expect, it } from 'vitest';
import { refused, type TestClient } from '../support/client.js';
import { holdTime } from '../support/clock.js';
import { end, endOf } from '../support/ends.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';

const path = '/openai/v1/realtime?model=x&relay_events=on';

async function start(limits: string, speed = Number.POSITIVE_INFINITY) {
  const emulator = await startTestEmulator({ speed });
  const yaml = `profiles: { default: { limits: { sessions_per_user: 100, ${limits} } }, other: {} }`;
  return { emulator, server: await startTestRelay({ upstream: emulator.url, yaml }) };
}

async function open(server: TestRelay, subject = 'alice', tenant?: string): Promise<TestClient> {
  const client = await server.connect({ path, token: server.token({ subject, ...(tenant && { tenant }) }) });
  await client.next('session.created');
  return client;
}

function refusal(server: TestRelay, subject = 'alice', tenant?: string) {
  const token = server.token({ subject, ...(tenant && { tenant }) });
  return refused(`${server.address}${path}`, { headers: { Authorization: `Bearer ${token}` } });
}

function warnings(client: TestClient) {
  return client.events.filter(({ type }) => type === 'relay.quota_warning');
}

async function leave(server: TestRelay, client: TestClient, count: number): Promise<void> {
  client.ws.close(1000);
  await client.closed;
  await server.logged('session.usage', count);
}

const dayMs = 86_400_000;

function untilMidnight(): number {
  return dayMs - (Date.now() % dayMs);
}

describe('a budget of sessions', () => {
  it('quota_exceeded: of fifty that connect at once with one left, one is admitted', async () => {
    const { emulator, server } = await start('sessions_per_day: 1');
    const attempts = Array.from({ length: 50 }, () =>
      open(server)
        .then(() => 'open' as const)
        .catch(String),
    );
    const outcomes = await Promise.all(attempts);
    expect(outcomes.filter((outcome) => outcome === 'open')).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome.includes('429'))).toHaveLength(49);
    expect(emulator.control.received.connectionCount).toBe(1);
    expect(await server.metric('relay_refusals_total', { reason: 'quota_exceeded' })).toBe(49);
    // Nobody who was refused keeps a place.
    expect(server.relay.sessions.size).toBe(1);
  });

  it('quota_exceeded: says how long it is until midnight UTC', async () => {
    const { server } = await start('sessions_per_day: 1');
    await open(server);
    const { status, headers, body } = await refusal(server);
    expect(status).toBe(429);
    expect(body.error).toMatchObject({ code: 'quota_exceeded', retryable: false });
    const left = untilMidnight();
    expect(Math.abs(Number(body.error.retry_after_ms) - left)).toBeLessThan(5000);
    expect(Math.abs(Number(headers['retry-after']) - left / 1000)).toBeLessThan(6);
  });

  it('is one for each user, and one for the tenant of them all', async () => {
    const { server } = await start('sessions_per_day: 2, tenant: { sessions_per_day: 3 }');
    await open(server, 'alice', 'acme');
    await open(server, 'alice', 'acme');
    expect((await refusal(server, 'alice', 'acme')).body.error.message).toMatch(/user/);
    await open(server, 'bob', 'acme');
    expect((await refusal(server, 'carol', 'acme')).body.error.message).toMatch(/tenant/);
    await open(server, 'carol', 'other');
    await open(server, 'carol');
    // What the tenant refused was not reserved from the user.
    expect((await refusal(server, 'bob', 'acme')).body.error.message).toMatch(/tenant/);
  });

  it('is not spent by a session that never became ready', async () => {
    const { emulator, server } = await start('sessions_per_day: 1');
    emulator.control.faults.arm('reject_update');
    const client = await server.connect();
    await client.closed;
    await server.logged('session.ended');
    expect(await (await open(server)).ask('hello')).toMatchObject({ status: 'completed' });
  });

  it('lets the session that took the last one go on', async () => {
    const { server } = await start('sessions_per_day: 1');
    const client = await open(server);
    expect(await client.ask('hello')).toMatchObject({ status: 'completed' });
    expect(warnings(client)).toEqual([
      {
        type: 'relay.quota_warning',
        event_id: expect.any(String),
        budget: 'sessions_per_day',
        scope: 'user',
        used: 1,
        limit: 1,
        resets_at: (Date.now() - (Date.now() % dayMs) + dayMs) / 1000,
      },
    ]);
  });
});

describe('a budget of tokens', () => {
  async function cost(): Promise<number> {
    const { server } = await start('');
    const client = await open(server);
    const { usage } = (await client.ask('hello')) as { usage: { total_tokens: number } };
    return usage.total_tokens;
  }

  it('warns once at 80 %, and quota_exceeded: ends the session after the answer that used it up', async () => {
    const one = await cost();
    const limit = Math.ceil(one * 4.1);
    const { server } = await start(`tokens_per_day: ${limit}`);
    const client = await open(server);
    let used = 0;
    const ended = endOf(server, client);
    const answers: unknown[] = [];
    while (used < limit) {
      const before = warnings(client).length;
      expect(before).toBe(used >= limit * 0.8 ? 1 : 0);
      const response = (await client.ask('hello')) as { usage: { total_tokens: number } };
      used += response.usage.total_tokens;
      answers.push(response);
      await Promise.race([client.closed, new Promise((resolve) => setImmediate(resolve))]);
    }
    const retry = { retryable: false, retry_after_ms: expect.any(Number) };
    expect(await ended).toEqual(end('quota_exceeded', 1008, 'relay', retry));
    expect(client.types().slice(-1)).toEqual(['error']);
    const [warning, ...more] = warnings(client);
    expect(more).toEqual([]);
    expect(warning).toMatchObject({ budget: 'tokens_per_day', scope: 'user', limit });
    expect(Number(warning?.used)).toBeGreaterThanOrEqual(limit * 0.8);
    expect((await refusal(server)).body.error).toMatchObject({ code: 'quota_exceeded' });
  });

  it('tells no client that did not ask', async () => {
    const { server } = await start('tokens_per_day: 10');
    const client = await server.connect();
    await client.next('session.created');
    client.send({ type: 'response.create' });
    await client.closed;
    expect(client.types().filter((type) => type.startsWith('relay.'))).toEqual([]);
  });

  it('ends every session of a tenant that has spent its budget, at the next thing it spends', async () => {
    const { emulator, server } = await start('tokens_per_day: 100000, tenant: { tokens_per_day: 20 }', 4);
    const talking = await open(server, 'alice', 'acme');
    talking.send({ type: 'response.create' });
    await talking.next('response.output_audio.delta');
    const other = await open(server, 'bob', 'acme');
    await other.ask('hello');
    expect(await other.closed).toEqual({ code: 1008, reason: 'quota_exceeded' });
    // The other one has a part in advance; it learns at its next use.
    talking.send({ type: 'response.cancel' });
    expect((await talking.next('response.done')).response).toMatchObject({ status: 'cancelled' });
    expect(await talking.closed).toEqual({ code: 1008, reason: 'quota_exceeded' });
    expect(emulator.control.received.errors).toBe(0);
  });

  it('is spent also by answers whose end the client did not wait for', async () => {
    const { server } = await start('tokens_per_day: 20', 4);
    const client = await open(server);
    client.send({ type: 'response.create' });
    await client.next('response.output_audio.delta');
    await leave(server, client, 1);
    const record = await server.logged('session.usage');
    expect(record.total_tokens).toBeGreaterThan(20);
    await expect.poll(() => refusal(server).then(({ status }) => status)).toBe(429);
  });

  it('refuses nobody for what others hold and have not used, and everybody once it is used', async () => {
    const { server } = await start('tenant: { tokens_per_day: 20 }');
    const clients = await Promise.all(Array.from({ length: 40 }, (_, i) => open(server, `user-${i}`, 'acme')));
    expect(clients.flatMap(warnings)).toEqual([]);
    await clients[0]?.ask('hello');
    expect(await clients[0]?.closed).toEqual({ code: 1008, reason: 'quota_exceeded' });
    const { status, body } = await refusal(server, 'somebody', 'acme');
    expect([status, body.error.code]).toEqual([429, 'quota_exceeded']);
    await open(server, 'somebody', 'other');
  });

  it('comes back in full when a session ends that used nothing', async () => {
    const { server } = await start('tokens_per_day: 1, minutes_per_day: 10');
    for (let count = 1; count <= 3; count++) await leave(server, await open(server), count);
    expect(await (await open(server)).ask('hello')).toMatchObject({ status: 'completed' });
  });
});

describe('a budget of minutes', () => {
  it('quota_exceeded: ends the session in the middle of an answer, which is cancelled and whose end still comes', async () => {
    const { pass } = holdTime(new Date('2026-03-01T12:00:00Z'));
    const { emulator, server } = await start('minutes_per_day: 2', 4);
    const client = await open(server);
    await pass(60);
    expect(warnings(client)).toEqual([]);
    await pass(40);
    const warning = await client.next('relay.quota_warning');
    expect(warning).toMatchObject({ budget: 'minutes_per_day', limit: 2, resets_at: Date.parse('2026-03-02') / 1000 });
    expect(Number(warning.used)).toBeGreaterThanOrEqual(1.6);
    client.send({ type: 'response.create' });
    await client.next('response.output_audio.delta');
    await pass(30);
    expect((await client.next('response.done')).response).toMatchObject({
      status: 'cancelled',
      status_details: { reason: 'client_cancelled' },
    });
    const retry = { retryable: false, retry_after_ms: expect.any(Number) };
    expect(await endOf(server, client)).toEqual(end('quota_exceeded', 1008, 'relay', retry));
    const [cancel] = emulator.control.received.events('response.cancel');
    expect(cancel?.body.event_id).toMatch(/^rly_/);
    expect(await server.logged('session.usage')).toMatchObject({ responses: 1, complete: true });
  });

  it('is new at midnight UTC, for the session that is open, too', async () => {
    const { pass } = holdTime(new Date('2026-03-01T23:59:00Z'));
    const { server } = await start('minutes_per_day: 2');
    const client = await open(server);
    await pass(50);
    await pass(100);
    expect(await client.ask('still there?')).toMatchObject({ status: 'completed' });
    await leave(server, client, 1);
    expect(await (await open(server)).ask('and again?')).toMatchObject({ status: 'completed' });
  });
});
