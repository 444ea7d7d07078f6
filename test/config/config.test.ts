import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.js';
import { describeSettings } from '../../src/config/redact.js';
import type { Settings } from '../../src/config/settings.js';
import { ConfigError } from '../../src/problems.js';
import { certificatePem } from '../support/pem.js';
import { run } from '../support/process.js';

const folder = mkdtempSync(join(tmpdir(), 'relay-config-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const secret = 'a-secret-of-the-tests-that-is-long-enough';
const minimal = {
  AZURE_OPENAI_ENDPOINT: 'https://my-resource.openai.azure.com',
  AZURE_OPENAI_REALTIME_DEPLOYMENT: 'gpt-realtime',
  RELAY_JWT_SECRET: secret,
  RELAY_JWT_ISSUER: 'https://issuer.test',
  RELAY_JWT_AUDIENCE: 'relay',
};

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

function load(env: Record<string, string> = {}, yaml?: string): Settings {
  return loadConfig({ ...minimal, ...env, ...(yaml !== undefined && { RELAY_CONFIG: file('relay.yaml', yaml) }) });
}

/** The problems of a configuration, without the folder of its file. */
function problems(env: Record<string, string>, yaml?: string): string[] {
  try {
    load(env, yaml);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map((problem) => problem.replaceAll(`${folder}/`, ''));
  }
  return [];
}

describe('the environment', () => {
  it('makes one upstream and one profile, both named default', () => {
    const { upstreams, profiles, port, opsPort, host, origins, tls, warnings } = load();
    expect(upstreams).toEqual([
      {
        name: 'default',
        endpoint: 'https://my-resource.openai.azure.com',
        deployment: 'gpt-realtime',
        dialect: 'ga',
        apiKey: null,
        apiVersion: '2025-04-01-preview',
        scope: 'https://cognitiveservices.azure.com/.default',
        proxy: null,
      },
    ]);
    expect([...profiles.keys()]).toEqual(['default']);
    expect({ port, opsPort, host, origins, tls, warnings }).toEqual({
      port: 8080,
      opsPort: 9464,
      host: null,
      origins: [],
      tls: null,
      warnings: [],
    });
  });

  it('names a proxy that is neither an address nor a network', () => {
    const yaml =
      'trusted_proxies: 1\ntrusted_proxy_addresses: ["10.0.0.0/8", "fd00::1", "10.0.0.0/33", "proxy.internal"]\n';
    const found = problems({}, yaml);
    expect(found).toHaveLength(2);
    for (const problem of found) expect(problem).toMatch(/trusted_proxy_addresses.*must be an address or a network/);
  });

  it('has all its problems reported at once, each by its name', () => {
    const found = problems({
      PORT: 'eighty',
      RELAY_OPS_PORT: '70000',
      RELAY_JWT_SECRET: 'short',
      RELAY_JWT_ISSUER: '',
      RELAY_JWT_JWKS_URI: 'no address',
      RELAY_ALLOWED_ORIGINS: 'https://app.test/path',
      RELAY_TLS_CERT: join(folder, 'none.pem'),
      RELAY_LOG_LEVEL: 'loud',
      RELAY_QUERY_CREDENTIALS: 'maybe',
      RELAY_REDIS_URL: 'redis://cache.example.com',
      AZURE_OPENAI_ENDPOINT: 'http://my-resource.openai.azure.com',
      HTTPS_PROXY: 'proxy.test:3128',
    });
    const names = found.map((problem) => problem.split(':')[0]);
    expect(names.sort()).toEqual(
      [
        'AZURE_OPENAI_ENDPOINT',
        'HTTPS_PROXY',
        'PORT',
        'RELAY_ALLOWED_ORIGINS',
        'RELAY_JWT_ISSUER',
        'RELAY_JWT_JWKS_URI',
        'RELAY_JWT_SECRET',
        'RELAY_LOG_LEVEL',
        'RELAY_OPS_PORT',
        'RELAY_QUERY_CREDENTIALS',
        'RELAY_REDIS_URL',
        'RELAY_TLS_CERT',
        'RELAY_TLS_CERT, RELAY_TLS_KEY',
      ].sort(),
    );
  });

  it('says of a port that is none what one is', () => {
    for (const PORT of ['tcp://10.0.0.1:8080', 'eighty', '80a']) {
      expect(problems({ PORT })).toEqual(['PORT: must be a number from 0 to 65535']);
    }
  });

  it('says of a star where it may stand', () => {
    for (const origin of ['https://*.*.example.com', 'https://app*.example.com', 'https://*']) {
      expect(problems({ RELAY_ALLOWED_ORIGINS: origin })).toEqual([
        expect.stringMatching(/whole label.*https:\/\/\*\.example\.com/),
      ]);
    }
  });

  it('says what is missing when nothing is set', () => {
    expect(() => loadConfig({})).toThrow('The configuration has 5 problems.');
  });

  it('counts an empty or blank variable as not set', () => {
    expect(load({ AZURE_OPENAI_API_KEY: '', RELAY_TLS_CERT: '  ', PORT: '' })).toMatchObject({ port: 8080, tls: null });
    expect(problems({ RELAY_JWT_AUDIENCE: ' ' })).toEqual([
      'RELAY_JWT_AUDIENCE: missing; tokens are accepted only with exactly this value.',
    ]);
  });

  it('warns of a RELAY_ variable that does not exist, but not of those Kubernetes makes up', () => {
    const { warnings } = load({
      RELAY_JWT_SECRETS: 'x',
      RELAY_SERVICE_HOST: '10.0.0.1',
      RELAY_PORT_8080_TCP: 'tcp://10.0.0.1:8080',
      RELAY_PORT: 'tcp://10.0.0.1:8080',
    });
    expect(warnings).toEqual(['RELAY_JWT_SECRETS is set but is not a setting of the relay; RELAY_JWT_SECRET is.']);
  });

  it.each([
    [{ AZURE_OPENAI_REALTIME_DEPLOYMENT: 'a', AZURE_OPENAI_DEPLOYMENT: 'b', AZURE_OPENAI_DEPLOYMENT_NAME: 'c' }, 'a'],
    [{ AZURE_OPENAI_REALTIME_DEPLOYMENT: '', AZURE_OPENAI_DEPLOYMENT: 'b', AZURE_OPENAI_DEPLOYMENT_NAME: 'c' }, 'b'],
    [{ AZURE_OPENAI_REALTIME_DEPLOYMENT: '', AZURE_OPENAI_DEPLOYMENT_NAME: 'c' }, 'c'],
  ])('%j names the deployment %s', (env, deployment) => {
    expect(load(env).upstreams[0]?.deployment).toBe(deployment);
  });

  it.each([
    [{ AZURE_OPENAI_API_VERSION: '2024-10-01-preview', OPENAI_API_VERSION: 'x' }, '2024-10-01-preview'],
    [{ OPENAI_API_VERSION: '2024-10-01-preview' }, '2024-10-01-preview'],
  ])('%j names the api-version %s', (env, version) => {
    expect(load(env).upstreams[0]?.apiVersion).toBe(version);
  });
});

describe('the endpoint', () => {
  it.each(['https://x.test', 'wss://x.test/openai/v1', 'http://127.0.0.1:8091', 'http://localhost', 'ws://[::1]:1'])(
    '%s is accepted',
    (AZURE_OPENAI_ENDPOINT) => {
      expect(problems({ AZURE_OPENAI_ENDPOINT })).toEqual([]);
    },
  );

  it.each([
    'http://x.test',
    'http://127.0.0.1.x.test',
    'ws://10.0.0.1',
    'http://localhost.test',
    'x.test',
    'ftp://x.test',
  ])('%s is refused', (AZURE_OPENAI_ENDPOINT) => {
    expect(problems({ AZURE_OPENAI_ENDPOINT })).toEqual([expect.stringMatching(/^AZURE_OPENAI_ENDPOINT: /)]);
  });
});

describe('the scope of an endpoint', () => {
  const scopeOf = (env: Record<string, string>) => {
    const { upstreams, warnings } = load(env);
    return [upstreams[0]?.scope, ...warnings.map((warning) => warning.split(/:? /)[0])];
  };
  const us = { AZURE_OPENAI_ENDPOINT: 'https://x.openai.azure.us' };
  const ofUs = 'https://cognitiveservices.azure.us/.default';
  const ofPublic = 'https://cognitiveservices.azure.com/.default';

  it.each([
    ['https://x.openai.azure.com', ofPublic],
    ['https://gateway.test', ofPublic],
    ['https://azure.us.test', ofPublic],
    ['https://x.openai.azure.us', ofUs],
    ['wss://X.cognitiveservices.AZURE.US./openai/v1', ofUs],
    ['https://x.openai.azure.cn', 'https://cognitiveservices.azure.cn/.default'],
  ])('%s is that of its cloud: %s', (AZURE_OPENAI_ENDPOINT, scope) => {
    expect(scopeOf({ AZURE_OPENAI_ENDPOINT })).toEqual([scope]);
  });

  it('is that of its cloud in the YAML file, each for itself', () => {
    const yaml = 'upstreams:\n  - { name: a, endpoint: "https://a.openai.azure.us", deployment: d }\n';
    expect(load({ AZURE_OPENAI_ENDPOINT: '' }, yaml).upstreams[0]?.scope).toBe(ofUs);
    const own = yaml.replace('deployment: d', 'deployment: d, scope: https://cognitiveservices.azure.com');
    expect(load({ AZURE_OPENAI_ENDPOINT: '' }, own).warnings).toEqual([
      expect.stringMatching(/^upstreams\.a\.scope: .*\/\.default/),
      expect.stringMatching(/^upstreams\.a\.scope: .*another cloud/),
    ]);
  });

  it('is warned of where no token would be had, or another cloud asked, but not with an API key', () => {
    expect(scopeOf({ AZURE_OPENAI_SCOPE: ofPublic, ...us })).toEqual([ofPublic, 'AZURE_OPENAI_SCOPE']);
    expect(scopeOf({ AZURE_OPENAI_SCOPE: 'https://ai.azure.com' })).toEqual([
      'https://ai.azure.com',
      'AZURE_OPENAI_SCOPE',
    ]);
    expect(scopeOf({ AZURE_OPENAI_SCOPE: 'https://ai.azure.com/.default' })).toHaveLength(1);
    expect(scopeOf({ AZURE_CLIENT_SECRET: 'x', ...us })).toEqual([ofUs, 'AZURE_AUTHORITY_HOST']);
    expect(
      scopeOf({ AZURE_CLIENT_SECRET: 'x', AZURE_AUTHORITY_HOST: 'https://login.microsoftonline.us', ...us }),
    ).toEqual([ofUs]);
    expect(scopeOf({ AZURE_OPENAI_SCOPE: 'x', AZURE_OPENAI_API_KEY: 'key', ...us })).toEqual(['x']);
  });
});

describe('an endpoint with a path that would not be used', () => {
  it.each([
    'https://gateway.test/realtime-api',
    'https://gateway.test/realtime-api/openai/v1',
    'https://x.openai.azure.com/openai/deployments/another/chat/completions?api-version=1',
    'https://x.openai.azure.com/openai/realtime?api-version=1&deployment=another',
    'wss://x.openai.azure.com/openai/v1/realtime?model=another',
  ])('%s is refused by the name of its setting', (AZURE_OPENAI_ENDPOINT) => {
    expect(problems({ AZURE_OPENAI_ENDPOINT })).toEqual([expect.stringMatching(/^AZURE_OPENAI_ENDPOINT: it/)]);
  });

  it.each([
    'https://x.openai.azure.com/openai/v1/',
    'https://x.services.ai.azure.com/api/projects/p',
    'wss://x.openai.azure.com/openai/v1/realtime?model=gpt-realtime',
    'https://x.openai.azure.com//openai',
  ])('is not %s, which is what people copy', (AZURE_OPENAI_ENDPOINT) => {
    expect(problems({ AZURE_OPENAI_ENDPOINT })).toEqual([]);
  });
});

describe('the way to verify tokens', () => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const noSecret = { RELAY_JWT_SECRET: '' };

  it.each([
    ['none', noSecret, 'none is set'],
    ['two', { RELAY_JWT_PUBLIC_KEY: pem }, '2 are set'],
    ['three', { RELAY_JWT_PUBLIC_KEY: pem, RELAY_JWT_JWKS_URI: 'https://issuer.test/jwks' }, '3 are set'],
  ])('must be one, not %s', (_, env, what) => {
    expect(problems(env)).toEqual([
      `RELAY_JWT_SECRET, RELAY_JWT_PUBLIC_KEY, RELAY_JWT_JWKS_URI: set exactly one; ${what}.`,
    ]);
  });

  it('may be a public key as text, in one line, with blanks for line ends, as base64, or in a file', () => {
    const compact = pem.replace(/\s/g, '').replace(/-----[A-Z]+-----/g, '');
    const given = [
      ...[
        pem,
        pem.trim().replaceAll('\n', '\\n'),
        pem.trim().replaceAll('\n', '\\r\\n'),
        pem.trim().replaceAll('\n', ' '),
      ],
      ...[
        pem.replaceAll('\n', ''),
        `"${pem}"`,
        Buffer.from(pem).toString('base64'),
        Buffer.from(pem).toString('base64url'),
      ],
      ...[
        compact,
        compact.replace(/.{40}/g, '$&\n'),
        file('key.pem', pem),
        file('key.b64', Buffer.from(pem).toString('base64')),
      ],
    ];
    for (const RELAY_JWT_PUBLIC_KEY of given) {
      const source = load({ ...noSecret, RELAY_JWT_PUBLIC_KEY }).auth.issuers[0]?.source;
      expect(source?.kind === 'public_keys' && source.pems[0]?.trim()).toBe(pem.trim());
    }
    expect(problems({ ...noSecret, RELAY_JWT_PUBLIC_KEY: join(folder, 'no.pem') })).toEqual([
      'RELAY_JWT_PUBLIC_KEY: neither PEM text nor a readable file (ENOENT).',
    ]);
  });

  it('may be a certificate, also as its base64', () => {
    const text = certificatePem().cert;
    for (const RELAY_JWT_PUBLIC_KEY of [text.replaceAll('\n', ' '), text.replace(/-----[A-Z ]+-----|\s/g, '')]) {
      const source = load({ ...noSecret, RELAY_JWT_PUBLIC_KEY }).auth.issuers[0]?.source;
      expect(source?.kind === 'public_keys' && source.pems[0]?.trim()).toBe(text.trim());
    }
  });

  it('may be a secret that is given as base64 of its bytes', () => {
    const bytes = Buffer.from(secret);
    for (const encoding of ['base64', 'base64url'] as const) {
      const env = { RELAY_JWT_SECRET: bytes.toString(encoding), RELAY_JWT_SECRET_ENCODING: encoding };
      expect(load(env).auth.issuers[0]?.source).toEqual({
        kind: 'secrets',
        secrets: [{ base64: bytes.toString(encoding) }],
      });
    }
    const short = { RELAY_JWT_SECRET: Buffer.alloc(31, 'x').toString('base64'), RELAY_JWT_SECRET_ENCODING: 'base64' };
    expect(problems(short)[0]).toMatch(/^RELAY_JWT_SECRET: too short/);
    expect(problems({ RELAY_JWT_SECRET_ENCODING: 'base64', RELAY_JWT_SECRET: `${secret}!` })[0]).toMatch(
      /^RELAY_JWT_SECRET: not base64/,
    );
    expect(problems({ RELAY_JWT_SECRET_ENCODING: 'hex' })[0]).toMatch(/^RELAY_JWT_SECRET_ENCODING: /);
  });

  it('may be a key set over https, or over http on this machine', () => {
    for (const RELAY_JWT_JWKS_URI of ['https://issuer.test/jwks', 'http://127.0.0.1:8000/jwks']) {
      expect(problems({ ...noSecret, RELAY_JWT_JWKS_URI })).toEqual([]);
    }
    expect(problems({ ...noSecret, RELAY_JWT_JWKS_URI: 'http://issuer.test/jwks' })).toEqual([
      'RELAY_JWT_JWKS_URI: must be https://.',
    ]);
  });

  it('is told of an address that is none what one is like', () => {
    expect(problems({ ...noSecret, RELAY_JWT_JWKS_URI: 'id.example.com/keys' })).toContain(
      'RELAY_JWT_JWKS_URI: not an address; expected something like https://login.example.com/keys.',
    );
  });
});

describe('the issuers of the YAML file', () => {
  const noVariables = { RELAY_JWT_SECRET: '', RELAY_JWT_ISSUER: '', RELAY_JWT_AUDIENCE: '' };
  const issuers = (...entries: string[]) => `auth:\n  issuers:\n${entries.map((one) => `    - { ${one} }\n`).join('')}`;
  const good = 'issuer: https://a.test, audience: relay, jwks_uri: "https://a.test/keys"';
  const other = 'issuer: https://b.test, audience: relay, jwks_uri: "https://b.test/keys"';

  it('take the place of the variables, and say so', () => {
    const { auth, warnings } = load({}, issuers(good));
    expect(auth.issuers.map(({ issuer }) => issuer)).toEqual(['https://a.test']);
    expect(warnings).toEqual([
      'RELAY_JWT_ISSUER is ignored: RELAY_CONFIG lists auth.issuers.',
      'RELAY_JWT_AUDIENCE is ignored: RELAY_CONFIG lists auth.issuers.',
    ]);
  });

  it.each<[string, string, string]>([
    ['no audience', 'issuer: a, secrets: [a-secret-0123456789-0123456789-0123456]', 'auth.issuers.0.audience'],
    ['no audience and no client', `${good.replace('relay', 'null')}`, 'auth.issuers.0.client_ids'],
    ['no keys', 'issuer: a, audience: b', 'auth.issuers.0: jwks_uri, public_keys, secrets'],
    ['two ways to keys', `${good}, public_keys: [/no]`, 'auth.issuers.0'],
    [
      'a short secret',
      'issuer: a, audience: b, secrets: [012345678901234567890123456789012, x]',
      'auth.issuers.0.secrets',
    ],
    ['plain http', good.replace('https://a.test/keys', 'http://a.test/keys'), 'auth.issuers.0.jwks_uri'],
    ['{tid} without tenants', good.replace('https://a.test', '"https://a.test/{tid}"'), 'auth.issuers.0.tenants'],
    ['tenants without {tid}', `${good}, tenants: [x]`, 'auth.issuers.0.tenants'],
    ['a profile that does not exist', `${good}, profiles: { map: { a: nope } }`, 'auth.issuers: https://a.test'],
  ])('may not have %s', (_name, entry, setting) => {
    const found = problems(noVariables, issuers(entry));
    expect(found.length).toBeGreaterThan(0);
    expect(found[0]).toContain(setting);
  });

  it('are there once each', () => {
    expect(problems(noVariables, issuers(good, good)).join()).toContain('https://a.test is there twice');
  });

  it('must be named by profiles with claims, where there are several', () => {
    const profiles = 'profiles: { default: { session: { instructions: "Greet {{claims.name}}." } } }';
    expect(problems(noVariables, issuers(good) + profiles)).toEqual([]);
    expect(problems(noVariables, issuers(good, other) + profiles).join()).toContain('profiles.default.issuers');
    const named = profiles.replace('default: {', 'default: { issuers: ["https://a.test"],');
    expect(problems(noVariables, issuers(good, other) + named)).toEqual([]);
    const wrong = named.replace('a.test', 'c.test');
    expect(problems(noVariables, issuers(good, other) + wrong).join()).toContain('there is no issuer https://c.test');
  });

  it('have no cookie for every page there is', () => {
    expect(problems({ RELAY_ALLOWED_ORIGINS: '*' }, 'auth: { cookie: rt_token }').join()).toContain('auth.cookie');
    expect(load({ RELAY_ALLOWED_ORIGINS: 'https://a.test' }, 'auth: { cookie: rt_token }').auth.cookie).toBe(
      'rt_token',
    );
  });

  it('are shown without their secrets', () => {
    const secrets = ['a-first-secret-0123456789-0123456789', 'a-second-secret-0123456789-012345678'];
    const shown = JSON.stringify(
      describeSettings(load(noVariables, issuers(`issuer: a, audience: b, secrets: [${secrets.join(', ')}]`))),
    );
    for (const one of secrets) expect(shown).not.toContain(one);
    expect(shown).toContain('********');
  });
});

describe('what others put into the environment', () => {
  it('is told and left out: the link of Kubernetes to a Service called relay-ops, the machine of conda', () => {
    for (const HOST of ['x86_64-conda-linux-gnu', 'x86_64-conda_cos6-linux-gnu', 'arm64-apple-darwin20.0.0']) {
      const { host, opsPort, warnings } = load({ RELAY_OPS_PORT: 'tcp://10.43.7.1:9464', HOST });
      expect({ host, opsPort }).toEqual({ host: null, opsPort: 9464 });
      expect(warnings.map((warning) => warning.split(' ')[0]).sort()).toEqual(['HOST', 'RELAY_OPS_PORT']);
    }
  });

  it.each(['0.0.0.0', '::', '127.0.0.1', 'localhost', 'relay-1.internal', 'fe80::1%lo'])('is not HOST=%s', (HOST) => {
    expect(load({ HOST })).toMatchObject({ host: HOST, warnings: [] });
  });

  it.each(['my_machine', 'http://0.0.0.0', '[::]', '0.0.0.0:8080', '-'])(
    'HOST=%s is no address, by its name',
    (HOST) => {
      expect(problems({ HOST }).map((problem) => problem.split(':')[0])).toEqual(['HOST']);
    },
  );

  it('is said where a value came with its quotes, also when nothing can be made of it', () => {
    expect(load({ RELAY_JWT_ISSUER: '"https://issuer.test"', FOREIGN: '"x"' }).warnings).toEqual([
      expect.stringMatching(/^RELAY_JWT_ISSUER: its value begins and ends with a quote/),
    ]);
    const found = problems({ PORT: "'8080'", AZURE_OPENAI_ENDPOINT: '"https://x.openai.azure.com"' });
    for (const name of ['PORT', 'AZURE_OPENAI_ENDPOINT']) {
      expect(
        found.filter((problem) => problem.startsWith(`${name}: its value begins and ends with a quote`)),
      ).toHaveLength(1);
    }
  });
});

describe('the allowed origins', () => {
  it('are a list of exact origins, or all', () => {
    expect(load({ RELAY_ALLOWED_ORIGINS: 'https://a.test, http://localhost:3000 ,' }).origins).toEqual([
      'https://a.test',
      'http://localhost:3000',
    ]);
    expect(load({ RELAY_ALLOWED_ORIGINS: '*' }).origins).toBe('*');
  });

  it.each([
    'tauri://localhost',
    'capacitor://localhost',
    'ionic://localhost',
    'app://example.test',
    'chrome-extension://abcdefghijklmnop',
    'https://*.example.com',
    'https://*.example.com:8443',
    'http://[::1]:3000',
  ])('may be %s', (origin) => {
    expect(load({ RELAY_ALLOWED_ORIGINS: origin }).origins).toEqual([origin]);
  });

  it.each([
    'https://a.test/',
    'a.test',
    'https://*.a.test,*',
    'https://A.test',
    'null',
    'https://a.test:443',
    'https://*.com',
    'https://*',
    'https://a.*.test',
    'https://*a.test',
    'https://*.*.a.test',
    'tauri://',
    'tauri://localhost/',
    'https://user@a.test',
    'https://1.2',
  ])('may not be %s, which is named', (origins) => {
    const [problem = ''] = problems({ RELAY_ALLOWED_ORIGINS: origins });
    expect(problem).toMatch(/^RELAY_ALLOWED_ORIGINS: "/);
    expect(problem).toContain(origins.split(',').at(-1));
  });
});

describe('the proxy', () => {
  const proxy = 'http://user:hidden@proxy.test:3128';
  const proxyOf = (env: Record<string, string>) => load(env).upstreams[0]?.proxy;

  it('is used for upstreams, and never for loopback', () => {
    expect(proxyOf({ HTTPS_PROXY: proxy })).toBe(proxy);
    expect(proxyOf({ https_proxy: proxy })).toBe(proxy);
    expect(proxyOf({ HTTPS_PROXY: proxy, AZURE_OPENAI_ENDPOINT: 'http://127.0.0.1:8091' })).toBeNull();
  });

  it.each([
    '*',
    'openai.azure.com',
    '.azure.com',
    '*.azure.com',
    'a.test, my-resource.openai.azure.com:443',
    'AZURE.COM',
  ])('is not used with NO_PROXY=%s', (NO_PROXY) => {
    expect(proxyOf({ HTTPS_PROXY: proxy, NO_PROXY })).toBeNull();
  });

  it('is told which entries of NO_PROXY match nothing', () => {
    const NO_PROXY =
      '10.0.0.0/8, fd00::5, [fd00::5]:443, *.a.test, .b.test:80, localhost, *, 10.0.0.*, 10.0.0, 10.0.0.0/33, ' +
      'https://c.test, d.test/x, *e.*, 1.2.3.4.5, f.test:x';
    const { warnings } = load({ HTTPS_PROXY: proxy, NO_PROXY });
    expect(warnings.map((warning) => /^NO_PROXY: "([^"]+)" /.exec(warning)?.[1])).toEqual([
      ...['10.0.0.*', '10.0.0', '10.0.0.0/33', 'https://c.test', 'd.test/x', '*e.*', '1.2.3.4.5', 'f.test:x'],
    ]);
    expect(load({ NO_PROXY }).warnings).toEqual([]);
  });

  it.each(['zure.com', 'my-resource', 'x.openai.azure.com', 'azure.com:8443'])(
    'is used with NO_PROXY=%s',
    (NO_PROXY) => {
      expect(proxyOf({ HTTPS_PROXY: proxy, NO_PROXY })).toBe(proxy);
    },
  );
});

