import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { createCredential, createTokenCache } from '../../src/upstream/entra.js';
import { type Identity, startIdentity } from '../support/identity.js';

type Line = { label: string; ready: boolean; lastError: string | null; acquired: number; tokens?: string[] };

/** Tears down after the one test it belongs to, of several that run at the same time. */
type Finish = (teardown: () => void | Promise<void>) => void;

async function identity(onTestFinished: Finish, lifetimeSeconds?: number): Promise<Identity> {
  const service = await startIdentity(lifetimeSeconds === undefined ? {} : { lifetimeSeconds });
  onTestFinished(() => service.close());
  return service;
}

/** Runs the process with only the given Azure settings; `lines` are what it reports, as they come. */
function run(onTestFinished: Finish, env: Record<string, string>, ...args: string[]) {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(AZURE|IDENTITY|MSI)_/.test(name));
  const child: ChildProcessByStdio<null, Readable, Readable> = spawn('node', ['test/upstream/azure.mjs', ...args], {
    env: { ...Object.fromEntries(inherited), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  let errors = '';
  child.stderr.on('data', (chunk) => {
    errors += chunk;
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    exited: once(child, 'exit').then(([code]) => ({ code, errors })),
    async line(): Promise<Line> {
      const { value, done } = await lines.next();
      if (done) throw new Error(`The process ended: ${errors}`);
      return JSON.parse(value);
    },
  };
}

describe.concurrent('the Azure credential', () => {
  it('of a container app gives one token for a thousand calls, for the scope and identity of the settings', async ({
    onTestFinished,
  }) => {
    const service = await identity(onTestFinished);
    const relay = run(onTestFinished, service.env, 'my-client-id');
    expect(await relay.line()).toMatchObject({ label: 'first', tokens: service.tokens, ready: true });
    expect((await relay.exited).code).toBe(0);
    expect(service.requests).toMatchObject([
      { path: '/msi/token', resource: 'https://cognitiveservices.azure.com', clientId: 'my-client-id' },
    ]);
  });

  it('of a virtual machine works too', async ({ onTestFinished }) => {
    const service = await identity(onTestFinished);
    const relay = run(onTestFinished, { AZURE_POD_IDENTITY_AUTHORITY_HOST: service.url }, '');
    expect(await relay.line()).toMatchObject({ label: 'first', tokens: service.tokens });
    expect(service.requests).toMatchObject([{ path: '/metadata/identity/oauth2/token/', clientId: null }]);
  });

  it('is renewed early, and the process survives an outage until after the token has run out', async ({
    onTestFinished,
  }) => {
    const service = await identity(onTestFinished, 2);
    // Only this one of the chain: the others start command-line tools, which takes seconds.
    const env = { ...service.env, AZURE_TOKEN_CREDENTIALS: 'ManagedIdentityCredential' };
    const relay = run(onTestFinished, env, '', '30', 'linger');
    expect(await relay.line()).toMatchObject({ label: 'first', acquired: 1 });
    expect(await relay.line()).toMatchObject({ label: 'renewed', acquired: 2 });
    service.fail('refuses');
    let line = await relay.line();
    if (line.label === 'renewed') line = await relay.line();
    expect(line).toMatchObject({ label: 'lost', ready: false, lastError: expect.stringContaining('Error') });
    // It goes on trying in the background for a while, which is when an unhandled rejection would end it.
    expect(await relay.exited).toEqual({ code: 0, errors: '' });
  });

  it('gives the same token after a refusal when it is a managed identity, which the relay then knows', async ({
    onTestFinished,
  }) => {
    const service = await identity(onTestFinished);
    const saved = { ...process.env };
    Object.assign(process.env, service.env);
    onTestFinished(() => {
      for (const name of Object.keys(service.env)) delete process.env[name];
      Object.assign(process.env, saved);
    });
    const cache = createTokenCache({
      credential: createCredential({ clientId: 'another' }),
      scope: 'https://x/.default',
    });
    onTestFinished(() => cache.close());
    const token = await cache.token();
    expect(await cache.refresh(token)).toBe(token);
  });
});
