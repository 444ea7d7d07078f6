import { afterEach, describe, expect, it } from 'vitest';
import { connect, refused, type TestClient } from '../support/client.js';
import { arena, doorOf } from './arena.js';

const field = arena({ yaml: 'profiles: { default: {}, kiosk: { session: { instructions: CANARY } } }\n' });
afterEach(() => field.honestTurn());

const mint = async (token: string, body = '{}') => {
  const headers = { Authorization: `Bearer ${token}` };
  const response = await fetch(`${field.relay.url}/v1/realtime/client_secrets`, { method: 'POST', headers, body });
  return (await response.json()) as { value: string; session: object };
};
const enter = (credential: string) => connect(field.address + doorOf.ga, { headers: { 'api-key': credential } });
/** The sessions that came to be among these attempts, all of them greeted. */
async function entered(attempts: Promise<TestClient>[]): Promise<TestClient[]> {
  const settled = await Promise.allSettled(attempts);
  const clients = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  await Promise.all(clients.map((client) => client.next('session.created')));
  return clients;
}

describe('one credential in many hands', () => {
  it.each([1, 2, 3, 4, 5])('a client secret used by eight at once starts one session, round %i', async (round) => {
    const { dials } = field.wire;
    const { value } = await mint(field.token({ subject: `racer_${round}` }));
    const clients = await entered(Array.from({ length: 8 }, () => enter(value)));
    expect(clients).toHaveLength(1);
    expect(field.wire.dials).toBe(dials + 1);
    clients[0]?.ws.close();
    await clients[0]?.closed;
    expect((await refused(field.address + doorOf.ga, { headers: { 'api-key': value } })).status).toBe(401);
  });

  it('a token used by twenty at once starts as many sessions as its user may have', async () => {
    const { dials } = field.wire;
    const token = field.token({ subject: 'popular' });
    const clients = await entered(Array.from({ length: 20 }, () => enter(token)));
    expect(clients).toHaveLength(3);
    expect(field.wire.dials).toBe(dials + 3);
    const { status, headers, body } = await refused(field.address + doorOf.ga, { headers: { 'api-key': token } });
    expect(status).toBe(429);
    expect(body.error.code).toBe('rate_limited');
    expect(Number(headers['retry-after'])).toBeGreaterThan(0);
    const other = await enter(field.token({ subject: 'unpopular' }));
    await other.next('session.created');
    for (const client of [...clients, other]) client.ws.terminate();
  });

  it('other tokens and secrets of the same user share the limit', async () => {
    const tokens = Array.from({ length: 6 }, (_, i) => field.token({ subject: 'many', claims: { jti: `${i}` } }));
    const secrets = await Promise.all(tokens.map((token) => mint(token)));
    const clients = await entered([...tokens, ...secrets.map(({ value }) => value)].map(enter));
    expect(clients).toHaveLength(3);
    for (const client of clients) client.ws.terminate();
  });

  it('a client secret carries the profile of who minted it and shows nothing of it', async () => {
    const body = JSON.stringify({ session: { instructions: 'mine' }, profile: 'default', sub: 'root' });
    const minted = await mint(field.token({ subject: 'kid', profile: 'kiosk' }), body);
    expect(JSON.stringify(minted)).not.toContain('CANARY');
    const client = await enter(minted.value);
    await client.next('session.created');
    expect(field.wire.passages.at(-1)?.up[0]).toContain('CANARY');
    expect(client.raw.join()).not.toContain('CANARY');
    client.ws.terminate();
  });

  it('a client secret cannot mint another, and is still good for its session', async () => {
    const { value } = await mint(field.token({ subject: 'minter' }));
    const headers = { Authorization: `Bearer ${value}` };
    const response = await fetch(`${field.relay.url}/v1/realtime/client_secrets`, { method: 'POST', headers });
    expect(response.status).toBe(403);
    expect(await response.json()).toMatchObject({ error: { code: 'forbidden' } });
    const client = await enter(value);
    await client.next('session.created');
    client.ws.terminate();
  });

  it.each([
    'ek_',
    'ek_rly_',
    `ek_rly_${'A'.repeat(42)}`,
    `ek_rly_${'A'.repeat(44)}`,
    `ek_ek_rly_${'A'.repeat(43)}`,
    `EK_RLY_${'A'.repeat(43)}`,
    'rly_../../client_secret',
    'rly_*',
    'rly_client_secret:0',
  ])('a made-up client secret %s opens nothing', async (secret) => {
    const { dials } = field.wire;
    expect((await refused(field.address + doorOf.ga, { headers: { 'api-key': secret } })).status).toBe(401);
    expect(field.wire.dials).toBe(dials);
  });

  it('is in no log line, in no metric and not upstream, wherever it was put', async () => {
    const token = field.token({ subject: 'logged' });
    const { value } = await mint(token);
    const signature = token.split('.')[2] as string;
    const query = await connect(`${field.address}${doorOf.ga}&api-key=${token}&Authorization=Bearer%20${token}`);
    await query.next('session.created');
    const protocol = await connect(field.address + doorOf.ga, {
      protocols: ['realtime', `openai-insecure-api-key.${value}`],
    });
    await protocol.next('session.created');
    await refused(`${field.address}${doorOf.ga}&api-key=${token}x`);
    await refused(`${field.address}/nowhere?api-key=${token}`);
    await refused(`${field.address}/${token}`);
    await fetch(`${field.relay.url}/v1/realtime/client_secrets?api-key=${token}x`, { method: 'POST' });
    await fetch(`${field.relay.url}/${value}?api-key=${token}`);
    const upstream = JSON.stringify(field.wire.passages.slice(-2));
    for (const place of [field.log.join(''), await field.metrics(), upstream, query.raw.join(), protocol.raw.join()]) {
      for (const word of [signature, value, value.slice(3)]) expect(place).not.toContain(word);
    }
    for (const client of [query, protocol]) client.ws.terminate();
  });
});