// biome-ignore-start lint/suspicious/noTemplateCurlyInString: this is how the YAML file names variables
describe('the YAML file', () => {
  it('has all its problems reported at once, each with its line', () => {
    const yaml = [
      'upstreams:', // 1
      '  - name: East US', // 2
      '    endpoint: https://a.test', // 3
      '    deployment: d', // 4
      'profiles:', // 5
      '  default:', // 6
      '    limits:', // 7
      '      idle_second: 60', // 8
      '      refusals: many', // 9
      '    session:', // 10
      '      voice: marin', // 11
      '      audio:', // 12
      '        output: { speed: 3 }', // 13
      '    client: { may_update: [instructions] }', // 14
      'limits:', // 15
      '  sessions: 0', // 16
      'log: debug', // 17
    ].join('\n');
    const found = problems({}, yaml).map((problem) => problem.split(': ').slice(0, 2).join(': '));
    expect(found.sort()).toEqual(
      [
        'relay.yaml:2: upstreams.0.name',
        'relay.yaml:8: profiles.default.limits.idle_second',
        'relay.yaml:9: profiles.default.limits.refusals',
        'relay.yaml:11: profiles.default.session.voice',
        'relay.yaml:13: profiles.default.session.audio.output.speed',
        'relay.yaml:14: profiles.default.client.may_update.0',
        'relay.yaml:16: limits.sessions',
        'relay.yaml:17: log',
      ].sort(),
    );
  });

  it('calls a misspelt key what it is', () => {
    expect(problems({}, 'limitz: {}')).toEqual(['relay.yaml:1: limitz: not a setting; check the spelling.']);
  });

  it('has the problems of the environment reported with its own', () => {
    const found = problems({ PORT: 'eighty', RELAY_JWT_ISSUER: '' }, 'limits: { sessions: 0 }');
    expect(found.map((problem) => problem.split(/:(?!\d)/)[0]).sort()).toEqual([
      'PORT',
      'RELAY_JWT_ISSUER',
      'relay.yaml:1',
    ]);
  });

  it.each([
    ['an open bracket', 'profiles: [\n', 'relay.yaml:2: '],
    ['a key twice', 'limits: {}\nprofiles: {}\nlimits: {}', 'relay.yaml:3: '],
    ['a tab', 'limits:\n\tsessions: 1', 'relay.yaml:2: '],
  ])('names the line of %s', (_, yaml, start) => {
    const [first = ''] = problems({}, yaml);
    expect(first.startsWith(start)).toBe(true);
  });

  it('must be readable', () => {
    expect(problems({ RELAY_CONFIG: join(folder, 'none.yaml') })).toEqual([
      'RELAY_CONFIG: cannot read none.yaml (ENOENT).',
    ]);
  });

  it('may be empty, and then changes nothing', () => {
    const { upstreams, profiles, limits } = load({}, '# nothing yet\n');
    expect({ upstreams, profiles, limits }).toEqual({
      upstreams: load().upstreams,
      profiles: load().profiles,
      limits: load().limits,
    });
  });

  it('has a profile default even when it names others only', () => {
    expect([...load({}, 'profiles: { support: {} }').profiles.keys()].sort()).toEqual(['default', 'support']);
  });

  it('replaces ${NAME} by the environment, as a number or a boolean where it stands alone without quotes', () => {
    const yaml = [
      'upstreams:',
      '  - { name: a, endpoint: "https://${RES}.test", deployment: "${NUMBER}", api_key: "${KEY}" }',
      'profiles:',
      '  default:',
      '    client:',
      '      report_only: ${FLAG}',
      '    session: { instructions: "${NUMBER} of ${RES}, not $RES or {{claims.name}}" } # ${MISSING}',
      'limits:',
      '  sessions: ${NUMBER}',
    ].join('\n');
    const env = { RES: 'res', KEY: '${NUMBER}: "quoted" # text', NUMBER: '7', FLAG: 'true', AZURE_OPENAI_ENDPOINT: '' };
    const { upstreams, profiles, limits } = load(env, yaml);
    // What a variable holds is neither expanded again nor read as YAML.
    expect(upstreams[0]).toMatchObject({ endpoint: 'https://res.test', deployment: '7', apiKey: env.KEY });
    expect(profiles.get('default')?.client.report_only).toBe(true);
    expect(profiles.get('default')?.session.instructions).toBe('7 of res, not $RES or {{claims.name}}');
    expect(limits.sessions).toBe(7);
  });

  it('names the line of a ${NAME} that is not set', () => {
    expect(problems({}, 'limits:\n  sessions: ${NOT_SET}')).toContain(
      'relay.yaml:2: limits.sessions: the environment variable NOT_SET is not set.',
    );
  });

  it('lists upstreams in place of the environment, says so, and takes from it what they leave out', () => {
    const yaml = 'upstreams: [{ name: a, endpoint: https://a.test, deployment: d, dialect: preview }]';
    const { upstreams, warnings } = load(
      { AZURE_OPENAI_API_VERSION: '2024-10-01-preview', AZURE_OPENAI_SCOPE: 'https://s.test/.default' },
      yaml,
    );
    expect(upstreams).toMatchObject([
      {
        name: 'a',
        dialect: 'preview',
        apiVersion: '2024-10-01-preview',
        scope: 'https://s.test/.default',
        apiKey: null,
      },
    ]);
    expect(warnings).toEqual(['AZURE_OPENAI_ENDPOINT is ignored: RELAY_CONFIG lists upstreams.']);
  });

  it('names each upstream once', () => {
    const one = '{ name: a, endpoint: https://a.test, deployment: d }';
    expect(problems({}, `upstreams: [${one}, ${one}]`)).toEqual([
      'upstreams: the name "a" is used twice (relay.yaml:1).',
    ]);
  });
});

