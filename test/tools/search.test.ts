import { describe, expect, it } from 'vitest';
import { Bounded } from '../../src/policy/bounded.js';
import { toolSchema } from '../../src/policy/tools.js';
import { createJudge } from '../../src/tools/arguments.js';
import type { ToolPorts } from '../../src/tools/asking.js';
import { createSearchRun } from '../../src/tools/search.js';
import type { ToolCall, ToolResult } from '../../src/tools/tool.js';
import { call, endpoint, ports, unending, user } from './support.js';

type Answer = { status?: number; headers?: Record<string, string>; body?: unknown };

/** A search service that answers so, the last way for ever. */
async function service(...answers: Answer[]) {
  let count = 0;
  const { url, asked } = await endpoint((_, response) => {
    const { status = 200, headers = {}, body = { value: [] } } = answers[Math.min(count++, answers.length - 1)] ?? {};
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  });
  return { url, asked, bodies: () => asked.map(({ body }) => JSON.parse(body)) };
}

function run(
  endpointUrl: string,
  asked: ToolCall,
  search: object = {},
  more: object = {},
  given: ToolPorts = ports(),
): Promise<ToolResult> {
  const whole = { endpoint: endpointUrl, index: 'handbook', api_key: 'key', ...search };
  const tool = toolSchema.parse({ name: 'search', runs: 'search', search: whole, ...more });
  if (tool.runs !== 'search') throw new Error('is none');
  return createSearchRun(tool, createJudge(tool), given)(asked, unending);
}

const ask = (query: string, changes: Partial<ToolCall> = {}) => call({ query }, { name: 'search', ...changes });
const hit = (id: unknown, chunk: unknown, title?: unknown) => ({ '@search.score': 1, chunk_id: id, chunk, title });
const failed =
  '{"error":"failed","message":"The lookup did not work. Tell the user that it is not available right now."}';

describe('a search', () => {
  it('asks the index with a key, or as Microsoft Entra says', async () => {
    const { url, asked } = await service();
    await run(url, ask('parental leave'));
    await run(url, ask('parental leave'), { api_key: undefined, api_version: '2024-07-01' });
    expect(asked[0]).toMatchObject({ method: 'POST', url: '/indexes/handbook/docs/search?api-version=2026-04-01' });
    expect(asked[0]?.headers).toMatchObject({
      'api-key': 'key',
      'content-type': 'application/json',
      'accept-encoding': 'identity',
      'x-ms-client-request-id': expect.stringMatching(/^[0-9a-f-]{36}$/),
      'x-request-id': 'request-1',
    });
    expect(asked[0]?.headers).not.toHaveProperty('authorization');
    expect(asked[1]?.url).toBe('/indexes/handbook/docs/search?api-version=2024-07-01');
    expect(asked[1]?.headers.authorization).toBe('Bearer token-1-for-https://search.azure.com/.default');
    expect(asked[1]?.headers).not.toHaveProperty('api-key');
  });

  const select = 'chunk_id,chunk';
  const search = 'parental leave';
  const vectorQueries = [{ kind: 'text', text: search, fields: 'text_vector', k: 50 }];
  const simple = { search, queryType: 'simple', searchMode: 'any' };
  const semantic = {
    search,
    queryType: 'semantic',
    semanticConfiguration: 'default',
    semanticErrorHandling: 'partial',
    semanticMaxWaitInMilliseconds: 5000,
  };
  it.each<[string, object, object]>([
    ['hybrid, as it is by default', {}, { ...simple, vectorQueries }],
    ['hybrid and ranked', { semantic_configuration: 'default' }, { ...semantic, vectorQueries }],
    ['by keywords', { query: 'keyword' }, simple],
    ['by vector', { query: 'vector' }, { vectorQueries }],
    ['semantic', { query: 'semantic', semantic_configuration: 'default' }, semantic],
  ])('may be %s', async (_name, changes, body) => {
    const { url, bodies } = await service();
    await run(url, ask(search), changes);
    expect(bodies()).toEqual([{ ...body, select, top: 5 }]);
  });

  it('knows the fields of the index, and gives the ranking half of the time, but not too little', async () => {
    const { url, bodies } = await service({ body: { value: [{ key: 'a', text: { body: 'found' } }] } });
    const fields = { id: 'key', content: 'text/body', vector: 'v' };
    const changes = { fields, top: 3, semantic_configuration: 'default' };
    const result = await run(url, ask('a'), changes, { timeout_seconds: 1 });
    expect(bodies()[0]).toMatchObject({ select: 'key,text/body', top: 3, semanticMaxWaitInMilliseconds: 700 });
    expect(bodies()[0].vectorQueries[0].fields).toBe('v');
    expect(result.output).toBe('[a]: found\n-----\n');
  });

  it.each([
    ['-parental +leave "exactly" (a|b) c*', 'parental leave exactly a b c'],
    [
      'fuzzy~2 wild? field:value boost^3 /re/ [1 TO 2] {a} !no a && b \\',
      'fuzzy 2 wild field value boost 3 re 1 TO 2 a no a b',
    ],
    ['e-mail\nR&D\u0000', 'e mail R&D'],
    ['x'.repeat(1200), 'x'.repeat(1000)],
    ['😀'.repeat(1200), '😀'.repeat(1000)],
  ])('takes the operators out of %j', async (query, words) => {
    const { url, bodies } = await service();
    await run(url, ask(query));
    expect(bodies()[0].search).toBe(words);
    expect(bodies()[0].vectorQueries[0].text).toBe(query.replace(/[\n\0]/g, ''));
  });

  it.each(['', '   ', '+-*', '"()"', '\\ / ~', '\u0000'])(
    'for %j asks nothing, since an empty one finds everything',
    async (query) => {
      const { url, asked } = await service({ body: { value: [hit('a', 'all')] } });
      expect(await run(url, ask(query))).toEqual({ outcome: 'ok', output: '', bytes: 0 });
      expect(await run(url, ask(query), { query: 'keyword' })).toMatchObject({ output: '' });
      expect(asked).toEqual([]);
    },
  );

  it('is not made with arguments that do not fit', async () => {
    const { url, asked } = await service();
    for (const args of ['{}', '{"query":1}', '{"query":"a","filter":"1 eq 1"}']) {
      expect(await run(url, call(args))).toMatchObject({ outcome: 'invalid_arguments' });
    }
    expect(asked).toEqual([]);
  });
});

