import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import type { TokenEvent } from '../../src/upstream/entra.js';
import { createScopes } from '../../src/upstream/scoped.js';
import { type Identity, startIdentity } from '../support/identity.js';

/** Managed identity keeps its service and its tokens for as long as the process lives: each test has scopes of its own. */
let identity: Identity;
let count = 0;
const newScope = () => `api://scope-${++count}/.default`;
const asked = () => identity.requests.map(({ resource }) => `${resource}/.default`);

beforeAll(async () => {
  identity = await startIdentity();
  Object.assign(process.env, identity.env);
});
afterAll(async () => {
  for (const name of Object.keys(identity.env)) delete process.env[name];
  await identity.close();
});

function start() {
  const events: [string, TokenEvent['kind']][] = [];
  const scopes = createScopes({ clientId: null, instanceDiscovery: true }, (scope, { kind }) =>
    events.push([scope, kind]),
  );
  onTestFinished(() => scopes.close());
  return { scopes, events, one: newScope(), other: newScope() };
}

it('each scope has a token of its own, which is kept', async () => {
  const { scopes, events, one, other } = start();
  const first = await scopes.token(one);
  expect(await scopes.token(one)).toBe(first);
  expect(await scopes.token(other)).not.toBe(first);
  expect(asked()).toEqual([one, other]);
  expect(events).toEqual([
    [one, 'acquired'],
    [other, 'acquired'],
  ]);
});

it('tokens are there before they are needed, and a scope that is not wanted any more still has one for who asks', async () => {
  const { scopes, events, one, other } = start();
  scopes.want(new Set([one]));
  await expect.poll(() => events).toEqual([[one, 'acquired']]);
  await scopes.token(one);
  expect(asked().filter((scope) => scope === one)).toHaveLength(1);
  scopes.want(new Set([other]));
  await expect.poll(() => events.at(-1)).toEqual([other, 'acquired']);
  expect(await scopes.token(one)).toBe(identity.tokens.at(-2));
});

it('an identity that is refused is told of, and rejects', async () => {
  const { scopes, events, one } = start();
  identity.fail('refuses');
  await expect(scopes.token(one)).rejects.toMatchObject({ id: 'upstream_unavailable' });
  expect(events).toEqual([[one, 'failed']]);
});
