/** Which version of the product this is: what its package says. */

import { readFileSync } from 'node:fs';

const manifest: { version: string } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));

/** Such as `1.2.3`. */
export const version = manifest.version;
