import { describe, expect, it } from 'vitest';
import { connect as dial, refused, type ServerEvent, type TestClient } from '../support/client.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';

const page = 'https://shop.test';
const yaml = (terms = '', more = '') => `
profiles:
  default: {}
  shop:
    session: { instructions: "Sell shoes." }
    anonymous: { origins: ["${page}", "https://www.shop.test"]${terms} }
    ${more}
`;

async function relayWith(terms = '', more = '', env: Record<string, string> = {}): Promise<TestRelay> {
  const emulator = await startTestEmulator({ speed: Number.POSITIVE_INFINITY });
  return startTestRelay({ upstream: emulator.url, yaml: yaml(terms, more), env });
}

const visit = ({ address }: TestRelay, path = '/realtime', options: object = {}) =>
  dial(`${address}${path}`, { origin: page, ...options });

/** The error that a page is told on its open socket, and how that is closed. */
async function told(client: TestClient): Promise<{ code: unknown; message: string; close: number }> {
  const { error } = (await client.next('error')) as ServerEvent & { error: { code: string; message: string } };
  return { code: error.code, message: error.message, close: (await client.closed).code };
}

describe('a visitor of a page without a credential', () => {
  it.each(['/realtime', '/v1/realtime', '/openai/v1/realtime', '/openai/realtime'])(
    'gets the profile of the page on %s',
    async (path) => {
      const emulator = await startTestEmulator();
      const relay = await startTestRelay({ upstream: emulator.url, yaml: yaml() });
      const client = await visit(relay, path);
      await client.next('session.created');
      const [update] = emulator.control.received.events('session.update');
      expect(update?.body.session).toMatchObject({ instructions: 'Sell shoes.' });
      expect(await relay.logged('session.opened')).toMatchObject({ subject: 'anonymous', profile: 'shop' });
      client.ws.close();
    },
  );

  it.each([
    ['of another page', { origin: 'https://evil.test' }],
    ['of a page of a like name', { origin: 'https://shop.test.evil.test' }],
    ['of a page below', { origin: 'https://a.shop.test' }],
    ['of a page of another scheme', { origin: 'http://shop.test' }],
    ['of a page that is null', { origin: 'null' }],
  ])('%s is forbidden', async (_name, options) => {
    const { address } = await relayWith();
    expect((await refused(`${address}/realtime`, options)).body.error.code).toBe('forbidden');
  });

  it('who names no page is unauthorized, and who names a session to observe is forbidden', async () => {
    const relay = await relayWith();
    expect((await refused(`${relay.address}/realtime`)).status).toBe(401);
    expect((await told(await visit(relay, '/realtime?call_id=sess_1'))).code).toBe('forbidden');
  });

  it.each([
    ['made up', { headers: { 'api-key': 'made.up.token' } }],
    ['empty but there', { headers: { Authorization: 'Basic dTpw' } }],
    ['in the subprotocol', { protocols: ['realtime', 'openai-insecure-api-key.nonsense'] }],
  ])('who sends a credential that is bad (%s) is unauthorized, and not anonymous', async (_name, options) => {
    expect(await told(await visit(await relayWith(), '/realtime', options))).toMatchObject({ code: 'unauthorized' });
  });

  it('is there for no other profile, and for its own with a token', async () => {
    const relay = await relayWith();
    const as = (profile: string) => ({ headers: { Authorization: `Bearer ${relay.token({ profile })}` } });
    expect(await told(await visit(relay, '/realtime', as('default')))).toMatchObject({ code: 'forbidden' });
    await (await visit(relay, '/realtime', as('shop'))).next('session.created');
    expect(await relay.logged('session.opened')).toMatchObject({ subject: 'alice', profile: 'shop' });
  });

  it('comes in from the moment the file says so, and no longer when it does not', async () => {
    const emulator = await startTestEmulator();
    const relay = await startTestRelay({ upstream: emulator.url, yaml: 'profiles: { default: {} }' });
    expect((await refused(`${relay.address}/realtime`, { origin: page })).status).toBe(403);
    relay.rewrite(yaml());
    relay.relay.reload();
    await relay.logged('config.reloaded');
    const client = await visit(relay);
    await client.next('session.created');
    relay.rewrite('profiles: { default: {} }');
    relay.relay.reload();
    await relay.logged('config.reloaded', 2);
    expect((await refused(`${relay.address}/realtime`, { origin: page })).status).toBe(403);
    expect(await client.ask('still here')).toMatchObject({ status: 'completed' });
  });

  it('of no named page is unauthorized also where every page may connect with a credential', async () => {
    const relay = await relayWith('', '', { RELAY_ALLOWED_ORIGINS: '*' });
    const other = await dial(`${relay.address}/realtime`, { origin: 'https://other.test' });
    expect((await told(other)).code).toBe('unauthorized');
    await (await visit(relay)).next('session.created');
  });

  it('gets no client secret and no call', async () => {
    const { relay } = await relayWith();
    for (const path of ['/v1/realtime/client_secrets', '/v1/realtime/calls']) {
      const answer = await fetch(`${relay.url}${path}`, { method: 'POST', headers: { origin: page }, body: '{}' });
      expect([401, 403]).toContain(answer.status);
    }
  });
});

