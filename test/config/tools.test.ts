import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { loadConfig } from '../../src/config/load.js';
import { describeSettings, secretsOf } from '../../src/config/redact.js';
import { toolHints } from '../../src/config/toolrules.js';
import { ConfigError } from '../../src/problems.js';

const folder = mkdtempSync(join(tmpdir(), 'relay-tools-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const signing = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';

function load(file: object) {
  const path = join(folder, 'relay.yaml');
  writeFileSync(path, stringify(file));
  return loadConfig({
    RELAY_CONFIG: path,
    AZURE_OPENAI_ENDPOINT: 'https://my-resource.openai.azure.com',
    AZURE_OPENAI_REALTIME_DEPLOYMENT: 'gpt-realtime',
    ...(!('auth' in file) && {
      RELAY_JWT_SECRET: 'a-secret-of-the-tests-that-is-long-enough',
      RELAY_JWT_ISSUER: 'https://issuer.test',
      RELAY_JWT_AUDIENCE: 'relay',
    }),
  });
}

function problems(file: object): string {
  try {
    load(file);
    return '';
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map((problem) => problem.replaceAll(`${folder}/`, '')).join('\n');
  }
}

const profile = (...tools: object[]) => ({ profiles: { default: { tools } } });
const http = (changes: object, more: object = {}) => ({
  name: 'order',
  runs: 'http',
  http: { url: 'https://orders.example/', ...changes },
  ...more,
});
const search = (changes: object, more: object = {}) => ({
  name: 'search',
  runs: 'search',
  search: { endpoint: 'https://s.search.windows.net', index: 'handbook', ...changes },
  ...more,
});

describe('tools that can be used', () => {
  it.each<[string, object]>([
    ['over HTTPS', http({})],
    ['at loopback', http({ url: 'http://localhost:3000/x?a=1' })],
    ['at a private address', http({ url: 'http://10.1.2.3/' })],
    ['at a private address of IPv6', http({ url: 'http://[fd00::1]/' })],
    ['at a private name', http({ url: 'http://orders.default.svc/', private: true })],
    [
      'with claims in headers',
      http({ headers: { 'X-User': 'u {{claims.sub}} {{ issuer }}', authorization: 'ApiKey x' } }),
    ],
    ['with either credential', http({ auth: { entra_scope: 'api://x/.default' } })],
    ['with two secrets', http({ secret: [signing, signing], claims: ['email'] })],
    [
      'with the shortest time',
      http({}, { timeout_seconds: 0.1, filler: { after_ms: 500, say: 'A moment, {{claims.name}}.' } }),
    ],
    ['for a backend', { name: 'pay', runs: 'backend', parameters: { type: 'object' } }],
    [
      'of an index',
      search({ query: 'semantic', semantic_configuration: 'default', top: 50, api_version: '2024-07-01' }),
    ],
    ['of an index at home', search({ endpoint: 'http://127.0.0.1:3000/' })],
    [
      'with a filter',
      search({ filter: "a eq '{{claims.a}}' and g/any(x:search.in(x, '{{claims.b}}', '|')) and c gt 5" }),
    ],
  ])('%s', (_name, tool) => {
    expect(problems(profile(tool))).toBe('');
  });

  it('have the defaults that are written down', () => {
    const [first, second] = load(profile(http({}), search({}))).profiles.get('default')?.tools ?? [];
    expect(first).toMatchObject({
      timeout_seconds: 10,
      on_interrupt: 'finish',
      result: 'model',
      after: 'any',
      http: { method: 'POST', headers: {}, claims: [], private: false },
    });
    expect(second).toMatchObject({
      search: {
        api_version: '2026-04-01',
        scope: 'https://search.azure.com/.default',
        role: 'search',
        query: 'hybrid',
        top: 5,
        fields: { id: 'chunk_id', content: 'chunk', title: 'title', vector: 'text_vector' },
      },
    });
  });
});

describe('a tool that cannot be used is refused with its line:', () => {
  it.each<[string, object | object[], string]>([
    ['another key', http({ timeout: 5 }), 'tools.0.http.timeout: not a setting'],
    ['http without runs: http', { ...search({}), http: { url: 'https://a.example' } }, 'tools.0.http: not a setting'],
    ['search without runs: search', { ...http({}), search: {} }, 'tools.0.search: not a setting'],
    ['runs: http without http', { name: 'a', runs: 'http' }, 'tools.0.http'],
    ['runs: search without search', { name: 'a', runs: 'search' }, 'tools.0.search'],
    ['no runs', { name: 'a' }, 'tools.0.runs'],
    ['a name twice', [http({}), http({})], 'tools.1.name: there are two tools called order'],
    ['a bad name', http({}, { name: 'a b' }), 'tools.0.name'],
    ['too little time', http({}, { timeout_seconds: 0.05 }), 'tools.0.timeout_seconds'],
    ['too much time', http({}, { timeout_seconds: 121 }), 'tools.0.timeout_seconds'],
    ['a filler without words', http({}, { filler: { after_ms: 1000 } }), 'tools.0.filler.say'],
    ['a filler too soon', http({}, { filler: { after_ms: 499, say: 'x' } }), 'tools.0.filler.after_ms'],
    [
      'a filler of arguments',
      http({}, { filler: { say: '{{arguments.x}}' } }),
      'tools.order.filler.say: holds {{arguments.x}}',
    ],
    ['a template in the URL', http({ url: 'https://{{claims.host}}/' }), 'tools.order.http.url: holds {{'],
    [
      'a credential in the URL',
      http({ url: 'https://a:b@orders.example/' }),
      'http.url: must not contain a credential',
    ],
    ['a fragment in the URL', http({ url: 'https://orders.example/#a' }), 'http.url: must not have a fragment'],
    ['no URL', http({ url: 'orders.example' }), 'http.url: not an address'],
    ['another scheme', http({ url: 'file:///etc/passwd' }), 'http.url: not an address'],
    ['plain HTTP to a name', http({ url: 'http://orders.example/' }), 'http.url: must be https://'],
    ['plain HTTP to a public address', http({ url: 'http://8.8.8.8/', private: true }), 'http.url: must be https://'],
    [
      'the metadata service',
      http({ url: 'http://169.254.169.254/metadata', private: true }),
      'http.url: is an address at which clouds',
    ],
    [
      'the metadata service in another form',
      http({ url: 'https://[::ffff:a9fe:a9fe]/' }),
      'http.url: is an address at which clouds',
    ],
    ['the wire server of Azure', http({ url: 'https://168.63.129.16/' }), 'http.url: is an address at which clouds'],
    ['two credentials', http({ auth: { bearer: 'a', entra_scope: 'api://x/.default' } }), 'http.auth: must be one of'],
    ['no credential of auth', http({ auth: {} }), 'http.auth: must be one of'],
    [
      'a credential twice',
      http({ auth: { bearer: 'a' }, headers: { Authorization: 'b' } }),
      'http.headers.Authorization: is what http.auth says',
    ],
    [
      'a scope of a user',
      http({ auth: { entra_scope: 'api://x/read' } }),
      'http.auth.entra_scope: must end with /.default',
    ],
    ['a bearer of two lines', http({ auth: { bearer: 'a\nb' } }), 'http.auth.bearer: holds characters'],
    ['a signed GET', http({ method: 'GET', secret: signing }), 'http.secret: signs a body'],
    ['claims of a GET', http({ method: 'GET', claims: ['email'] }), 'http.claims: are sent in a body'],
    ['a short secret', http({ secret: 'abc' }), 'http.secret'],
    ['three secrets', http({ secret: [signing, signing, signing] }), 'http.secret'],
    ...[
      'Host',
      'Content-Length',
      'content-type',
      'Transfer-Encoding',
      'connection',
      'webhook-id',
      'Webhook-Signature',
      'accept-encoding',
    ].map((name): [string, object, string] => [
      `the header ${name}`,
      http({ headers: { [name]: 'x' } }),
      `http.headers.${name}: is for the relay to say`,
    ]),
    ['a header twice', http({ headers: { 'x-a': '1', 'X-A': '2' } }), 'http.headers.X-A: is there twice'],
    ['a header that is none', http({ headers: { 'a b': '1' } }), 'http.headers: holds a name'],
    ['a header of two lines', http({ headers: { 'x-a': 'a\r\nb' } }), 'http.headers.x-a: holds characters'],
    [
      'arguments in a header',
      http({ headers: { 'x-a': '{{arguments.x}}' } }),
      'http.headers.x-a: holds {{arguments.x}}',
    ],
    ['a template that does not end', http({ headers: { 'x-a': '{{claims.x' } }), 'http.headers.x-a: holds {{'],
    [
      'parameters that do not compile',
      http({}, { parameters: { type: 'object', properties: { a: { type: 'strin' } } } }),
      'tools.order.parameters: parameters/properties/a/type',
    ],
    [
      'parameters that are no object',
      http({}, { parameters: { type: 'array' } }),
      'tools.order.parameters: must have type: object',
    ],
    [
      'remote parameters',
      http({}, { parameters: { type: 'object', $ref: 'https://a.example/s.json' } }),
      "tools.order.parameters: can't resolve",
    ],
    ['parameters of a search', search({}, { parameters: { type: 'object' } }), 'tools.0.parameters: not a setting'],
    ['semantic without its configuration', search({ query: 'semantic' }), 'search.semantic_configuration: missing'],
    [
      'a configuration for keywords',
      search({ query: 'keyword', semantic_configuration: 'a' }),
      'search.semantic_configuration: is not for',
    ],
    [
      'a configuration for vectors',
      search({ query: 'vector', semantic_configuration: 'a' }),
      'search.semantic_configuration: is not for',
    ],
    ['too many results', search({ top: 51 }), 'tools.0.search.top'],
    ['an index that is none', search({ index: 'A/b' }), 'tools.0.search.index'],
    ['fields that are a list', search({ fields: { id: 'a,b' } }), 'tools.0.search.fields.id'],
    ['a service over plain HTTP', search({ endpoint: 'http://10.0.0.1' }), 'search.endpoint: must be https://'],
    [
      'a service with a path',
      search({ endpoint: 'https://s.search.windows.net/indexes/a' }),
      'search.endpoint: expected',
    ],
    [
      'a service that is metadata',
      search({ endpoint: 'https://169.254.169.254' }),
      'search.endpoint: is an address at which clouds',
    ],
    ['a scope that is none', search({ scope: 'https://search.azure.com' }), 'search.scope: must end with /.default'],
    [
      'a filter without quotes',
      search({ filter: 'a eq {{claims.a}}' }),
      'search.filter: has a template outside of quotes',
    ],
    ['a filter that is not closed', search({ filter: "a eq 'b" }), 'search.filter: has a quote'],
    ['a filter of arguments', search({ filter: "a eq '{{arguments.a}}'" }), 'search.filter: holds {{arguments.a}}'],
    [
      'a list without its delimiter',
      search({ filter: "search.in(g, '{{claims.g}}')" }),
      'search.filter: has a list in search.in',
    ],
    [
      'a list with another delimiter',
      search({ filter: "search.in(g, '{{claims.g}}', ',')" }),
      'search.filter: has a list in search.in',
    ],
    [
      'a list with two delimiters',
      search({ filter: "search.in(g, '{{claims.g}}', '|,')" }),
      'search.filter: has a list in search.in',
    ],
    [
      'a delimiter of the user',
      search({ filter: "search.in(g, 'a|b', '{{claims.d}}')" }),
      'search.filter: has a template for the delimiter',
    ],
    [
      'words of the user',
      search({ filter: "search.ismatch('{{claims.w}}')" }),
      'search.filter: has a template in search.ismatch',
    ],
    [
      'sources without the filter of the search',
      [
        search({ filter: "t eq '{{claims.t}}'" }),
        search({ role: 'grounding', endpoint: 'https://S.search.windows.net/' }, { name: 'cite' }),
      ],
      'tools.cite.search.filter: missing; search has one',
    ],
  ])('%s', (_name, tools, problem) => {
    const found = problems(profile(...[tools].flat()));
    expect(found).toContain(`profiles.default.`);
    expect(found).toContain(problem);
    expect(found).toContain('relay.yaml:');
    expect(found.split('\n')).toHaveLength(1);
  });

  const auth = {
    issuers: ['a', 'b'].map((issuer) => ({
      issuer,
      audience: 'relay',
      secrets: ['a-secret-of-the-tests-that-is-long-enough'],
      profiles: { map: {} },
    })),
  };
  it.each<[string, object, boolean]>([
    ['HTTP tools', http({}), true],
    ['a filter of claims', search({ filter: "t eq '{{claims.t}}'" }), true],
    ['a filler with a claim', search({}, { filler: { say: '{{claims.name}}' } }), true],
    ['a search for everybody', search({}), false],
    ['a tool of a backend', { name: 'pay', runs: 'backend' }, false],
  ])('several issuers, and %s of nobody in particular', (_name, tool, isWrong) => {
    const text = problems({ auth, ...profile(tool) });
    expect(text.includes('profiles.default.issuers: missing')).toBe(isWrong);
    expect(problems({ auth, profiles: { default: { issuers: ['a'], tools: [tool] } } })).toBe('');
  });
});

describe('what check says of tools that work', () => {
  const hints = (file: Record<string, unknown>) => {
    const found = load({ profiles: { default: { webrtc: { enabled: false }, ...file } } }).profiles.get('default');
    return found ? toolHints(found) : [];
  };
  const mcp = { type: 'mcp', server_label: 'orders', server_url: 'https://mcp.example' };

  it('names functions that nobody runs, unless the client is trusted', () => {
    const session = { tools: [{ type: 'function', name: 'lost' }] };
    expect(hints({ session })).toEqual([
      'profiles.default.session.tools: nobody runs the tool lost; list it under tools.',
    ]);
    expect(hints({ session, client: { trust: 'trusted' } })).toEqual([]);
  });

  it('names MCP tools whose calls nobody can approve', () => {
    expect(hints({ session: { tools: [mcp] } })[0]).toContain(
      'the MCP tools of orders have no require_approval: never',
    );
    expect(hints({ session: { tools: [{ ...mcp, require_approval: 'always' }] } })).toHaveLength(1);
    expect(hints({ session: { tools: [{ ...mcp, require_approval: 'never' }] } })).toEqual([]);
    expect(hints({ session: { tools: [mcp] }, client: { trust: 'trusted' } })).toEqual([]);
  });

  it('tells that WebRTC is refused where the server runs tools', () => {
    const served = { tools: [http({})], webrtc: {} };
    expect(hints(served)[0]).toContain('profiles.default.webrtc: calls and ephemeral keys are refused');
    expect(hints({ ...served, webrtc: { tools: 'exposed' } })).toEqual([]);
    expect(hints({ tools: [{ name: 'a', runs: 'client' }], webrtc: {} })).toEqual([]);
  });

  it('names POST tools that a text which was found may make the model call', () => {
    const session = { tools: [{ ...mcp, require_approval: 'never' }] };
    const named = (tools: object[], more: object = {}) => hints({ tools, ...more }).map((hint) => hint.split(' ')[0]);
    expect(named([http({}), search({})])).toEqual(['profiles.default.tools.order.after']);
    expect(named([http({})], { session })).toEqual(['profiles.default.tools.order.after']);
    expect(named([http({})])).toEqual([]);
    expect(named([http({ method: 'GET' }), search({})])).toEqual([]);
    expect(named([http({}, { after: 'user' }), search({})])).toEqual([]);
  });

  it('names the scope of another cloud', () => {
    const endpoint = 'https://s.search.azure.us';
    expect(hints({ tools: [search({ endpoint })] })).toEqual([
      'profiles.default.tools.search.search.scope is that of another cloud; expected https://search.azure.us/.default.',
    ]);
    expect(hints({ tools: [search({ endpoint, scope: 'https://search.azure.us/.default' })] })).toEqual([]);
    expect(hints({ tools: [search({ endpoint, api_key: 'key' })] })).toEqual([]);
  });

  it('names sources that nobody is shown', () => {
    expect(hints({ tools: [search({ role: 'grounding' })] })[0]).toContain('tools.search.result is not client');
    expect(hints({ tools: [search({ role: 'grounding' }, { result: 'client' })] })).toEqual([]);
  });
});

it('secrets of tools are neither shown nor logged, and names of arguments are no secrets', () => {
  const secrets = {
    bearer: 'bearer-canary',
    secret: signing,
    headers: { 'x-key': 'header-canary' },
    key: 'search-canary',
  };
  const parameters = {
    type: 'object',
    properties: { secret: { type: 'string', description: 'Say the password' }, headers: { type: 'string' } },
  };
  const settings = load(
    profile(
      http({ auth: { bearer: secrets.bearer }, secret: [signing], headers: secrets.headers }, { parameters }),
      search({ api_key: secrets.key }),
    ),
  );
  const shown = JSON.stringify(describeSettings(settings));
  for (const secret of [secrets.bearer, signing, 'header-canary', secrets.key]) {
    expect(shown).not.toContain(secret);
    expect(secretsOf(settings)).toContain(secret);
  }
  expect(shown).toContain('Say the password');
  expect(secretsOf(settings)).not.toContain('Say the password');
});
