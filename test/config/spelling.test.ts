import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.js';
import type { Settings } from '../../src/config/settings.js';
import { ConfigError } from '../../src/problems.js';
import { run } from '../support/process.js';

const folder = mkdtempSync(join(tmpdir(), 'relay-spelling-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const secret = 'a-secret-of-the-tests-that-is-long-enough';
const minimal = {
  AZURE_OPENAI_ENDPOINT: 'https://my-resource.openai.azure.com',
  AZURE_OPENAI_REALTIME_DEPLOYMENT: 'gpt-realtime',
  RELAY_JWT_SECRET: secret,
  RELAY_JWT_ISSUER: 'https://issuer.test',
  RELAY_JWT_AUDIENCE: 'relay',
};

function file(name: string, content: string | Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

function load(env: Record<string, string> = {}, yaml?: string | Buffer): Settings {
  return loadConfig({ ...minimal, ...env, ...(yaml !== undefined && { RELAY_CONFIG: file('relay.yaml', yaml) }) });
}

/** The problems of a configuration, without the folder of its file. */
function problems(env: Record<string, string>, yaml?: string | Buffer): string[] {
  try {
    load(env, yaml);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map((problem) => problem.replaceAll(`${folder}/`, ''));
  }
  return [];
}

const instructions = (settings: Settings) => settings.profiles.get('default')?.session.instructions;
const spoken = (text: string) => `profiles:\n  default:\n    session:\n      instructions: ${text}\n`;

// biome-ignore-start lint/suspicious/noTemplateCurlyInString: this is how the YAML file names variables
describe('a reference in the YAML file', () => {
  it.each([
    ['${A:-none}', {}, 'none'],
    ['${A:-none}', { A: '' }, 'none'],
    ['${A:-none}', { A: ' \n' }, 'none'],
    ['${A:-none}', { A: 'some' }, 'some'],
    ['${A-none}', { A: '' }, ''],
    ['${A-none}', {}, 'none'],
    ['x${A:-}y', {}, 'xy'],
    ['${A:-a b, c}', {}, 'a b, c'],
    ['${A:-none} and ${B:-${A}', { B: 'b' }, null],
    ['$${A} costs $5 and $$6', { A: 'a' }, '${A} costs $5 and $$6'],
    ['$${A:-none}', {}, '${A:-none}'],
    ['${A}', { A: '${B}' }, '${B}'],
  ])('%s with %j is %s', (text, env, meaning) => {
    const yaml = spoken(JSON.stringify(text));
    if (meaning === null) expect(problems(env, yaml)).not.toEqual([]);
    else expect(instructions(load(env, yaml))).toBe(meaning);
  });

  it('may have a number or a boolean for its default', () => {
    const yaml =
      'limits:\n  sessions: ${MANY:-7}\nprofiles:\n  default:\n    client:\n      report_only: ${FLAG:-true}';
    const { limits, profiles } = load({}, yaml);
    expect([limits.sessions, profiles.get('default')?.client.report_only]).toEqual([7, true]);
  });

  it.each(['${A.b}', '${A:?is needed}', '${A:+other}', '${', '${A', '${1A}', '${ A }', '${{A}}', '${A:-${B}}'])(
    'that reads %s is a problem with its setting and line',
    (text) => {
      const found = problems({ A: 'a', B: 'b' }, spoken(`"one \n\n        ${text} two"`));
      expect(found).toHaveLength(1);
      expect(found[0]).toMatch(/^relay\.yaml:6: profiles\.default\.session\.instructions: \$\{.*write \$\$\{/);
    },
  );

  it('to nothing is one problem, at its line of a longer text', () => {
    const yaml = spoken('|\n        You help.\n        Ask for ${NOT_SET}.\n');
    expect(problems({}, yaml)).toEqual([
      'relay.yaml:6: profiles.default.session.instructions: the environment variable NOT_SET is not set.',
    ]);
    expect(problems({}, 'limits:\n  sessions: ${NOT_SET}')).toHaveLength(1);
  });

  it('brings a credential without the line end behind it, wherever it stands', () => {
    const yaml = [
      'upstreams: [{ name: a, endpoint: "https://${HOST_OF}/", deployment: d, api_key: "${TOK}" }]',
      'usage: { webhook: { url: "https://b.test/?key=${TOK}&x=1", secret: "${HOOK}" } }',
      'profiles:',
      '  default:',
      '    session:',
      '      tools:',
      '        - type: mcp',
      '          server_label: a',
      '          server_url: https://mcp.test/${TOK}/sse',
      '          authorization: ${TOK}',
      '          headers: { X-Key: "Key ${TOK}", X-Two: "${TOK}:${TOK}" }',
      '        - type: mcp',
      '          authorization: |',
      '            written',
      '          headers:',
      '            X-Key: |',
      '              written',
    ].join('\n');
    const hook = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
    const env = { TOK: ' tok\r\n', HOST_OF: 'a.test\n', HOOK: `${hook}\n`, AZURE_OPENAI_ENDPOINT: '' };
    const { upstreams, usageWebhook, profiles } = load(env, yaml);
    expect(upstreams[0]).toMatchObject({ endpoint: 'https://a.test/', apiKey: 'tok' });
    expect(usageWebhook).toEqual({ url: 'https://b.test/?key=tok&x=1', secret: hook });
    expect(profiles.get('default')?.session.tools).toMatchObject([
      {
        server_url: 'https://mcp.test/tok/sse',
        authorization: 'tok',
        headers: { 'X-Key': 'Key tok', 'X-Two': 'tok:tok' },
      },
      { authorization: 'written', headers: { 'X-Key': 'written' } },
    ]);
  });

  it('may lead to a file, as secrets of Docker and Kubernetes do', () => {
    const yaml = spoken('"${WORDS} ${OTHERS:-none}"');
    expect(instructions(load({ WORDS_FILE: file('words', ' from a file\n') }, yaml))).toBe('from a file none');
    expect(problems({ WORDS_FILE: join(folder, 'nowhere') }, yaml)[0]).toBe(
      'WORDS_FILE: nowhere cannot be read (ENOENT).',
    );
  });

  it('is said to bring quotes or a comment with it', () => {
    const { warnings } = load({ WORDS: '"quoted"', MORE: 'some # comment' }, spoken('"${WORDS} ${WORDS} ${MORE}"'));
    expect(warnings).toEqual([
      expect.stringMatching(/^WORDS: its value begins and ends with a quote/),
      expect.stringMatching(/^MORE: its value has a # in it/),
    ]);
  });
});
// biome-ignore-end lint/suspicious/noTemplateCurlyInString: as above

describe('the encoding of the YAML file', () => {
  const text = spoken('Grüße alle.');

  it.each([
    ['UTF-8', Buffer.from(text)],
    ['UTF-8 with a byte order mark', Buffer.from(`\uFEFF${text}`)],
  ])('may be %s', (_, bytes) => {
    expect(instructions(load({}, bytes))).toBe('Grüße alle.');
  });

  const wide = Buffer.from(text, 'utf16le');
  it.each([
    ['Latin-1', Buffer.from(text, 'latin1'), 4, /no UTF-8.*Latin-1/],
    ['UTF-16', Buffer.concat([Buffer.from([0xff, 0xfe]), wide]), 1, /UTF-16/],
    ['UTF-16 without a mark', wide, 1, /UTF-16/],
    ['UTF-16 of the other order', Buffer.from(`\uFEFF${text}`, 'utf16le').swap16(), 1, /UTF-16/],
    ['UTF-8 that is cut off', Buffer.from(spoken('Grü')).subarray(0, -2), 4, /no UTF-8/],
  ])('may not be %s, by its line', (_, bytes, line, said) => {
    const found = problems({}, bytes);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(new RegExp(`^RELAY_CONFIG: relay\\.yaml:${line}: `));
    expect(found[0]).toMatch(said);
  });
});

describe('anchors of the YAML file', () => {
  it('are merged, from a part that is only there for it, and what is written wins', () => {
    const yaml = [
      'x-limits: &limits { idle_seconds: 60, refusals: 5 }',
      'x-more: &more { items: 7, refusals: 6 }',
      'profiles:',
      '  default: &default',
      '    limits: { <<: *limits, refusals: 9 }',
      '  other:',
      '    <<: *default',
      '    session: { instructions: Be kind. }',
      '  third: { limits: { <<: [*limits, *more] } }',
    ].join('\n');
    const { profiles } = load({}, yaml);
    expect(profiles.get('default')?.limits).toMatchObject({ idle_seconds: 60, refusals: 9 });
    expect(profiles.get('other')).toMatchObject({ limits: { refusals: 9 }, session: { instructions: 'Be kind.' } });
    expect(profiles.get('third')?.limits).toMatchObject({ idle_seconds: 60, refusals: 5, items: 7 });
  });

  it('have the problems of what they bring reported where that is written', () => {
    const yaml = [
      'x-limits: &limits',
      '  idle_seconds: many',
      'profiles:',
      '  default: { limits: *limits }',
      '  other: { limits: { <<: *limits } }',
    ].join('\n');
    expect(problems({}, yaml).map((problem) => problem.split(': ').slice(0, 2).join(': '))).toEqual([
      'relay.yaml:2: profiles.default.limits.idle_seconds',
      'relay.yaml:2: profiles.other.limits.idle_seconds',
    ]);
  });

  it('are no way to other names: x- is for the top alone', () => {
    expect(problems({}, 'limits:\n  x-more: 1')).toEqual([
      'relay.yaml:2: limits.x-more: not a setting; check the spelling.',
    ]);
  });

  const bomb = ['x-a: &a { k: v }'];
  for (const [at, name] of [...'bcdefghi'].entries()) {
    bomb.push(`x-${name}: &${name} [${Array(9).fill(`*${'abcdefgh'[at]}`).join(', ')}]`);
  }
  it.each([
    ['is not there', 'profiles:\n  default: *nope', 'relay.yaml:2: profiles.default: there is no anchor &nope'],
    [
      'is within itself',
      'profiles:\n  default: &a\n    session: *a',
      'relay.yaml:3: profiles.default.session: *a is with',
    ],
    ['is no map to merge', 'profiles:\n  default: { <<: 5 }', 'relay.yaml:1: the file: its anchors cannot be followed'],
    ['stands for millions', bomb.join('\n'), 'relay.yaml:2: the file: its anchors cannot be followed: Excessive'],
  ])('are a problem with a line where one %s', (_, yaml, start) => {
    expect(problems({}, yaml)[0]?.slice(0, start.length)).toBe(start);
  });

  it('may be used by many', () => {
    const many = Array.from({ length: 300 }, (_, index) => `  p${index}: *shared`).join('\n');
    expect(load({}, `x-p: &shared { aliases: [a] }\nprofiles:\n${many}`).profiles.size).toBe(301);
  });
});

describe('a value of another type than its setting has', () => {
  it.each([
    ['limits:\n  drain_seconds: 30s', 'write 30'],
    ['limits:\n  drain_seconds: 2m', 'write 120'],
    ['limits:\n  drain_seconds: "30"', 'write 30'],
    ['limits:\n  second_dial_ms: 2s', 'write 2000'],
    ['limits:\n  hold_bytes: 4MiB', 'write 4194304'],
    ['limits:\n  hold_bytes: 4 MB', 'write 4194304'],
    ['limits:\n  hold_bytes: 4_194_304', 'write 4194304'],
    ['profiles: { default: { client: { report_only: yes } } }', 'write true'],
    ['profiles: { default: { client: { report_only: 0 } } }', 'write false'],
    ['profiles: { default: { client: { report_only: "on" } } }', 'write true'],
    ['profiles: { default: { session: { instructions: 12 } } }', 'write it in quotes: "12"'],
    ['profiles: { default: { aliases: gpt-realtime } }', 'write a list: [gpt-realtime]'],
    ['profiles: { default: { session: { instructions: } } }', 'it is empty'],
    ['upstreams: [{ name: a, endpoint: https://a.test, deployment: d, api_key: "" }]', 'leave the setting out'],
  ])('in %s is told what would be right: %s', (yaml, hint) => {
    const found = problems({}, yaml);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(/^relay\.yaml:\d: [a-z_.0-9]+: /);
    expect(found[0]).toContain(hint);
  });

  it('in the environment is told it, too', () => {
    expect(problems({ RELAY_JWT_MAX_SECONDS: '30d' })[0]).toMatch(/^RELAY_JWT_MAX_SECONDS: .*write 2592000/);
  });

  it.each([
    ['on', true],
    ['ON', true],
    ['true', true],
    ['1', true],
    ['yes', true],
    ['off', false],
    ['False', false],
    ['0', false],
    ['no', false],
  ])('is none where RELAY_CONSOLE is %s', (RELAY_CONSOLE, meaning) => {
    expect(load({ RELAY_CONSOLE }).console).toBe(meaning);
  });

  it('is none where a level is written in capitals', () => {
    expect(load({ RELAY_LOG_LEVEL: 'DEBUG' }).logLevel).toBe('debug');
  });
});

describe('what the YAML file says that does not fit together', () => {
  it('is told with its line', () => {
    const yaml = [
      'auth:', // 1
      '  issuers:', // 2
      '    - issuer: https://a.test', // 3
      '      audience: relay', // 4
      '      jwks_uri: http://a.test/keys', // 5
      'usage:', // 6
      '  webhook:', // 7
      '    secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', // 8
      '    url: http://billing.test', // 9
      'upstreams:', // 10
      '  - { name: a, endpoint: https://a.test, deployment: d }', // 11
      '  - name: b', // 12
      '    deployment: d', // 13
      '    endpoint: http://b.test', // 14
      '    scope: https://cognitiveservices.azure.com', // 15
      'profiles:', // 16
      '  other:', // 17
      '    issuers: [https://b.test]', // 18
    ].join('\n');
    const found = problems({ RELAY_LOG_LEVEL: 'loud' }, yaml);
    const said = found.map((problem) => [problem.split(': ')[0], /\((relay\.yaml:\d+)\)\.$/.exec(problem)?.[1]]);
    expect(said).toEqual([
      ['RELAY_LOG_LEVEL', undefined],
      ['upstreams.b.endpoint', 'relay.yaml:14'],
      ['auth.issuers.0.jwks_uri', 'relay.yaml:5'],
      ['profiles.other.issuers', 'relay.yaml:18'],
      ['usage.webhook.url', 'relay.yaml:9'],
    ]);
    const odd = 'upstreams:\n  - name: b\n    endpoint: https://b.test\n    deployment: d\n    scope: https://x.test\n';
    expect(load({ AZURE_OPENAI_ENDPOINT: '' }, odd).warnings.map((one) => one.replaceAll(`${folder}/`, ''))).toEqual([
      expect.stringMatching(/^upstreams\.b\.scope: .*\(relay\.yaml:5\)\.$/),
    ]);
  });

  it('is not told of what a file that cannot be used may have said', () => {
    const env = { RELAY_JWT_SECRET: '', RELAY_JWT_ISSUER: '', RELAY_JWT_AUDIENCE: '', AZURE_OPENAI_ENDPOINT: '' };
    expect(problems(env, 'limits: { sessions: 0 }')).toEqual([
      expect.stringMatching(/^relay\.yaml:1: limits\.sessions/),
    ]);
  });
});

describe('a name that is none of a setting', () => {
  const noSecret = { RELAY_JWT_SECRET: '' };

  it('is told with the likely one also when there are problems', () => {
    expect(problems({ ...noSecret, RELAY_JWT_JWKS_URL: 'https://issuer.test/keys' })).toEqual([
      expect.stringMatching(/none is set/),
      'RELAY_JWT_JWKS_URL is set but is not a setting of the relay; RELAY_JWT_JWKS_URI is.',
    ]);
  });

  it.each([
    ['RELAY_LOGLEVEL', 'RELAY_LOG_LEVEL is.'],
    ['RELAY_ALLOWED_ORIGIN', 'RELAY_ALLOWED_ORIGINS is.'],
    ['RELAY_CONFIG_FILE', 'RELAY_CONFIG is.'],
    ['RELAY_TLS_KEY_FILE', 'RELAY_TLS_KEY is.'],
    ['RELAY_JWT_JWKS', 'RELAY_JWT_JWKS_URI is.'],
    ['RELAY_SOMETHING_ELSE', 'a setting of the relay.'],
    ['RELAY_NONSENSE', 'a setting of the relay.'],
    ['AZURE_OPENAI_APIKEY', 'AZURE_OPENAI_API_KEY is.'],
    ['HTTP_PROXY', 'HTTPS_PROXY.'],
    ['all_proxy', 'HTTPS_PROXY.'],
  ])('%s is told: %s', (name, end) => {
    const { warnings } = load({ [name]: 'x' });
    expect(warnings).toHaveLength(1);
    expect(warnings[0]?.startsWith(`${name} is set but is not `) && warnings[0].endsWith(end)).toBe(true);
  });

  it.each(['AZURE_OPENAI_ENDPOINTS', 'AZURE_OPENAI_CHAT_DEPLOYMENT', 'AZURE_CLIENT_SECRET_FILE', 'HOST_FILE'])(
    '%s may be that of another program, and is not told',
    (name) => {
      expect(load({ [name]: '/nowhere' }).warnings).toEqual([]);
    },
  );
});

describe('a variable whose value stands in a file', () => {
  const source = ({ auth }: Settings) => auth.issuers[0]?.source;

  it('is read without the line end', () => {
    const settings = load({
      RELAY_JWT_SECRET: '',
      RELAY_JWT_SECRET_FILE: file('secret', `${secret}\n`),
      AZURE_OPENAI_API_KEY_FILE: file('key', '\uFEFFkey\r\n'),
    });
    expect(source(settings)).toEqual({ kind: 'secrets', secrets: [secret] });
    expect(settings.upstreams[0]?.apiKey).toBe('key');
    expect(settings.warnings).toEqual([]);
  });

  it.each([
    ['the variable is set, too', { AZURE_OPENAI_API_KEY: 'x', AZURE_OPENAI_API_KEY_FILE: '/x' }, 'set one of them'],
    ['it is not there', { AZURE_OPENAI_API_KEY_FILE: '/nowhere' }, '/nowhere cannot be read (ENOENT)'],
    ['it is empty', { AZURE_OPENAI_API_KEY_FILE: file('empty', '\n') }, 'is empty'],
    ['it is UTF-16', { AZURE_OPENAI_API_KEY_FILE: file('wide', Buffer.from('\uFEFFkey', 'utf16le')) }, 'UTF-16'],
  ])('is a problem by its name where %s', (_, env, said) => {
    const found = problems(env);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(/^AZURE_OPENAI_API_KEY_FILE: /);
    expect(found[0]).toContain(said);
  });
});

describe('realtime-relay check', () => {
  it('exits 78 with the line of a file in Latin-1', async () => {
    const path = file('latin.yaml', Buffer.from(spoken('Grüße'), 'latin1'));
    const command = run(['check'], { ...minimal, RELAY_CONFIG: path });
    expect(await command.exited).toBe(78);
    expect(command.lines.join('\n')).toContain(`RELAY_CONFIG: ${path}:4: is no UTF-8`);
  });
});
