import { describe, expect, it } from 'vitest';
import { hasRedis, startRedis } from '../support/redis.js';
import { startReplicas } from '../support/replicas.js';
import { ReturningClient } from '../support/returning.js';

const redis = hasRedis ? await startRedis() : null;

describe.skipIf(!redis)('a client that comes back at another replica', () => {
  const server = redis as NonNullable<typeof redis>;

  it('goes on with its session, which stays where it is', async () => {
    const { relays } = await startReplicas(server);
    const [a, b] = relays;
    const one = await ReturningClient.start({ address: a.address, token: a.token() });
    await one.client.ask('One');
    one.client.ws.terminate();
    expect(await one.resume(b.address)).toMatchObject({ type: 'relay.resumed' });
    for (const text of ['Two', 'Three']) expect((await one.client.ask(text)).status).toBe('completed');
    one.client.ws.close(1000);
    expect(await a.logged('session.ended')).toMatchObject({ reason: 'normal', turns: 3 });
    expect(b.log.some(({ msg }) => msg === 'session.opened')).toBe(false);
  });

  it('gets a session of its own where nothing is known of the old one, also while a replica does not answer', async () => {
    const { relays, prefix } = await startReplicas(server);
    const [a, b] = relays;
    const one = await ReturningClient.start({ address: a.address, token: a.token() });
    await server.command('ZADD', `${prefix}{rev}:r`, String(Date.now() + 15_000), 'one-that-was-killed');
    one.client.ws.close(1000);
    await a.logged('session.ended');
    expect(await one.resume(b.address)).toMatchObject({ type: 'session.created' });
  });
});
