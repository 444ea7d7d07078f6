import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { emulate } from '../caller.js';
import { ask, definition, documents, library } from './library.js';

const version = 'api-version=2026-04-01';
const near = { kind: 'text', text: 'parental leave', fields: 'text_vector', k: 50 };
const select = 'chunk_id,title,chunk';

describe('each shape of query', () => {
  it.each([
    ['keyword', { search: 'parental leave', queryType: 'simple', searchMode: 'any', select, top: 5 }],
    ['vector', { vectorQueries: [near], select, top: 5 }],
    [
      'semantic',
      {
        search: 'parental leave',
        queryType: 'semantic',
        semanticConfiguration: 'default',
        captions: 'extractive|highlight-false',
        answers: 'none',
        select,
        top: 5,
      },
    ],
    [
      'hybrid',
      {
        search: 'parental leave',
        vectorQueries: [near],
        queryType: 'semantic',
        semanticConfiguration: 'default',
        semanticErrorHandling: 'partial',
        semanticMaxWaitInMilliseconds: 700,
        filter: "group_ids/any(g:search.in(g, 'staff|b', '|'))",
        vectorFilterMode: 'preFilter',
        select,
        top: 5,
      },
    ],
  ])('%s finds the best document first, with what was selected', async (name, body) => {
    const found = await ask(await library(), body);
    expect(found.status).toBe(200);
    expect(found.ids.slice(0, 2)).toEqual(['leave_1', 'leave-2']);
    const [first] = found.body.value;
    const semantic = name === 'semantic' || name === 'hybrid' ? { '@search.rerankerScore': expect.any(Number) } : {};
    const captions = name === 'semantic' ? { '@search.captions': [{ text: documents[0]?.chunk, highlights: '' }] } : {};
    expect(first).toEqual({
      '@search.score': expect.any(Number),
      ...semantic,
      ...captions,
      chunk_id: 'leave_1',
      title: 'Leave.pdf',
      chunk: documents[0]?.chunk,
    });
    expect(found.headers.get('request-id')).toMatch(/^[0-9a-f-]{36}$/);
  });

  it.each([
    ['the plain path', `/indexes/library/docs/search?${version}`],
    ["OData's path", `/indexes('library')/docs/search.post.search?${version}`],
    ['an older version', '/indexes/library/docs/search?api-version=2024-07-01'],
  ])('is taken on %s', async (_name, path) => {
    expect((await ask(await library(), { search: 'merger' }, { path })).ids).toEqual(['board_1']);
  });

  it('finds ids in the order of nobody, joined by OR, in the full syntax', async () => {
    const emulator = await library();
    const body = {
      search: 'board_1 OR leave-2 OR "-x" OR "AND"',
      queryType: 'full',
      searchMode: 'any',
      searchFields: 'chunk_id',
      select,
      top: 4,
    };
    expect((await ask(emulator, body)).ids.sort()).toEqual(['board_1', 'leave-2']);
    expect((await ask(emulator, { ...body, search: 'board' })).ids).toEqual([]);
  });

  it.each([
    ['simple', 'leave -parental', 'all', ['leave-2']],
    ['simple', 'leave + note', 'any', ['leave-2']],
    ['simple', '"sick leave"', 'any', ['leave-2']],
    ['simple', 'merg*', 'any', ['board_1']],
    ['simple', '(merger | note) leave', 'all', ['leave-2']],
    ['simple', 'merger | orders', 'all', ['board_1', 'orders_1']],
    ['simple', '"sick leave', 'any', ['leave-2']],
    ['full', 'leave NOT parental', 'any', ['leave-2']],
    ['full', '+leave -parental', 'any', ['leave-2']],
    ['full', 'leave AND note', 'any', ['leave-2']],
    ['full', 'title:board', 'any', ['board_1']],
    ['full', '(merger OR note) AND leave', 'any', ['leave-2']],
    ['full', 'm?rger~1^2', 'any', ['board_1']],
    ['full', String.raw`leave\-2`, 'any', ['leave-2']],
  ])('in the %s syntax understands %s', async (queryType, search, searchMode, ids) => {
    const found = await ask(await library(), { search, queryType, searchMode });
    expect(found.ids.sort()).toEqual(ids);
  });

  it.each(['', '*', undefined])('matches everything with the words %j', async (search) => {
    const found = await ask(await library(), { search, count: true, top: 2, skip: 1 });
    expect(found.body['@odata.count']).toBe(4);
    expect(found.ids).toEqual(['leave-2', 'board_1']);
  });

  it('compares vectors that the client made', async () => {
    const vector = { kind: 'vector', vector: [0, 0.9, 0.1], fields: 'numbers', k: 1 };
    expect((await ask(await library(), { vectorQueries: [vector] })).ids).toEqual(['leave-2']);
  });
});

