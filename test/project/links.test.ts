import { existsSync, readdirSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { textOf } from './tables.js';

const root = new URL('../../', import.meta.url);

/** The documents, without what has another form: everything that is written to be read. */
const documents = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...readdirSync(new URL('docs', root))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
  'examples/search/README.md',
];
const pages = documents.filter((path) => path.startsWith('docs/') && path !== 'docs/README.md');

/** What a document says outside its blocks of code. */
function proseOf(path: string): string {
  return textOf(path).replace(/^( *)```[\s\S]*?^\1```$/gm, '');
}

/** The targets of a document's links within the repository. */
function linksOf(path: string): string[] {
  return [...proseOf(path).matchAll(/\]\((?!https?:|mailto:)([^)\s]+)\)/g)].map(([, target]) => target as string);
}

/** The file a link of a document leads to. */
function fileOf(target: string, path: string): URL {
  const [file = ''] = target.split('#');
  const document = new URL(path, root);
  return file === '' ? document : new URL(file, document);
}

/** The anchors GitHub makes of a document's headings; one that comes again gets a number. */
function anchorsOf(document: string): string[] {
  const seen = new Map<string, number>();
  return [...proseOf(document).matchAll(/^#+ (.+)$/gm)].map(([, heading]) => {
    const anchor = (heading as string)
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-');
    const before = seen.get(anchor) ?? 0;
    seen.set(anchor, before + 1);
    return before === 0 ? anchor : `${anchor}-${before}`;
  });
}

function isBroken(target: string, path: string): boolean {
  const file = fileOf(target, path);
  const [, heading] = target.split('#');
  if (!file.href.startsWith(root.href) || !existsSync(file)) return true;
  return heading !== undefined && !anchorsOf(file.href).includes(heading);
}

describe('every document', () => {
  it.each(documents)('%s links only to files and headings that exist', (path) => {
    expect(linksOf(path).filter((target) => isBroken(target, path))).toEqual([]);
  });

  it.each(documents)('%s calls a file that it links to by its name', (path) => {
    const links = [...proseOf(path).matchAll(/\[(`?[\w./-]+\.[a-z]{2,4}`?)\]\((?!https?:)([^)\s#]+)[^)]*\)/g)];
    const wrong = links.filter(([, name, target]) => !target?.endsWith(String(name).replaceAll('`', '')));
    expect(wrong.map(([link]) => link)).toEqual([]);
  });

  it('names files of the repository that exist', () => {
    const named = documents.flatMap((path) =>
      [...textOf(path).matchAll(/`((?:src|test|scripts|assets|deploy|docs|bench|examples)\/[\w./-]+)`/g)].map(
        ([, file]) => file as string,
      ),
    );
    expect(named.length).toBeGreaterThan(10);
    expect(named.filter((file) => !existsSync(new URL(file, root)))).toEqual([]);
  });

  it('names only scripts that package.json has', () => {
    const { scripts } = JSON.parse(textOf('package.json')) as { scripts: Record<string, string> };
    const named = documents.flatMap((path) =>
      [...textOf(path).matchAll(/\bnpm run (?:--silent )?([a-z:]+)/g)].map(([, name]) => name as string),
    );
    expect(named).toContain('demo');
    expect(named.filter((name) => !(name in scripts))).toEqual([]);
  });

  it('is free of addresses of the machine it was written on', () => {
    const workflows = readdirSync(new URL('.github/workflows', root)).map((name) => `.github/workflows/${name}`);
    const local = [...documents, ...workflows].filter((path) => /\/work\/|\/tmp\/|\/home\//.test(textOf(path)));
    expect(local).toEqual([]);
  });
});

describe('a page of docs/', () => {
  it.each(pages)('%s is listed in the README and in docs/README.md', (path) => {
    const to = new URL(path, root).href;
    for (const index of ['README.md', 'docs/README.md']) {
      expect(
        linksOf(index).map((target) => fileOf(target, index).href),
        index,
      ).toContain(to);
    }
  });

  it.each(pages)('%s begins with whom it is for, and leads to others', (path) => {
    const [title, , first] = textOf(path).split('\n');
    expect(title).toMatch(/^# \S/);
    expect(first).toMatch(/^For \S/);
    const siblings = linksOf(path).filter((target) => /^(\.\.\/)?[\w-]+\.md\b/.test(target));
    expect(siblings.length).toBeGreaterThan(0);
  });
});

it('sources and deployments name pages and headings that exist', () => {
  const files = ['src', 'bench', 'deploy'].flatMap((folder) =>
    readdirSync(new URL(folder, root), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => pathToFileURL(`${parentPath}/${name}`).href),
  );
  const named = [...files, 'relay.example.yaml', '.env.example'].flatMap((path) =>
    [...textOf(path).matchAll(/(?<![\w/.-])docs\/[a-z]+\.md(?:#[\w-]+)?/g)].map(([target]) => target),
  );
  expect(named.length).toBeGreaterThan(30);
  expect(named.filter((target) => isBroken(target, 'README.md'))).toEqual([]);
});
