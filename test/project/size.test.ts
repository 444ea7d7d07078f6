import { readdirSync } from 'node:fs';
import { expect, it } from 'vitest';
import { textOf } from './tables.js';

/** Lines that a file of code has at most. */
const most = 300;

/** What is longer, and by no line more than this; the list may only shrink. */
const longer: Readonly<Record<string, number>> = {
  'session/call.ts': 530,
  'session/session.ts': 576,
};

const lines = Object.fromEntries(
  readdirSync(new URL('../../src', import.meta.url), { recursive: true })
    .map((path) => String(path).replaceAll('\\', '/'))
    .filter((path) => /\.(ts|mjs|wat)$/.test(path))
    .map((path) => [path, textOf(`src/${path}`).split('\n').length - 1]),
);

it('every file of code has 300 lines at most, or is one of the few known to be longer', () => {
  expect(Object.keys(lines).length).toBeGreaterThan(100);
  const long = Object.entries(lines).filter(([path, count]) => count > (longer[path] ?? most));
  expect(long).toEqual([]);
});

it.each(Object.keys(longer))('%s is still longer; one that is not leaves the list', (path) => {
  expect(lines[path]).toBeGreaterThan(most);
});