describe('what a search finds', () => {
  it('is the id and the text of each hit, and nothing when there is none', async () => {
    const value = [
      hit('a', 'first'),
      hit('', 'no id'),
      hit('b', ''),
      hit(null, 'x'),
      hit('c', null),
      hit('d', ['p', 1]),
    ];
    const { url } = await service({ body: { value } }, { body: { value: [] } });
    expect(await run(url, ask('x'))).toMatchObject({
      outcome: 'ok',
      output: '[a]: first\n-----\n[d]: ["p",1]\n-----\n',
      status: 200,
      azure: { clientRequestId: expect.any(String) },
    });
    expect((await run(url, ask('x'))).output).toBe('');
  });

  it('counts also when Azure could not rank it', async () => {
    const { url } = await service({
      status: 206,
      body: { '@search.semanticPartialResponseReason': 'transient', value: [hit('a', 'b')] },
    });
    expect(await run(url, ask('x'))).toMatchObject({ outcome: 'ok', status: 206, output: '[a]: b\n-----\n' });
  });

  it('is left out from the end where it is too much, and only a first hit is cut', async () => {
    const { url } = await service(
      { body: { value: [hit('a', 'x'.repeat(10_000)), hit('b', 'y'.repeat(10_000)), hit('c', 'z')] } },
      { body: { value: [hit('a', '€'.repeat(10_000)), hit('b', 'y')] } },
    );
    expect((await run(url, ask('x'))).output).toBe(`[a]: ${'x'.repeat(10_000)}\n-----\n`);
    const { output } = await run(url, ask('x'));
    expect(output).toMatch(/^\[a\]: €+\n-----\n$/);
    expect(Buffer.byteLength(output)).toBeGreaterThan(16_380);
    expect(Buffer.byteLength(output)).toBeLessThanOrEqual(16_384);
  });

  it('may be cited, as far as the model has read it', async () => {
    const value = [hit('a', 'x'.repeat(10_000)), hit('b', 'y'.repeat(10_000))];
    const { url } = await service({ body: { value } });
    const asked = ask('x');
    await run(url, asked);
    expect([asked.session.citable.has('a'), asked.session.citable.has('b')]).toEqual([true, false]);
  });

  it('may be cited for as long as no 200 others were found since, however early it was found first', async () => {
    const { url } = await service({ body: { value: [hit('again', 'x')] } });
    const asked = ask('x');
    const others = (begin: string) => {
      for (let other = 0; other < 150; other++) asked.session.citable.set(`${begin}${other}`, true);
    };
    await run(url, asked);
    others('early');
    await run(url, asked);
    others('late');
    expect(asked.session.citable.has('again')).toBe(true);
  });
});

