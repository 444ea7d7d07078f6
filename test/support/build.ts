/** Builds the relay before the tests that start it as a process of its own, unless what was built last is newer than its sources. */

import { execFileSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TestProject } from 'vitest/node';

const root = fileURLToPath(new URL('../../', import.meta.url));
const sources = ['src', 'package.json', 'tsconfig.json', 'tsconfig.build.json', 'tsconfig.client.json'];
/** What `npm run build` writes last. */
const last = join(root, 'dist/console/icon.svg');

/** When this file, or anything in this folder, was last changed, added or removed; 0 when there is none. */
function changed(path: string): number {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found?.isDirectory()) return found?.mtimeMs ?? 0;
  return readdirSync(path).reduce((latest, name) => Math.max(latest, changed(join(path, name))), found.mtimeMs);
}

function build(): void {
  if (Math.max(...sources.map((path) => changed(join(root, path)))) < changed(last)) return;
  try {
    execFileSync('npm', ['run', '--silent', 'build'], { cwd: root, encoding: 'utf8', stdio: 'pipe' });
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`the relay cannot be built, so nothing is tested:\n${stdout}${stderr}`, { cause: error });
  }
}

export default function setup(project: TestProject): void {
  build();
  project.onTestsRerun(async () => build());
}
