import { readdirSync } from 'node:fs';
import { expect, it } from 'vitest';
import { textOf } from './tables.js';

/** Lines that a file of code has at most. */
const most = 300;

const lines = Object.fromEntries(
  readdirSync(new URL('../../src', import.meta.url), { recursive: true })
    .map((path) => String(path).replaceAll('\\', '/'))
    .filter((path) => /\.(ts|mjs|wat)$/.test(path))
    .map((path) => [path, textOf(`src/${path}`).split('\n').length - 1]),
);

it('every file of code has 300 lines at most', () => {
  expect(Object.keys(lines).length).toBeGreaterThan(100);
  expect(Object.entries(lines).filter(([, count]) => count > most)).toEqual([]);
});