describe('a filter', () => {
  const groups = "group_ids/any(g:search.in(g, '{{claims.groups}}', '|'))";
  const filterOf = async (filter: string, claims: Record<string, unknown>) => {
    const { url, bodies } = await service();
    const result = await run(url, ask('x', user(claims)), { filter });
    return bodies()[0]?.filter ?? [result.outcome, result.output, result.error?.kind];
  };
  const refused = ['refused', '', 'claim'];

  it.each<[string, Record<string, unknown>, unknown]>([
    [groups, { groups: ['a', 'b c', 3, true] }, "group_ids/any(g:search.in(g, 'a|b c|3|true', '|'))"],
    [groups, { groups: 'a' }, "group_ids/any(g:search.in(g, 'a', '|'))"],
    [groups, { groups: ["O'Brien", 'x,admin'] }, "group_ids/any(g:search.in(g, 'O''Brien|x,admin', '|'))"],
    [
      groups,
      { groups: ['a', 'x|admin', '', null, {}, ['b'], 'a\n', 'x'.repeat(257)] },
      "group_ids/any(g:search.in(g, 'a', '|'))",
    ],
    [groups, { groups: ['x|admin', ''] }, refused],
    [groups, { groups: [] }, refused],
    [groups, { groups: '' }, refused],
    [groups, { groups: 'a|b' }, refused],
    [groups, { groups: { a: 1 } }, refused],
    [groups, {}, refused],
    [groups, { _claim_names: { groups: 'src1' } }, refused],
    ["search.in(g, 'all|{{claims.groups}}', '|')", { groups: ['a'] }, "search.in(g, 'all|a', '|')"],
    ["search.in(g, 'all|{{claims.groups}}', '|')", {}, refused],
    ["tenant eq '{{claims.tid}}'", { tid: "a' or '1' eq '1" }, "tenant eq 'a'' or ''1'' eq ''1'"],
    ["tenant eq '{{claims.tid}}'", { tid: ['a', 'b'] }, refused],
    ["tenant eq '{{claims.tid}}' and open eq true", { tid: 'a' }, "tenant eq 'a' and open eq true"],
    ["(a eq '{{claims.a}}') or (b eq '{{claims.b}}')", { a: '1' }, refused],
    ["iss eq '{{issuer}}'", {}, "iss eq 'https://issuer.test'"],
    ["a eq '{{claims.https://x.y/role}}'", { 'https://x.y/role': 'r' }, "a eq 'r'"],
  ])('%s for %j is %j', async (filter, claims, expected) => {
    expect(await filterOf(filter, claims)).toEqual(expected);
  });

  it('holds for the vector, too', async () => {
    const { url, bodies } = await service();
    await run(url, ask('x', user({ tid: 'a' })), { filter: "t eq '{{claims.tid}}'", query: 'vector' });
    expect(bodies()[0]).toMatchObject({ filter: "t eq 'a'", vectorFilterMode: 'preFilter' });
  });
});

