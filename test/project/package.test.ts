/** What is published: packed as a release packs it, installed into an empty folder, and used from there. */

import { execFile, execFileSync, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { textOf } from './tables.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const manifest = JSON.parse(textOf('package.json'));
const execute = promisify(execFile);
const unreachable = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ENOTCACHED|ETIMEDOUT|network/;

/** What a release needs of the repository. */
const wanted = ['package.json', 'package-lock.json', 'LICENSE', 'src', ...manifest.files];
const places = mkdtempSync(join(tmpdir(), 'relay-package-'));
const source = join(places, 'source');
const app = join(places, 'app');
let paths: string[] = [];
/** Why nothing could be installed; null where it was. */
let missing: string | null = null;

afterAll(() => rmSync(places, { recursive: true, force: true }));

beforeAll(async () => {
  mkdirSync(source);
  mkdirSync(app);
  const settings = readdirSync(root).filter((name) => /^tsconfig.*\.json$/.test(name));
  for (const name of [...wanted, ...settings].filter((entry) => entry !== 'dist')) {
    cpSync(join(root, name), join(source, name), { recursive: true });
  }
  symlinkSync(join(root, 'node_modules'), join(source, 'node_modules'));
  // What a build of long ago has left there must not be published.
  mkdirSync(join(source, 'dist'));
  writeFileSync(join(source, 'dist/gone.js'), '');
  // What the scripts print comes before it.
  const { stdout } = await execute('npm', ['pack', '--json', '--pack-destination', places], { cwd: source });
  const [packed] = JSON.parse(stdout.slice(stdout.indexOf('[\n'))) as [{ files: { path: string }[]; filename: string }];
  paths = packed.files.map(({ path }) => path);
  writeFileSync(join(app, 'package.json'), '{ "name": "app", "private": true, "type": "module" }');
  try {
    const tarball = join(places, packed.filename);
    await execute('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', tarball], { cwd: app });
  } catch (error) {
    const { stderr } = error as { stderr: string };
    if (process.env.CI || !unreachable.test(stderr)) throw error;
    missing = stderr;
  }
}, 180_000);

/** Skips where this machine cannot reach a registry; never where `CI` is set. */
const installed = (name: string, test: () => Promise<void> | void) =>
  it(name, { timeout: 60_000 }, async ({ skip }) => {
    skip(missing !== null, 'no package registry is within reach, and not everything needed is cached');
    await test();
  });

describe('the package', () => {
  it('contains the program, its assets and its documents, and no tests', () => {
    const some = ['dist/cli.js', 'dist/relay.js', 'dist/console/index.html', 'assets/speech/speech.json', 'README.md'];
    expect(paths).toEqual(expect.arrayContaining([...some, 'docs/README.md', 'PROTOCOL.md', 'LICENSE']));
    const known =
      /^(dist|assets|docs|deploy)\/|^[A-Z]+(\.md)?$|^(package|config\.schema)\.json$|^relay\.example\.yaml$/;
    expect(paths.filter((path) => !known.test(path))).toEqual([]);
  });

  it('contains nothing of an earlier build', () => {
    expect(paths).not.toContain('dist/gone.js');
  });

  it('says where it comes from', () => {
    const { repository, bugs, homepage, engines } = manifest;
    const url = repository.url.replace(/^git\+|\.git$/g, '');
    expect(url).toMatch(/^https:\/\/github\.com\/[\w-]+\/[\w-]+$/);
    expect([bugs, homepage]).toEqual([`${url}/issues`, `${url}#readme`]);
    expect(engines.node).toBe('>=20.19');
  });

  installed('brings nothing along that only a developer of it needs', () => {
    for (const name of ['werift', 'typescript', 'tsx', 'vitest', 'esbuild']) {
      expect(existsSync(join(app, 'node_modules', name)), name).toBe(false);
    }
  });

  installed('runs by its name', async () => {
    const { stdout } = await execute('npx', ['realtime-relay', '--version'], { cwd: app });
    expect(stdout.trim()).toBe(manifest.version);
  });

  installed('shows itself with one command', async () => {
    const demo = spawn('npx', ['realtime-relay', 'demo'], {
      cwd: app,
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    // npx, a shell, and the program: all of them are this test's.
    onTestFinished(() => void process.kill(-(demo.pid as number), 'SIGKILL'));
    const lines: string[] = [];
    for await (const line of createInterface({ input: demo.stdout })) {
      lines.push(line);
      if (line.startsWith('Everything stays up')) break;
    }
    const said = lines.join('\n');
    expect(said).toContain('npx realtime-relay talk');
    const address = /console +(\S+)/.exec(said)?.[1] ?? '';
    expect(await (await fetch(address)).text()).toContain('Realtime Relay console');
  });

  installed('is imported: the client', async () => {
    writeFileSync(
      join(app, 'client.js'),
      `import { RelayClient } from 'realtime-relay/client';
console.log(typeof new RelayClient({ url: 'http://127.0.0.1', token: () => 'none' }).connect);
`,
    );
    const { stdout } = await execute(process.execPath, ['client.js'], { cwd: app });
    expect(stdout.trim()).toBe('function');
  });

  installed('is imported: the emulator, as its page says', async () => {
    const [, script = ''] = /```js\n(.*?)```/s.exec(textOf('docs/emulator.md')) ?? [];
    writeFileSync(join(app, 'emulator.js'), script);
    const { stdout } = await execute(process.execPath, ['emulator.js'], { cwd: app });
    expect(stdout.trim()).toBe('0');
  });

  installed('has types for both', () => {
    writeFileSync(
      join(app, 'use.ts'),
      `import { RelayClient, type Transcript } from 'realtime-relay/client';
import { type Emulator, startEmulator } from 'realtime-relay/emulator';
const emulator: Emulator = await startEmulator({ speed: 8 });
const client = new RelayClient({ url: emulator.url, token: () => 'none' });
client.on('transcript', (said: Transcript) => said.text.length);
// @ts-expect-error: a speed is a number
await startEmulator({ speed: 'fast' });
`,
    );
    const { stdout } = (() => {
      try {
        const args = [
          '--noEmit',
          '--strict',
          '--skipLibCheck',
          '--module',
          'nodenext',
          '--target',
          'es2022',
          '--lib',
          'es2023,dom',
        ];
        const types = ['--types', 'node', '--typeRoots', join(root, 'node_modules/@types'), 'use.ts'];
        const tsc = join(root, 'node_modules/typescript/bin/tsc');
        return { stdout: execFileSync(process.execPath, [tsc, ...args, ...types], { cwd: app, encoding: 'utf8' }) };
      } catch (error) {
        return error as { stdout: string };
      }
    })();
    expect(stdout).toBe('');
  });
});