describe('the limits of visitors', () => {
  const proxied = { more: '\ntrusted_proxies: 1' };
  const from = (address: string) => ({ headers: { 'X-Forwarded-For': address } });

  it('rate_limited: all of a page together have so many sessions, whatever a user may have', async () => {
    const relay = await relayWith(', sessions: 3', `limits: { sessions_per_user: 1 }${proxied.more}`);
    const clients: TestClient[] = [];
    for (let count = 0; count < 3; count++) {
      const client = await visit(relay, '/realtime', from(`198.51.100.${count}`));
      await client.next('session.created');
      clients.push(client);
    }
    expect(await told(await visit(relay, '/realtime', from('198.51.100.9')))).toMatchObject({ code: 'rate_limited' });
    clients[0]?.ws.close();
    await relay.logged('session.ended');
    await (await visit(relay, '/realtime', from('198.51.100.9'))).next('session.created');
    await (await relay.connect()).next('session.created');
  });

  it('rate_limited: one address has two of them, and shuts nobody else out', async () => {
    const relay = await relayWith('', proxied.more);
    for (let count = 0; count < 2; count++) {
      await (await visit(relay, '/realtime', from('198.51.100.1'))).next('session.created');
    }
    const third = await told(await visit(relay, '/realtime', from('198.51.100.1')));
    expect(third).toMatchObject({ code: 'rate_limited', message: expect.stringContaining('address') });
    await (await visit(relay, '/realtime', from('198.51.100.2'))).next('session.created');
  });

  it('rate_limited: they connect so often from one address', async () => {
    const limits = 'limits: { connects_per_second: 0.01, connects_burst: 2 }';
    const relay = await relayWith('', `${limits}${proxied.more}`);
    for (let count = 0; count < 2; count++) {
      const client = await visit(relay, '/realtime', from('198.51.100.1'));
      await client.next('session.created');
      client.ws.close();
      await relay.logged('session.ended', count + 1);
    }
    expect(await told(await visit(relay, '/realtime', from('198.51.100.1')))).toMatchObject({
      code: 'rate_limited',
      message: expect.stringContaining('too often'),
    });
    await (await visit(relay, '/realtime', from('198.51.100.2'))).next('session.created');
  });

  it('session_expired: a session of theirs lasts as long as the page allows', async () => {
    const relay = await relayWith(', session_seconds: 1');
    const client = await visit(relay);
    const created = await client.next('session.created');
    const { expires_at } = created.session as { expires_at: number };
    expect(expires_at - Date.now() / 1000).toBeLessThan(2);
    await client.closed;
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'session_expired' });
    const user = await relay.connect({ token: relay.token({ profile: 'shop' }) });
    const { session } = (await user.next('session.created')) as ServerEvent & { session: { expires_at: number } };
    expect(session.expires_at - Date.now() / 1000).toBeGreaterThan(60);
  });

  it('quota_exceeded: the day counts all of them as one user', async () => {
    const relay = await relayWith('', `limits: { sessions_per_day: 1 }${proxied.more}`);
    const client = await visit(relay, '/realtime', from('198.51.100.1'));
    await client.next('session.created');
    expect((await told(await visit(relay, '/realtime', from('198.51.100.2')))).code).toBe('quota_exceeded');
  });
});

describe('what is spoken on /realtime', () => {
  const dialectOf = async (client: TestClient) => {
    const { session } = (await client.next('session.created')) as ServerEvent & { session: object };
    return 'modalities' in session ? 'preview' : 'ga';
  };

  it.each([
    ['without a credential', '/realtime', {}, 'preview'],
    ['with a slash at its end', '/realtime/', {}, 'preview'],
    ['that asks for it', '/realtime?dialect=ga', {}, 'ga'],
    ['with the subprotocol of GA', '/realtime', { protocols: ['realtime'] }, 'ga'],
    ['with that of preview', '/realtime', { protocols: ['realtime', 'openai-beta.realtime-v1'] }, 'preview'],
    ['on the other door', '/v1/realtime', {}, 'ga'],
  ])('by a page %s', async (_name, path, options, dialect) => {
    expect(await dialectOf(await visit(await relayWith(), path, options))).toBe(dialect);
  });

  it.each([
    ['an SDK with a token', {}, 'ga'],
    ['an SDK of preview', { 'OpenAI-Beta': 'realtime=v1' }, 'preview'],
  ])('by %s', async (_name, headers, dialect) => {
    const relay = await relayWith();
    expect(await dialectOf(await relay.connect({ path: '/realtime?model=gpt-realtime', headers }))).toBe(dialect);
  });

  it('by a page with a cookie', async () => {
    const emulator = await startTestEmulator();
    const relay = await startTestRelay({
      upstream: emulator.url,
      yaml: 'auth: { cookie: rt_token }',
      env: { RELAY_ALLOWED_ORIGINS: page },
    });
    const headers = { cookie: `theme=dark; rt_token=${relay.token()}` };
    expect(await dialectOf(await visit(relay, '/realtime', { headers }))).toBe('preview');
  });
});
