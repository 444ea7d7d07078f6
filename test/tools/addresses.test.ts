import { lookup as realLookup } from 'node:dns';
import { afterEach, expect, it, vi } from 'vitest';
import { toolSchema } from '../../src/policy/tools.js';
import { createJudge } from '../../src/tools/arguments.js';
import { createHttpRun } from '../../src/tools/http.js';
import { call, endpoint, ports, unending } from './support.js';

vi.mock('node:dns', async (original) => {
  const real = await original<typeof import('node:dns')>();
  return { ...real, lookup: vi.fn() };
});
const lookup = vi.mocked(realLookup);
afterEach(() => void lookup.mockReset());

/** Names resolve to these addresses. */
function resolveTo(...addresses: string[]): void {
  const found = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
  lookup.mockImplementation(((_name: string, _options: object, done: (error: null, found: object[]) => void) =>
    done(null, found)) as never);
}

async function run(url: string, mayBePrivate: boolean) {
  const tool = toolSchema.parse({ name: 'a', runs: 'http', http: { url, private: mayBePrivate }, timeout_seconds: 1 });
  if (tool.runs !== 'http') throw new Error('is none');
  const { outcome, error } = await createHttpRun(tool, createJudge(tool), ports())(call(), unending);
  return error?.kind ?? outcome;
}

it.each<[string[], string, string]>([
  [['127.0.0.1'], 'address', 'ok'],
  [['::ffff:127.0.0.1'], 'address', 'ok'],
  [['127.0.0.1', '10.1.2.3'], 'address', 'ok'],
  [['127.0.0.1', '169.254.169.254'], 'address', 'address'],
  [['169.254.169.254'], 'address', 'address'],
  [['168.63.129.16'], 'address', 'address'],
  [['fe80::1'], 'address', 'address'],
  [['fd00:ec2::254'], 'address', 'address'],
  [['::ffff:169.254.169.254'], 'address', 'address'],
  [['64:ff9b::a9fe:a9fe'], 'address', 'address'],
  [['0.0.0.0'], 'address', 'address'],
])('a name at %j ends as %s, and with private: true as %s', async (addresses, otherwise, privately) => {
  const { port } = await endpoint((_, response) => response.end('yes'));
  resolveTo(...addresses);
  const url = `http://orders.example:${port}/`;
  expect(await run(url, false)).toBe(otherwise);
  expect(await run(url, true)).toBe(privately);
});

it('localhost, and an address in the URL, are asked as they are written', async () => {
  const { port } = await endpoint((_, response) => response.end('yes'));
  resolveTo('127.0.0.1');
  expect(await run(`http://localhost:${port}/`, false)).toBe('ok');
  lookup.mockReset();
  expect(await run(`http://127.0.0.1:${port}/`, false)).toBe('ok');
  expect(await run('http://169.254.169.254/', true)).toBe('address');
  expect(lookup).not.toHaveBeenCalled();
});
