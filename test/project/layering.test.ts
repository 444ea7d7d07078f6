import { readdirSync } from 'node:fs';
import { posix } from 'node:path';
import { describe, expect, it } from 'vitest';
import { clientEvents, previewClientEvents, previewServerEvents, serverEvents } from '../../src/protocol/catalogue.js';
import { textOf } from './tables.js';

/** From the innermost outwards; a file may import from its own folder and from layers before its own. */
const layers = [
  ['errors.ts', 'problems.ts', 'terminal.ts', 'uuid.ts', 'version.ts', 'audio'],
  ['advice.ts', 'clock.ts', 'wait.ts', 'protocol', 'outbound'],
  ['policy', 'telemetry', 'store', 'client'],
  ['config', 'auth', 'upstream', 'tools', 'webhooks', 'console'],
  ['legs', 'admission'],
  ['session'],
  ['control', 'continuity'],
  ['doors'],
  ['relay.ts'],
  ['cluster', 'talk', 'explain', 'emulator'],
  ['commands'],
  ['cli.ts'],
];

/** Where each of these may be imported from; a folder or a file. */
const edges: Readonly<Record<string, readonly string[]>> = {
  ws: ['legs', 'doors', 'upstream', 'emulator', 'talk'],
  express: ['doors'],
  helmet: ['doors'],
  '@azure/identity': ['upstream/entra.ts'],
  '@redis/client': ['store/redis/connection.ts'],
  'prom-client': ['metrics', 'live', 'traffic', 'replicated', 'replacements', 'deliveries', 'resumes', 'merge'].map(
    (name) => `telemetry/${name}.ts`,
  ),
  pino: ['telemetry/log.ts'],
  '@opentelemetry/api': ['telemetry/trace.ts'],
  jsonwebtoken: ['auth'],
  'https-proxy-agent': ['outbound'],
  yaml: ['config/yaml.ts'],
  ajv: ['policy/parameters.ts'],
};

interface Source {
  /** Under src, such as `session/pipe.ts`. */
  readonly path: string;
  readonly text: string;
  /** What it imports: a path under src, or the name of a package. */
  readonly imports: readonly string[];
}