describe('a document of another group', () => {
  const secret = documents[2]?.chunk ?? '';
  const shapes = {
    keyword: { search: secret },
    phrase: { search: `"${secret}"` },
    ids: { search: 'board_1', queryType: 'full', searchFields: 'chunk_id' },
    everything: { search: '*' },
    vector: { vectorQueries: [{ ...near, text: secret }] },
    semantic: { search: secret, queryType: 'semantic', semanticConfiguration: 'default' },
    hybrid: { search: secret, vectorQueries: [{ ...near, text: secret }] },
  };

  it.each(Object.entries(shapes))('is not found by its exact words: %s', async (_name, body) => {
    const emulator = await library();
    const filter = (groups: string) => `group_ids/any(g:search.in(g, '${groups}', '|'))`;
    const foreign = await ask(emulator, { ...body, filter: filter('staff|all') });
    expect(foreign.status).toBe(200);
    expect(foreign.text).not.toContain('Globex');
    expect(foreign.ids).not.toContain('board_1');
    expect((await ask(emulator, { ...body, filter: filter('board') })).ids).toContain('board_1');
  });

  it('shows nobody whose it is', async () => {
    const found = await ask(await library(), { search: '*' });
    expect(found.text).not.toMatch(/group_ids|text_vector|staff/);
  });
});

describe('a query that the service would refuse', () => {
  it.each([
    ['an unknown field of the body', { search: 'x', tops: 5 }, /Unknown parameter: 'tops'/],
    ['the name of an SDK', { search: 'x', semanticConfigurationName: 'default' }, /Unknown parameter/],
    ['a list where a text belongs', { search: 'x', select: ['chunk'] }, /Invalid type for 'select'/],
    ['a wrong kind', { search: 5 }, /Invalid type for 'search'/],
    ['an unknown query type', { search: 'x', queryType: 'hybrid' }, /queryType/],
    ['a short wait', { search: 'x', semanticMaxWaitInMilliseconds: 100 }, /semanticMaxWaitInMilliseconds/],
    ['a semantic query without its configuration', { search: 'x', queryType: 'semantic' }, /semanticConfiguration/],
    [
      'an unknown configuration',
      { search: 'x', queryType: 'semantic', semanticConfiguration: 'y' },
      /Unknown semantic/,
    ],
    ['captions without the ranker', { search: 'x', captions: 'extractive' }, /captions/],
    [
      'orderby with the ranker',
      { search: 'x', queryType: 'semantic', semanticConfiguration: 'default', orderby: 'pages' },
      /orderby/,
    ],
    ['a selected field that is hidden', { search: 'x', select: 'group_ids' }, /not a retrievable field/],
    ['a selected field that is not there', { search: 'x', select: 'nope' }, /named 'nope'/],
    ['a searched field that is not searchable', { search: 'x', searchFields: 'tenant' }, /not searchable/],
    ['a vector of texts without a vectorizer', { vectorQueries: [{ ...near, fields: 'numbers' }] }, /no vectorizer/],
    ['a vector over words', { vectorQueries: [{ ...near, fields: 'chunk' }] }, /not a vector field/],
    [
      'a vector of the wrong length',
      { vectorQueries: [{ kind: 'vector', vector: [1], fields: 'numbers' }] },
      /dimensions/,
    ],
    ['a vector of another kind', { vectorQueries: [{ ...near, kind: 'image' }] }, /kind/],
    ['a k of the SDK', { vectorQueries: [{ ...near, kNearestNeighborsCount: 5 }] }, /Unknown parameter/],
    ['a broken filter', { search: 'x', filter: 'tenant eq' }, /\$filter/],
    ['broken words in the full syntax', { search: 'x AND', queryType: 'full' }, /Failed to parse query string/],
    ['an open bracket in the full syntax', { search: '(x', queryType: 'full' }, /Failed to parse query string/],
    ['a slash in the full syntax', { search: 'a / b', queryType: 'full' }, /Failed to parse query string/],
    ['a body that is not JSON', '{"search":', /not JSON/],
    ['a body that is no object', '[]', /an object/],
  ])('is refused for %s', async (_name, body, message) => {
    const found = await ask(await library(), body);
    expect(found.status).toBe(400);
    expect(found.body.error).toMatchObject({ code: '', message: expect.stringMatching(message) });
  });

  it.each([
    ['no api-version', { path: '/indexes/library/docs/search' }, 400],
    ['an unknown api-version', { path: '/indexes/library/docs/search?api-version=2020-01-01' }, 400],
    ['an index that is not there', { path: `/indexes/other/docs/search?${version}` }, 404],
    ['an operation that is not there', { path: `/indexes/library/docs/find?${version}` }, 404],
    ['another content type', { headers: { 'content-type': 'text/plain' } }, 415],
    ['a wrong key', { headers: { 'api-key': 'emulator-key' } }, 403],
  ])('is refused for %s', async (_name, given, status) => {
    expect((await ask(await library(), { search: 'x' }, given)).status).toBe(status);
  });

  it('is refused without a credential, and taken with a token', async () => {
    const emulator = await library({ bearer: (token) => token === 'good' });
    const url = `${emulator.url}/indexes/library/docs/search?${version}`;
    const post = (headers: Record<string, string>) =>
      fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: '{"search":"merger"}',
      });
    expect((await post({})).status).toBe(401);
    expect((await post({ authorization: 'Bearer bad' })).status).toBe(401);
    expect((await post({ authorization: 'Bearer good' })).status).toBe(200);
  });
});

