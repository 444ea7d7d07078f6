import { writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { openApiText } from '../../src/doors/openapi.js';
import { textOf } from './tables.js';

it('docs/openapi.json is what the relay serves (WRITE_TABLES=1 rewrites it)', () => {
  if (process.env.WRITE_TABLES) writeFileSync(new URL('../../docs/openapi.json', import.meta.url), openApiText());
  expect(textOf('docs/openapi.json')).toBe(openApiText());
});
