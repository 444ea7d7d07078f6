import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { stringify } from 'yaml';
import { library } from '../emulator/search/library.js';
import { relayEnv, run } from '../support/process.js';
import { startTestEmulator } from '../support/relay.js';
import { endpoint } from '../tools/support.js';
import { closedPort } from '../upstream/servers.js';

/** Runs a command with a profile of these tools. */
async function command(args: string[], profile: object, env: Record<string, string> = relayEnv('http://127.0.0.1:1')) {
  const folder = mkdtempSync(join(tmpdir(), 'relay-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'relay.yaml');
  writeFileSync(file, stringify({ profiles: { default: profile, other: {} } }));
  const running = run(args, { ...env, RELAY_CONFIG: file });
  const code = await running.exited;
  return { code, text: running.lines.join('\n') };
}

const order = (url: string, http: object = {}, more: object = {}) => ({
  name: 'order_status',
  description: 'Says where an order is.',
  parameters: { type: 'object', properties: { order: { type: 'string' } }, required: ['order'] },
  runs: 'http',
  http: { url, ...http },
  ...more,
});

const find = (endpointUrl: string, search: object = {}, more: object = {}) => ({
  name: 'search',
  runs: 'search',
  search: {
    endpoint: endpointUrl,
    index: 'library',
    api_key: 'emulator-search-key',
    filter: "group_ids/any(g:search.in(g, '{{claims.groups}}', '|'))",
    ...search,
  },
  ...more,
});

describe('tools list', () => {
  it('shows the tools of each profile as the model sees them, and no credential', async () => {
    const session = {
      tools: [
        { type: 'function', name: 'lost' },
        { type: 'mcp', server_label: 'crm', authorization: 'canary-1' },
      ],
    };
    const tools = [
      order('https://orders.example/', { auth: { bearer: 'canary-2' } }),
      find('https://s.search.windows.net'),
    ];
    const { code, text } = await command(['tools', 'list'], { session, tools });
    expect(code).toBe(0);
    expect(text).toContain(
      'profile default:\n  order_status (http)\n    Says where an order is.\n    {"type":"object","properties":{"order"',
    );
    expect(text).toContain('  search (search)\n    Search the knowledge base.');
    expect(text).toContain('"required":["query"],"additionalProperties":false}');
    expect(text).toContain('  lost (nobody runs it)\n  crm (MCP, run by the upstream)\nprofile other:');
    expect(text).not.toContain('canary');
    expect((await command(['tools', 'list', '--profile', 'other'], { tools })).text).toBe('profile other:');
  });
});

describe('tools call', () => {
  it('shows what is asked, answered and told, without the secrets', async () => {
    const { url, asked } = await endpoint((_, response) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"status":"sent"}'),
    );
    const http = {
      auth: { bearer: 'canary-bearer' },
      headers: { 'x-key': 'canary-header', 'x-user': 'canary-part {{claims.sub}}' },
      claims: ['email'],
    };
    const args = [
      'tools',
      'call',
      'order_status',
      '--args',
      '{"order":"5"}',
      '--claims',
      '{"sub":"ada","email":"a@b.c"}',
    ];
    const { code, text } = await command(args, { tools: [order(url, http, { result: 'both' })] });
    expect(code).toBe(0);
    expect(asked[0]?.headers).toMatchObject({ authorization: 'Bearer canary-bearer', 'x-user': 'canary-part ada' });
    expect(text).toContain(`request POST ${url}\n`);
    expect(text).toContain('  authorization: ********');
    expect(text).toContain('  x-key: ********');
    expect(text).toContain('  x-user: ********ada');
    expect(text).toContain('"arguments":{"order":"5"}');
    expect(text).toContain('"user":{"issuer":"');
    expect(text).toContain('"claims":{"email":"a@b.c"}');
    expect(text).toContain('answer HTTP 200, 17 bytes\n  {"status":"sent"}');
    expect(text).toContain('the model is told: {"status":"sent"}\nthe client is told: {"status":"sent"}\nok in ');
    expect(text).not.toContain('canary');
  });

  it('exits 1 when it fails, and says why', async () => {
    const { url } = await endpoint((_, response) => response.writeHead(500).end('canary'));
    const failed = await command(['tools', 'call', 'order_status', '--args', '{"order":"5"}'], { tools: [order(url)] });
    expect(failed.code).toBe(1);
    expect(failed.text).toContain('the model is told: {"error":"failed"');
    expect(failed.text).toContain('why: status: The endpoint answered with HTTP 500.\nfailed in ');
    const wrong = await command(['tools', 'call', 'order_status', '--args', '{}'], { tools: [order(url)] });
    expect(wrong.code).toBe(1);
    expect(wrong.text).toContain("must have required property 'order'");
    expect(wrong.text).not.toContain('request');
  });

  it('searches as somebody, and cites', async () => {
    const { url } = await library();
    const tools = [find(url), find(url, { role: 'grounding' }, { name: 'cite', result: 'client' })];
    const claims = ['--claims', '{"groups":["staff"]}'];
    const found = await command(['tools', 'call', 'search', '--args', '{"query":"parental leave"}', ...claims], {
      tools,
    });
    expect(found.code).toBe(0);
    expect(found.text).toContain('the model is told: [leave_1]: Parental leave is paid for sixteen weeks.');
    expect(found.text).not.toContain('emulator-search-key');
    const cited = await command(['tools', 'call', 'cite', '--args', '{"sources":["leave_1"]}', ...claims], { tools });
    expect(cited.text).toContain('the model is told: (nothing)');
    expect(cited.text).toContain('the client is told: {"sources":[{"chunk_id":"leave_1"');
    const nobody = await command(['tools', 'call', 'search', '--args', '{"query":"leave"}'], { tools });
    expect(nobody.code).toBe(1);
    expect(nobody.text).toContain('why: claim: A claim of the filter is missing');
  });

  it.each([
    [['tools'], 'expected "list", or "call"'],
    [['tools', 'call'], 'expected "list", or "call"'],
    [['tools', 'call', 'nothing'], 'there is no tool nothing'],
    [['tools', 'call', 'pay'], 'pay is run by a backend'],
    [['tools', 'call', 'pay', '--profile', 'none'], 'there is no profile none'],
    [['tools', 'call', 'pay', '--claims', '[]'], '--claims must be a JSON object'],
    [['tools', 'call', 'pay', 'a', 'b'], 'too many words'],
  ])('%j is a wrong usage', async (args, words) => {
    const { code, text } = await command(args, { tools: [{ name: 'pay', runs: 'backend' }] });
    expect(code).toBe(64);
    expect(text).toContain(words);
  });
});

describe('check', () => {
  it('warns of tools that are probably not meant so', async () => {
    const { code, text } = await command(['check'], { tools: [order('https://orders.example/')] });
    expect(code).toBe(0);
    expect(text).toContain('warning: profiles.default.webrtc: calls and ephemeral keys are refused');
  });

  it('with --dial tries endpoints without calling anything, and searches for next to nothing', async () => {
    const emulator = await startTestEmulator();
    const searched = await library();
    const { url, asked } = await endpoint((_, response) => response.end());
    const tools = [order(url), find(searched.url), find(searched.url, { role: 'grounding' }, { name: 'cite' })];
    const { code, text } = await command(['check', '--dial'], { tools }, relayEnv(emulator.url));
    expect(text).toMatch(
      /tools of profile default:\n {2}tool order_status: ok \d+ ms\n {2}tool search: ok \d+ ms\n {2}tool cite: ok \d+ ms/,
    );
    expect(code).toBe(0);
    expect(asked).toEqual([]);
  });

  it('with --dial says which endpoint cannot be asked, and what to do', async () => {
    const emulator = await startTestEmulator();
    const searched = await library();
    const tools = [
      order(`http://127.0.0.1:${await closedPort()}/`),
      find(searched.url, { index: 'nothing' }),
      find(searched.url, { api_key: 'canary-key' }, { name: 'keyless' }),
    ];
    const { code, text } = await command(['check', '--dial', '--json'], { tools }, relayEnv(emulator.url));
    expect(code).toBe(1);
    const { ok, dial } = JSON.parse(text);
    expect(ok).toBe(false);
    expect(dial.tools).toEqual([
      {
        profile: 'default',
        tool: 'order_status',
        ok: false,
        said: [
          expect.stringContaining('tool order_status: failed (network)'),
          expect.stringContaining('what to do: check http.url'),
        ],
      },
      {
        profile: 'default',
        tool: 'search',
        ok: false,
        said: [expect.stringContaining('HTTP 404'), expect.stringContaining('what to do: check index')],
      },
      {
        profile: 'default',
        tool: 'keyless',
        ok: false,
        said: [expect.stringContaining('HTTP 403'), expect.stringContaining('Search Index Data Reader')],
      },
    ]);
    expect(text).not.toContain('canary-key');
  });
});