describe('an index', () => {
  it('is made, filled, changed and asked for over HTTP', async () => {
    const emulator = await emulate();
    const at = (path: string, method = 'POST') => ({ path: `/indexes${path}?${version}`, method });
    expect((await ask(emulator, definition, at('/library', 'PUT'))).status).toBe(201);
    expect((await ask(emulator, definition, at("('library')", 'PUT'))).status).toBe(200);
    const value = documents.map((document) => ({ '@search.action': 'upload', ...document }));
    const done = await ask(emulator, { value }, at('/library/docs/index'));
    expect(done.body.value[0]).toEqual({ key: 'leave_1', status: true, errorMessage: null, statusCode: 201 });
    const more = [
      { '@search.action': 'delete', chunk_id: 'board_1' },
      { '@search.action': 'merge', chunk_id: 'leave_1', title: 'New' },
      { '@search.action': 'merge', chunk_id: 'nobody', title: 'New' },
    ];
    const mixed = await ask(emulator, { value: more }, at('/library/docs/index'));
    expect(mixed.status).toBe(207);
    expect(mixed.body.value.map(({ statusCode }) => statusCode)).toEqual([200, 200, 404]);
    expect((await ask(emulator, undefined, at('/library/docs/$count', 'GET'))).text).toBe('3');
    expect((await ask(emulator, { search: 'parental', select: 'title,chunk' })).body.value[0]).toMatchObject({
      title: 'New',
      chunk: documents[0]?.chunk,
    });
    expect((await ask(emulator, undefined, at('/library', 'GET'))).body).toMatchObject({ name: 'library' });
    expect((await ask(emulator, undefined, at('/library', 'DELETE'))).status).toBe(204);
    expect((await ask(emulator, { search: 'parental' })).status).toBe(404);
  });

  it.each([
    ['no key', { fields: definition.fields.slice(1) }],
    ['two keys', { fields: [...definition.fields, { name: 'second', type: 'Edm.String', key: true }] }],
    ['a field twice', { fields: [...definition.fields, definition.fields[1]] }],
    ['an unknown type', { fields: [...definition.fields, { name: 'x', type: 'Edm.Text' }] }],
    [
      'a vector without a profile',
      { fields: [...definition.fields, { name: 'x', type: 'Collection(Edm.Single)', dimensions: 3 }] },
    ],
    ['a searchable number', { fields: [...definition.fields, { name: 'x', type: 'Edm.Int32', searchable: true }] }],
    ['another name', { name: 'other' }],
    ['an unknown property', { colour: 'red' }],
  ])('with %s is refused', async (_name, change) => {
    const given = { path: `/indexes/library?${version}`, method: 'PUT' };
    expect((await ask(await emulate(), { ...definition, ...change }, given)).status).toBe(400);
  });

  it.each([
    ['an unknown field', { chunk_id: 'x', colour: 'red' }],
    ['a wrong type', { chunk_id: 'x', pages: 'many' }],
    ['a vector of the wrong length', { chunk_id: 'x', numbers: [1, 2] }],
    ['no key', { title: 'x' }],
    ['a key with a blank', { chunk_id: 'a b' }],
    ['an unknown action', { chunk_id: 'x', '@search.action': 'add' }],
  ])('refuses documents with %s', async (_name, document) => {
    const path = `/indexes/library/docs/index?${version}`;
    expect((await ask(await library(), { value: [document] }, { path })).status).toBe(400);
  });

  it('comes from a folder', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'search-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    await writeFile(join(folder, 'library.index.json'), JSON.stringify(definition));
    await writeFile(join(folder, 'library.documents.json'), JSON.stringify(documents));
    const emulator = await emulate({ search: folder });
    expect((await ask(emulator, { search: 'merger' })).ids).toEqual(['board_1']);
    await writeFile(join(folder, 'library.documents.json'), JSON.stringify([{ chunk_id: 'x', colour: 'red' }]));
    await expect(emulate({ search: folder })).rejects.toThrow(/library\.documents\.json: .*colour/);
  });
});

