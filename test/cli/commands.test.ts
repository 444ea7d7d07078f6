import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { relayEnv, run, serve } from '../support/process.js';
import { startTestEmulator } from '../support/relay.js';
import { startUpstream } from '../support/upstream.js';

const question = fileURLToPath(new URL('../../assets/speech/question-order.wav', import.meta.url));

describe('realtime-relay emulate --search', () => {
  const index = {
    name: 'notes',
    fields: [
      { name: 'id', type: 'Edm.String', key: true },
      { name: 'text', type: 'Edm.String' },
    ],
  };

  function folderWith(files: Record<string, unknown>): string {
    const folder = mkdtempSync(join(tmpdir(), 'indexes-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), JSON.stringify(content));
    return folder;
  }

  it('serves the indexes of a folder', async () => {
    const documents = [{ id: 'n1', text: 'The key is under the mat.' }];
    const folder = folderWith({ 'notes.index.json': index, 'notes.documents.json': documents });
    const emulate = run(['emulate', '--port', '0', '--search', folder], {});
    const url = /http:[^;\s]+/.exec(await emulate.line((line) => line.includes('A local Azure OpenAI')))?.[0];
    const answer = await fetch(`${url}/indexes/notes/docs/search?api-version=2026-04-01`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'api-key': 'emulator-search-key' },
      body: '{"search":"mat"}',
    });
    expect(await answer.json()).toMatchObject({ value: [{ id: 'n1' }] });
  });

  it.each([
    ['a folder that is not there', {}, 'nowhere', /--search: .*nowhere: ENOENT/],
    ['a folder without an index', {}, '', /--search: .* has no file that ends in \.index\.json/],
    ['an index without documents', { 'notes.index.json': index }, '', /notes\.documents\.json: ENOENT/],
    ['an index without a key', { 'notes.index.json': { ...index, fields: [] } }, '', /notes\.index\.json: .*key/],
  ])('exits 78 for %s, and says so', async (_name, files, below, message) => {
    const emulate = run(['emulate', '--port', '0', '--search', join(folderWith(files), below)], {});
    expect(await emulate.exited).toBe(78);
    expect(emulate.lines.join('\n')).toMatch(message);
    expect(emulate.lines.join('\n')).not.toContain('at async');
  });
});

describe('realtime-relay check --dial', () => {
  it('opens a session and says so', async () => {
    const emulator = await startTestEmulator();
    const check = run(['check', '--dial'], relayEnv(emulator.url));
    expect(await check.exited).toBe(0);
    expect(check.lines.join('\n')).toContain('All upstreams accept sessions.');
    expect(check.lines.join('\n')).not.toContain('emulator-key');
  });

  it.each([
    ['refuse_401', 'wrong_credential', /AZURE_OPENAI_ENDPOINT/],
    ['refuse_401_permission', 'missing_role', /Cognitive Services OpenAI User/],
    ['refuse_404_deployment', 'deployment_not_found', /deployment name/],
    ['refuse_400', 'not_realtime', /gpt-realtime/],
  ] as const)('names the remedy when upstream answers %s', async (fault, kind, remedy) => {
    const emulator = await startTestEmulator();
    const known = emulator.control.faults;
    known.arm(fault as never, 5);
    const check = run(['check', '--dial'], relayEnv(emulator.url));
    expect(await check.exited).toBe(1);
    const text = check.lines.join('\n');
    expect(text).toContain(`failed (${kind})`);
    expect(text).toMatch(remedy);
    expect(text).toMatch(/x-ms-client-request-id [0-9a-f-]{36}, apim-request-id/);
  });

  it('prints nothing that a terminal would obey, whatever the upstream calls its model or its fault', async () => {
    const evil = '\u001b]0;x\u0007\u009b2J\u202e\u2028';
    const answers = [
      { type: 'session.updated', event_id: 'e2', session: { id: 's', model: `model${evil}\nAll well` } },
      {
        type: 'error',
        event_id: 'e2',
        error: { type: 'x', code: 'c', message: `fault${evil}\nAll well`, param: null },
      },
    ];
    for (const answer of answers) {
      const upstream = await startUpstream({
        greet: (ws) => {
          ws.send(JSON.stringify({ type: 'session.created', event_id: 'e1', session: { id: 's' } }));
          ws.once('message', () => ws.send(JSON.stringify(answer)));
        },
      });
      const check = run(['check', '--dial'], relayEnv(upstream.url));
      await check.exited;
      const text = check.lines.join('\n');
      expect(text).toMatch(/model|fault/);
      expect(check.lines).not.toContain('All well');
      expect(text.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Bidi_Control}\u2028]/u);
    }
  });

  it('tells when upstream acknowledges the profile without a session', async () => {
    const upstream = await startUpstream({
      greet: (ws) => {
        ws.send(JSON.stringify({ type: 'session.created', event_id: 'e1', session: { id: 's' } }));
        ws.once('message', () => ws.send(JSON.stringify({ type: 'session.updated', event_id: 'e2' })));
      },
    });
    const check = run(['check', '--dial'], relayEnv(upstream.url));
    expect(await check.exited).toBe(1);
    expect(check.lines.join('\n')).toContain(
      'could not be configured: the acknowledgement does not say which session upstream runs',
    );
  });

  it('names the remedy when nothing listens at the endpoint, and when the profile is rejected', async () => {
    const nobody = run(['check', '--dial'], relayEnv('http://127.0.0.1:1'));
    expect(await nobody.exited).toBe(1);
    expect(nobody.lines.join('\n')).toContain('failed (unreachable)');

    const emulator = await startTestEmulator();
    emulator.control.faults.arm('reject_update');
    const rejected = run(['check', '--dial'], relayEnv(emulator.url));
    expect(await rejected.exited).toBe(1);
    expect(rejected.lines.join('\n')).toContain('could not be configured');
  });
});