describe('realtime-relay check', () => {
  const canaries = [
    'canary-key',
    'canary-jwt-secret-that-is-long-enough',
    'canary-proxy',
    'canary-mcp',
    'canary-header',
  ];
  const [key, jwtSecret, proxyPassword, mcp, header] = canaries;
  const env = {
    ...minimal,
    RELAY_JWT_SECRET: jwtSecret as string,
    HTTPS_PROXY: `http://user:${proxyPassword}@proxy.test:3128`,
    UPSTREAM_KEY: key as string,
    RELAY_CONFIG: file(
      'secrets.yaml',
      [
        'upstreams: [{ name: a, endpoint: https://a.test, deployment: d, api_key: "${UPSTREAM_KEY}" }]',
        'profiles:',
        '  default:',
        '    session:',
        '      tools:',
        `        - { type: mcp, server_label: s, authorization: ${mcp}, headers: { X-Key: ${header} } }`,
      ].join('\n'),
    ),
  };

  it('masks every secret', () => {
    const shown = JSON.stringify(describeSettings(loadConfig(env)));
    expect(shown).toContain('proxy.test:3128');
    expect(canaries.filter((canary) => shown.includes(canary))).toEqual([]);
  });

  it('prints the effective configuration without a secret, and exits 0', async () => {
    const command = run(['check'], env);
    expect(await command.exited).toBe(0);
    const text = command.lines.join('\n');
    expect(text).toContain('"deployment": "d"');
    expect(canaries.filter((canary) => text.includes(canary))).toEqual([]);
    expect(text).toContain('warning: AZURE_OPENAI_ENDPOINT is ignored');
  });

  it.each([
    ['a misspelt key', { RELAY_CONFIG: file('typo.yaml', 'profiles:\n  default:\n    limit: {}\n') }, 'typo.yaml:3: '],
    ['a certificate that is not there', { RELAY_TLS_CERT: '/no.crt', RELAY_TLS_KEY: '/no.key' }, 'RELAY_TLS_CERT: '],
    [
      'PEM text for a path',
      { RELAY_TLS_CERT: '-----BEGIN canary', RELAY_TLS_KEY: '-----BEGIN canary' },
      'RELAY_TLS_KEY: holds',
    ],
    ['a password in the endpoint', { AZURE_OPENAI_ENDPOINT: 'https://user:canary@a.test' }, 'user name or password'],
  ])('exits 78 and names %s', async (_, wrong, said) => {
    const command = run(['check'], { ...minimal, ...wrong });
    expect(await command.exited).toBe(78);
    expect(command.lines.join('\n')).toContain(said);
    expect(command.lines.join('\n')).not.toContain('canary');
  });
});
// biome-ignore-end lint/suspicious/noTemplateCurlyInString: as above