describe('sources that the model cites', () => {
  const grounding = { role: 'grounding' };
  const shown = { result: 'client' };
  function cite(sources: unknown[], known: string[] = ['a', 'b', 'c'], changes: Partial<ToolCall> = {}): ToolCall {
    const citable = new Bounded<true>(200);
    for (const id of known) citable.set(id, true);
    return call({ sources }, { session: { id: 'sess_1', citable }, ...changes });
  }

  it('are fetched by their ids, and shown in the order in which they were cited', async () => {
    const value = [hit('a', 'A', 'a.pdf'), hit('x', 'not cited'), hit('b', 'B')];
    const { url, bodies } = await service({ body: { value } });
    const result = await run(url, cite([' [b] ', 'a', 'b', '[a]']), grounding, shown);
    expect(bodies()).toEqual([
      {
        search: 'b OR a',
        queryType: 'full',
        searchMode: 'any',
        searchFields: 'chunk_id',
        select: 'chunk_id,title,chunk',
        top: 2,
      },
    ]);
    expect(result).toMatchObject({
      outcome: 'ok',
      output: '',
      result: {
        sources: [
          { chunk_id: 'b', title: '', chunk: 'B' },
          { chunk_id: 'a', title: 'a.pdf', chunk: 'A' },
        ],
      },
    });
  });

  it('are asked for with the filter of the user, and not at all where a claim is missing', async () => {
    const { url, bodies, asked } = await service();
    const filter = { ...grounding, filter: "t eq '{{claims.tid}}'" };
    await run(url, cite(['a'], ['a'], user({ tid: 'acme' })), filter, shown);
    expect(bodies()[0].filter).toBe("t eq 'acme'");
    const result = await run(url, cite(['a'], ['a'], user({})), filter, shown);
    expect(result).toMatchObject({ outcome: 'refused', output: '', error: { kind: 'claim' } });
    expect(result).not.toHaveProperty('result');
    expect(asked).toHaveLength(1);
  });

  it('are 20 at most, each an id that this session has found', async () => {
    const many = Array.from({ length: 30 }, (_, index) => `id${index}`);
    const { url, bodies } = await service();
    await run(url, cite(['elsewhere', 'a b', 'a*', "a'", ...many], ['a b', 'a*', "a'", ...many]), grounding, shown);
    expect(bodies()[0].search).toBe(many.slice(0, 20).join(' OR '));
    expect(bodies()[0].top).toBe(20);
  });

  it('are in quotes where they read like operators', async () => {
    const ids = ['AND', 'OR', 'NOT', '-x', 'and', 'a-b', 'a==', '_'];
    const { url, bodies } = await service();
    await run(url, cite(ids, ids), grounding, shown);
    expect(bodies()[0].search).toBe('"AND" OR "OR" OR "NOT" OR "-x" OR and OR a-b OR a== OR _');
  });

  it('of which none is left are not asked for, and nobody is told anything', async () => {
    const { url, asked } = await service({ body: { value: [hit('x', 'other')] } });
    for (const sources of [[], ['elsewhere'], ['', '[]', 'a b']]) {
      expect(await run(url, cite(sources), grounding, shown)).toEqual({ outcome: 'ok', output: '', bytes: 0 });
    }
    expect(asked).toEqual([]);
    expect(await run(url, cite(['a']), grounding, shown)).not.toHaveProperty('result');
  });
});