describe('a fault', () => {
  it.each([
    ['search_206', 206, 'semanticPartialResponseReason'],
    ['search_402', 402, 'quota'],
    ['search_403', 403, 'denied'],
    ['search_429', 429, 'Too many'],
    ['search_503', 503, 'try again'],
    ['search_html', 200, '<html>'],
    ['search_big', 200, 'AAAA'],
  ] as const)('%s strikes one query', async (fault, status, text) => {
    const emulator = await library();
    emulator.control.faults.arm(fault);
    const struck = await ask(emulator, { search: 'merger' });
    expect(struck.status).toBe(status);
    expect(struck.text).toContain(text);
    expect(struck.headers.get('retry-after')).toBeNull();
    if (status === 206) expect(struck.ids).toEqual(['board_1']);
    if (fault === 'search_big') expect(struck.text.length).toBeGreaterThan(5_000_000);
    expect((await ask(emulator, { search: 'merger' })).status).toBe(200);
  });

  it.each(['search_429', 'search_503'] as const)('%s says when to come back when it is to', async (fault) => {
    const emulator = await library();
    emulator.control.faults.arm({ fault, retryAfterSeconds: 3 });
    expect((await ask(emulator, { search: 'x' })).headers.get('retry-after')).toBe('3');
  });

  it('search_slow answers late, and not at all once the emulator is closed', async () => {
    const emulator = await library();
    emulator.control.faults.arm({ fault: 'search_slow', delayMs: 60 });
    const start = performance.now();
    expect((await ask(emulator, { search: 'merger' })).ids).toEqual(['board_1']);
    expect(performance.now() - start).toBeGreaterThan(50);
    emulator.control.faults.arm('search_slow');
    const waiting = ask(emulator, { search: 'merger' });
    waiting.catch(() => undefined);
    while (emulator.control.search.records.length < 2) await new Promise(setImmediate);
    await emulator.close();
    await expect(waiting).rejects.toThrow();
  });
});

it('remembers the queries that came, without their credentials', async () => {
  const emulator = await library();
  await ask(
    emulator,
    { search: 'merger', filter: "tenant eq 'acme'" },
    { headers: { 'x-ms-client-request-id': 'id-1' } },
  );
  const listed = await (await fetch(`${emulator.url}/emulator/searches`)).text();
  expect(JSON.parse(listed).searches).toMatchObject([
    {
      index: 'library',
      credential: 'key',
      headers: { 'x-ms-client-request-id': 'id-1' },
      body: { search: 'merger', filter: "tenant eq 'acme'" },
      status: 200,
      found: ['board_1'],
    },
  ]);
  expect(listed).not.toContain('emulator-search-key');
});