const specifier = /(?:^|\n)\s*(?:import|export)\b[^;'"]*?\bfrom\s*['"]([^'"]+)['"]|\bimport\s*\(?\s*['"]([^'"]+)['"]/g;

const sources: Source[] = readdirSync(new URL('../../src', import.meta.url), { recursive: true })
  .map((path) => String(path).replaceAll('\\', '/'))
  .filter((path) => path.endsWith('.ts'))
  .map((path) => {
    const text = textOf(`src/${path}`);
    const imports = [...text.matchAll(specifier)].map(([, named, bare]) => {
      const name = (named ?? bare) as string;
      return name.startsWith('.') ? posix.join(posix.dirname(path), name).replace(/\.js$/, '.ts') : packageOf(name);
    });
    return { path, text, imports };
  });

function packageOf(name: string): string {
  return name
    .split('/')
    .slice(0, name.startsWith('@') ? 2 : 1)
    .join('/');
}

function partOf(path: string): string {
  return path.split('/')[0] as string;
}

function layerOf(path: string): number {
  return layers.findIndex((layer) => layer.includes(partOf(path)));
}

function isIn(path: string, places: readonly string[]): boolean {
  return places.some((place) => path === place || path.startsWith(`${place}/`));
}

const own = new Set(sources.map(({ path }) => path));

describe('the source folder', () => {
  it('is read by this test with its imports', () => {
    expect(sources.length).toBeGreaterThan(50);
    expect(sources.find(({ path }) => path === 'session/pipe.ts')?.imports).toContain('protocol/event.ts');
    expect(sources.find(({ path }) => path === 'upstream/entra.ts')?.imports).toContain('@azure/identity');
  });

  it('has a layer for every file', () => {
    expect(sources.filter(({ path }) => layerOf(path) < 0).map(({ path }) => path)).toEqual([]);
  });

  it('imports from inner layers and from the same folder only', () => {
    const wrong = sources.flatMap(({ path, imports }) =>
      imports
        .filter((name) => own.has(name) && partOf(name) !== partOf(path) && layerOf(name) >= layerOf(path))
        .map((name) => `${path} imports ${name}`),
    );
    expect(wrong).toEqual([]);
  });

  it('keeps the emulator apart from the relay it stands opposite to', () => {
    const wrong = sources
      .filter(({ path }) => partOf(path) === 'emulator')
      .flatMap(({ path, imports }) =>
        imports
          .filter((name) => own.has(name) && !['emulator', 'protocol', 'audio', 'errors.ts'].includes(partOf(name)))
          .map((name) => `${path} imports ${name}`),
      );
    expect(wrong).toEqual([]);
  });

  it.each(Object.entries(edges))('uses %s only in %j', (name, places) => {
    const users = sources.filter(({ imports }) => imports.includes(name)).map(({ path }) => path);
    expect(users.filter((path) => !isIn(path, places))).toEqual([]);
  });

  it('knows peers in the core by the interface of a leg only, whatever they speak and over what', () => {
    const core = sources.filter(({ path }) => ['session', 'control'].includes(partOf(path)));
    expect(core.length).toBeGreaterThan(20);
    const sockets = /^(ws|node:(stream|net|tls)|legs\/(?!leg\.ts$).*|protocol\/translate\/.*)$/;
    const wrong = core.flatMap(({ path, text, imports }) => [
      ...imports.filter((name) => sockets.test(name)).map((name) => `${path} imports ${name}`),
      ...[...text.matchAll(/\binstanceof (?!\w*(Error|Failure|Rejection)\b)\w+|\bdialect (===|!==)/g)].map(
        ([found]) => `${path} asks ${found}`,
      ),
    ]);
    expect(wrong).toEqual([]);
  });

  it('names events in the core by what they mean, as protocol/family.ts has it', () => {
    const names = [...clientEvents, ...previewClientEvents, ...serverEvents, ...previewServerEvents];
    // That of `error` is a word of many meanings.
    const words = names.filter((name) => name.includes('.')).map((name) => name.replaceAll('.', '\\.'));
    const named = new RegExp(`(['"])(?:${words.join('|')})\\1|\\btype(?::| ===| !==) 'error'|\\[\\s*'error',`, 'g');
    expect('x.send({ type: "response.create" })').toMatch(named);
    const core = sources.filter(({ path }) => ['session', 'legs', 'control'].includes(partOf(path)));
    const wrong = core.flatMap(({ path, text, imports }) => [
      ...[...text.matchAll(named)].map(([found]) => `${path} says ${found}`),
      ...(/\b(audioUp|audioDown|textDown|heardDown)\b/.test(text) && imports.includes('protocol/catalogue.ts')
        ? [`${path} takes a name out of the catalogue`]
        : []),
    ]);
    expect(wrong).toEqual([]);
  });

  it('asks others over HTTP only through outbound/, which knows proxies and judges addresses', () => {
    // What runs in a browser has nothing else.
    const askers = sources.filter(({ text }) => /(?<![.\w])fetch\(/.test(text)).map(({ path }) => path);
    expect(askers.filter((path) => !isIn(path, ['client', 'console']))).toEqual([]);
  });

  it('reads the environment only in config/, commands/ and cli.ts', () => {
    const readers = sources.filter(({ text }) => /\bprocess\s*(\.|\?\.|\[['"])\s*env\b/.test(text));
    expect(readers.map(({ path }) => path).filter((path) => !isIn(path, ['config', 'commands', 'cli.ts']))).toEqual([]);
  });

  it('keeps protocol and policy free of sockets, clocks and logs', () => {
    const impure = /\b(setTimeout|setInterval|Date\.now|new Date|performance\.now|process\.|console\.)/;
    const wrong = sources.filter(({ path, text, imports }) => {
      const isPure = ['protocol', 'policy'].includes(partOf(path));
      return isPure && (impure.test(text) || imports.some((name) => /^node:(net|http|https|fs|tls)$/.test(name)));
    });
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });
});
