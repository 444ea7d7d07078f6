import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { signToken } from '../../src/auth/token.js';
import { connect, refused } from '../support/client.js';
import { startIdentity } from '../support/identity.js';
import { relayEnv, serve } from '../support/process.js';
import { jwt, startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { startUpstream } from '../support/upstream.js';

interface File {
  upstreams: Record<string, string>;
  instructions?: string;
  profiles?: string;
  limits?: string;
}

function yaml({ upstreams, instructions = 'first words', profiles = '', limits = '' }: File): string {
  const list = Object.entries(upstreams).map(
    ([name, url]) => `  - { name: ${name}, endpoint: "${url}", deployment: gpt-realtime, api_key: emulator-key }`,
  );
  const lines = ['upstreams:', ...list, 'profiles:', `  default: { session: { instructions: "${instructions}" } }`];
  return [...lines, profiles, `limits: { ${limits} }`].filter(Boolean).join('\n');
}

async function start(file: File): Promise<TestRelay> {
  return startTestRelay({ upstream: 'http://127.0.0.1:1', yaml: yaml(file) });
}

describe('a file that is read again', () => {
  it('gives new sessions the new profile, and leaves a running one as it is', async () => {
    const emulator = await startTestEmulator();
    const upstreams = { one: emulator.url };
    const test = await start({ upstreams });
    const running = await test.connect();
    await running.next('session.created');

    const profiles = '  sales: { session: { instructions: third words } }';
    test.rewrite(yaml({ upstreams, instructions: 'second words', profiles }));
    test.relay.reload();
    expect(await test.logged('config.reloaded')).toMatchObject({
      level: 'info',
      added: ['profiles.sales'],
      removed: [],
      changed: ['profiles.default'],
      restart: [],
    });
    expect(await running.ask('still there?')).toMatchObject({ status: 'completed' });
    const later = await test.connect();
    await later.next('session.created');
    await (await test.connect({ token: test.token({ profile: 'sales' }) })).next('session.created');
    const sent = emulator.control.received.events('session.update').map(({ body }) => JSON.stringify(body.session));
    expect(sent.map((text) => /(\w+) words/.exec(text)?.[1])).toEqual(['first', 'second', 'third']);
    expect(JSON.stringify(test.log)).not.toMatch(/(first|second|third) words/);
  });

  it('sends new sessions to the new upstreams while those on an old one go on', async () => {
    const [old, next] = [await startTestEmulator(), await startTestEmulator()];
    const test = await start({ upstreams: { old: old.url } });
    const running = await test.connect();
    await running.next('session.created');
    test.rewrite(yaml({ upstreams: { next: next.url } }));
    test.relay.reload();
    expect(await test.logged('config.reloaded')).toMatchObject({
      added: ['upstreams.next'],
      removed: ['upstreams.old'],
    });
    const later = await test.connect();
    await later.next('session.created');
    expect(await test.logged('session.opened', 2)).toMatchObject({ upstream: 'next' });
    expect(await running.ask('still there?')).toMatchObject({ status: 'completed' });
    expect([old.control.received.connections.length, next.control.received.connections.length]).toEqual([1, 1]);
  });

  it('lets a dial that is under way arrive where it was going', async () => {
    let answer = (): void => undefined;
    const until = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const slow = await startUpstream({ until });
    const next = await startTestEmulator();
    const test = await start({ upstreams: { slow: slow.url } });
    const client = await test.connect();
    test.rewrite(yaml({ upstreams: { next: next.url } }));
    test.relay.reload();
    await test.logged('config.reloaded');
    answer();
    await client.next('session.created');
    expect(await test.logged('session.opened')).toMatchObject({ upstream: 'slow' });
  });

  it('tells a new order of the same upstreams', async () => {
    const emulator = await startTestEmulator();
    const test = await start({ upstreams: { a: emulator.url, b: emulator.url } });
    test.rewrite(yaml({ upstreams: { b: emulator.url, a: emulator.url } }));
    test.relay.reload();
    expect(await test.logged('config.reloaded')).toMatchObject({ changed: ['upstreams'] });
    await (await test.connect()).next('session.created');
    expect(await test.logged('session.opened')).toMatchObject({ upstream: 'b' });
  });

  it('limits the sessions that come after it, and ends none of those there are', async () => {
    const emulator = await startTestEmulator();
    const upstreams = { one: emulator.url };
    const test = await start({ upstreams });
    const clients = [await test.connect(), await test.connect()];
    for (const client of clients) await client.next('session.created');
    test.rewrite(yaml({ upstreams, limits: 'sessions: 1' }));
    test.relay.reload();
    expect(await test.logged('config.reloaded')).toMatchObject({ changed: ['limits.sessions'] });
    const door = `${test.address}/v1/realtime`;
    const headers = { Authorization: `Bearer ${test.token({ subject: 'bob' })}` };
    expect((await refused(door, { headers })).body.error.code).toBe('overloaded');
    expect(await clients[0]?.ask('still there?')).toMatchObject({ status: 'completed' });
    for (const client of clients) client.ws.close(1000);
    await test.logged('session.ended', 2);
    await (await test.connect({ token: test.token({ subject: 'bob' }) })).next('session.created');
  });

  it('is noticed without being told', async () => {
    const emulator = await startTestEmulator();
    const upstreams = { one: emulator.url };
    const test = await start({ upstreams });
    test.rewrite(yaml({ upstreams, instructions: 'second words' }));
    expect(await test.logged('config.reloaded')).toMatchObject({ changed: ['profiles.default'] });
  });

  it('changes nothing when it says the same', async () => {
    const test = await start({ upstreams: { one: 'http://127.0.0.1:1' } });
    test.relay.reload();
    expect(await test.logged('config.unchanged')).toMatchObject({ level: 'info' });
  });
});

describe('a file that cannot be used', () => {
  it.each([
    ['is not YAML', 'upstreams: [', /relay\.yaml:\d+/],
    ['has a typo', 'limits: { session: 3 }', /relay\.yaml:1: limits\.session: not a setting/],
    [
      'names a variable that is not set',
      `profiles: { default: { session: { instructions: "\${NOT_SET_X}" } } }`,
      /NOT_SET_X/,
    ],
    [
      'has a key no header can carry',
      yaml({ upstreams: { one: 'http://127.0.0.1:1' } }).replace('emulator-key', '"a b"'),
      /upstream one/,
    ],
  ])('%s: the old one stays, and the log says what is wrong', async (_, text, problem) => {
    const emulator = await startTestEmulator();
    const test = await start({ upstreams: { one: emulator.url } });
    test.rewrite(text);
    test.relay.reload();
    const { level, problems } = await test.logged('config.rejected');
    expect(level).toBe('error');
    expect((problems as string[]).join('\n')).toMatch(problem);
    await (await test.connect()).next('session.created');
    expect(test.log.filter(({ msg }) => msg === 'config.reloaded')).toEqual([]);
  });
});

describe('SIGHUP', () => {
  function writer() {
    const folder = mkdtempSync(join(tmpdir(), 'relay-reload-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, 'relay.yaml');
    return { path, write: (text: string) => writeFileSync(path, text) };
  }

  /** A relay with tokens from a local identity service, and a way to make it dial with another scope. */
  async function start(lifetimeSeconds: number) {
    const identity = await startIdentity({ lifetimeSeconds });
    onTestFinished(() => identity.close());
    const emulator = await startTestEmulator();
    const { path, write } = writer();
    const file = (name: string, scope: string) =>
      `upstreams: [{ name: ${name}, endpoint: "${emulator.url}", deployment: gpt-realtime, scope: "https://${scope}/.default" }]`;
    write(file('first', 'a.test'));
    const { AZURE_OPENAI_API_KEY: _, ...env } = relayEnv(emulator.url, { RELAY_CONFIG: path, ...identity.env });
    const relay = await serve(env);
    const asked = (scope: string) => identity.requests.filter(({ resource }) => resource?.includes(scope)).length;
    await vi.waitFor(() => expect(asked('a.test')).toBeGreaterThan(0), { timeout: 5000 });
    const change = async (name: string, scope: string) => {
      write(file(name, scope));
      relay.child.kill('SIGHUP');
      await relay.line((line) => line.includes(`"upstreams.${name}"`));
    };
    return { relay, asked, change };
  }

  it('reloads, and keeps the tokens of a scope that stays', async () => {
    const { relay, asked, change } = await start(24 * 3600);
    await change('second', 'a.test');
    await change('third', 'b.test');
    await vi.waitFor(() => expect(asked('b.test')).toBe(1), { timeout: 5000 });
    expect(asked('a.test')).toBe(1);
    const token = /^relay_entra_token_expiry_seconds\{upstream="(\w+)"\} \d/gm;
    await vi.waitFor(async () => {
      const metrics = await (await fetch(`${relay.ops}/metrics`)).text();
      expect([...metrics.matchAll(token)].map(([, name]) => name)).toEqual(['third']);
    });
  });

  it('lets go of the tokens of a scope that nobody needs any more', async () => {
    const { asked, change } = await start(2);
    await change('second', 'b.test');
    const before = asked('a.test');
    // Tokens of two seconds are renewed every second for as long as somebody holds their cache; one may be under way.
    await vi.waitFor(() => expect(asked('b.test')).toBeGreaterThan(4), { timeout: 12_000 });
    expect(asked('a.test')).toBeLessThanOrEqual(before + 1);
  });

  it('does not end a relay that has no file', async () => {
    const emulator = await startTestEmulator();
    const relay = await serve(relayEnv(emulator.url));
    relay.child.kill('SIGHUP');
    await relay.line((line) => line.includes('config.unchanged'));
    const headers = { Authorization: `Bearer ${signToken({ ...jwt, subject: 'ada', ttlSeconds: 60 })}` };
    const client = await connect(`${relay.url.replace('http', 'ws')}/v1/realtime`, { headers });
    await client.next('session.created');
  });
});