describe('realtime-relay', () => {
  it('says what is wrong with a command line and exits 64', async () => {
    for (const args of [['nonsense'], ['serve', '--wrong'], ['talk'], ['token', '--ttl', 'x', '--sub', 'a']]) {
      const command = run(args, { ...relayEnv('http://127.0.0.1:1'), RELAY_TOKEN: 'a.b.c' });
      expect(await command.exited).toBe(64);
      expect(command.lines[0]).not.toBe('');
    }
  });

  it('reports every problem of the configuration at once and exits 78', async () => {
    const command = run(['serve'], { PORT: 'eighty', RELAY_JWT_SECRET: 'short', RELAY_ALLOWED_ORIGINS: 'app.test/x' });
    expect(await command.exited).toBe(78);
    const text = command.lines.join('\n');
    for (const name of [
      'PORT',
      'RELAY_JWT_SECRET',
      'RELAY_JWT_ISSUER',
      'RELAY_JWT_AUDIENCE',
      'RELAY_ALLOWED_ORIGINS',
      'AZURE_OPENAI_ENDPOINT',
    ]) {
      expect(text).toContain(name);
    }
  });

  it('token makes a token with which talk has a spoken conversation; talk fails with a reason otherwise', async () => {
    const emulator = await startTestEmulator();
    const env = relayEnv(emulator.url);
    const relay = await serve(env);
    const token = run(['token', '--sub', 'ada', '--claim', 'name=Ada'], env);
    expect(await token.exited).toBe(0);
    const folder = mkdtempSync(join(tmpdir(), 'relay-talk-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const out = join(folder, 'answer.wav');
    const talk = run(
      ['talk', question, '--url', relay.url, '--token', token.lines[0] as string, '--out', out, '--speed', '8'],
      env,
    );
    expect(await talk.exited).toBe(0);
    expect(talk.lines.join('\n')).toMatch(/answer: \w+/);

    const failed = run(['talk', question, '--url', relay.url, '--token', 'wrong', '--out', out], env);
    expect(await failed.exited).toBe(1);
    expect(failed.lines.join('\n')).toContain('401');
  });
});

describe('realtime-relay demo --azure', () => {
  it('says what is missing where no resource is named', async () => {
    const demo = run(['demo', '--azure']);
    expect(await demo.exited).toBe(78);
    expect(demo.lines.join('\n')).toContain('AZURE_OPENAI_ENDPOINT');
  });

  it('speaks through the resource of the environment', async () => {
    const emulator = await startTestEmulator();
    const demo = run(['demo', '--azure'], relayEnv(emulator.url));
    await demo.line((line) => line.startsWith('Everything stays up'));
    expect(demo.lines.join('\n')).not.toContain('stand-in');
    expect(emulator.control.received.connections).toHaveLength(1);
    demo.child.kill('SIGTERM');
    expect(await demo.exited).toBe(0);
  });
});

describe('realtime-relay demo', () => {
  it('speaks once through a relay, stays up, and ends well at a signal', async () => {
    const demo = run(['demo']);
    await demo.line((line) => line.startsWith('Everything stays up'));
    expect(demo.lines.join('\n')).toMatch(/console {3}http:\/\/127\.0\.0\.1:\d+\/console\//);
    demo.child.kill('SIGTERM');
    expect(await demo.exited).toBe(0);
  });
});