describe('a service that', () => {
  const search = async (answers: Answer[], changes: object = {}, more: object = {}, given?: ToolPorts) => {
    const { url, asked } = await service(...answers);
    const result = await run(url, ask('parental leave'), changes, more, given);
    return { result, asked };
  };
  const ok = { body: { value: [hit('a', 'b')] } };

  it.each([429, 503])('is busy (%s) is asked again, when it says', async (status) => {
    const started = performance.now();
    const { result, asked } = await search([{ status, headers: { 'retry-after': '1' } }, ok]);
    expect(result.outcome).toBe('ok');
    expect(asked).toHaveLength(2);
    expect(performance.now() - started).toBeGreaterThan(950);
  });

  it('is busy until a date is asked again then', async () => {
    const at = new Date(Date.now() + 1000).toUTCString();
    const { result } = await search([{ status: 503, headers: { 'retry-after': at } }, ok]);
    expect(result.outcome).toBe('ok');
  });

  it('is busy for longer than there is time fails at once', async () => {
    const started = performance.now();
    const { result, asked } = await search(
      [{ status: 429, headers: { 'retry-after': '60' } }],
      {},
      { timeout_seconds: 3 },
    );
    expect(result).toMatchObject({ outcome: 'failed', output: failed, status: 429, error: { kind: 'status' } });
    expect(asked).toHaveLength(1);
    expect(performance.now() - started).toBeLessThan(1000);
  });

  it('is busy without saying for how long is asked four times, with longer pauses', async () => {
    const started = performance.now();
    const { result, asked } = await search([{ status: 503 }]);
    expect(result).toMatchObject({ outcome: 'failed', status: 503 });
    expect(asked).toHaveLength(4);
    expect(performance.now() - started).toBeGreaterThan(1000);
    expect(new Set(asked.map(({ headers }) => headers['x-ms-client-request-id'])).size).toBe(4);
  });

  it('is busy is not waited for when the call is given up', async () => {
    const { url, asked } = await service({ status: 503, headers: { 'retry-after': '5' } });
    const tool = toolSchema.parse({
      name: 's',
      runs: 'search',
      search: { endpoint: url, index: 'handbook', api_key: 'k' },
    });
    if (tool.runs !== 'search') throw new Error('is none');
    const stop = new AbortController();
    const running = createSearchRun(tool, createJudge(tool), ports())(ask('x'), stop.signal);
    await expect.poll(() => asked.length).toBe(1);
    stop.abort('interrupted');
    expect(await running).toMatchObject({ outcome: 'aborted' });
  });

  it('refuses a token is asked once more with another one', async () => {
    const first = await search([{ status: 401 }, ok], { api_key: undefined });
    expect(first.result.outcome).toBe('ok');
    expect(first.asked.map(({ headers }) => headers.authorization)).toEqual([
      'Bearer token-1-for-https://search.azure.com/.default',
      'Bearer token-2-for-https://search.azure.com/.default',
    ]);
    const always = await search([{ status: 401 }], { api_key: undefined });
    expect(always.result).toMatchObject({ outcome: 'failed', status: 401 });
    expect(always.asked).toHaveLength(2);
    expect((await search([{ status: 401 }])).asked).toHaveLength(1);
  });

  it.each([400, 402, 403, 404, 500, 502, 307])('answers with %s is not asked again, nor for less', async (status) => {
    const { result, asked } = await search([{ status, headers: { location: '/elsewhere' } }]);
    expect(result).toMatchObject({ outcome: 'failed', output: failed, status });
    expect(asked).toHaveLength(1);
  });

  it.each<[string, Answer, string]>([
    ['HTML', { body: '<html>' }, 'body'],
    ['no list', { body: { value: {} } }, 'body'],
    ['a list alone', { body: [] }, 'body'],
    ['more than a megabyte', { body: { value: [hit('a', 'x'.repeat(1024 * 1024))] } }, 'too_big'],
    ['something compressed', { headers: { 'content-encoding': 'gzip' }, body: ok.body }, 'encoding'],
  ])('answers with %s fails', async (_name, answer, kind) => {
    const { result } = await search([answer]);
    expect(result).toMatchObject({ outcome: 'failed', output: failed, error: { kind } });
  });

  it('is slow ends with the time of the tool', async () => {
    const { url } = await endpoint(() => undefined);
    expect(await run(url, ask('x'), {}, { timeout_seconds: 0.2 })).toMatchObject({ outcome: 'timeout' });
  });

  it('explains itself is quoted in the log, without what was searched and for whom', async () => {
    const query = 'salary of CANARY-Smith (2026)';
    const message = `Bad: '${query}' salary OF canary-smith in filter 't eq 'TENANT-x'' ${'long '.repeat(100)}`;
    const answer = {
      status: 400,
      headers: { 'request-id': 'azure-1' },
      body: { error: { code: 'InvalidArgument', message } },
    };
    const { url } = await service(answer);
    const { output, ...rest } = await run(url, ask(query, user({ tid: 'TENANT-x' })), {
      filter: "t eq '{{claims.tid}}'",
    });
    expect(output).toBe(failed);
    expect(rest).toMatchObject({
      outcome: 'failed',
      status: 400,
      azure: { code: 'InvalidArgument', requestId: 'azure-1', clientRequestId: expect.any(String) },
      error: { kind: 'status', message: expect.stringMatching(/^Azure AI Search answered with HTTP 400: Bad: '…'/) },
    });
    expect(JSON.stringify(rest)).not.toMatch(/canary|smith|salary|tenant|2026/i);
    expect(rest.error?.message.length).toBeLessThan(250);
  });
});
