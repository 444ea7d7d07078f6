import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { library } from '../emulator/search/library.js';
import { textOf } from '../project/tables.js';
import { connect } from '../support/client.js';
import { relayEnv, run, serve } from '../support/process.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const cli = join(root, 'dist/cli.js');

/** Pages with commands that run anywhere, and what these say. */
const said: Readonly<Record<string, readonly RegExp[]>> = {
  'README.md': [/All upstreams accept sessions/],
  'docs/clients.md': [/"value":"ek_rly_/],
  'docs/commands.md': [/answer: You said: Hello/, /saying question-order\.wav/],
  'docs/control.md': [
    /"object":"list"[\s\S]*"subject":"alice"/,
    /alice {2}default/,
    /\nevent_/,
    /"event_ids":/,
    /"taken_over":true,"by":"backend"/,
    /"event_ids":[\s\S]*"taken_over":false/,
    /"ended":true/,
  ],
  'docs/deploying.md': [/All upstreams accept sessions/],
  'docs/emulator.md': [
    /"known": \[/,
    /"fault": "die_mid_response"/,
    /"armed": \[\]/,
    /"connection_count"/,
    /"@search.score"/,
  ],
  'docs/observability.md': [/Verdict: nobody[\s\S]*Verdict: nobody/, /kind: PrometheusRule[\s\S]*kind: PrometheusRule/],
  'docs/runbook.md': [/"reason":"normal"/, /Verdict: nobody/, /1 "kind":"deployment_not_found"/, /accept sessions/],
  'docs/tools.md': [/search \(search\)/, /the model is told: \[leave_1\]: Parental leave/],
  'docs/tokens.md': [/"sub":"alice"/, /"jti":"5b3f0c9a"/],
};

/** A session that is there, in the pages about those. */
const live = 'sess_019ad0f2c5d27f3f8a4b1c6d7e8f9a0b';

/** Programs that are not here, what takes minutes, and what has tests of its own. */
const elsewhere =
  /^(install|systemctl|docker|azd|kubectl|promtool|cp|\.ci\/run)\b|^npm (run (?!build)|ci$|install|test)|\b(npx|npm test)\b|--import/;
/** What goes on for ever: the relay and the emulator that the commands are for are already there. */
const served = /dist\/cli\.js (serve|emulate)\b/;
const built = /^npm ci && npm run (build|demo)\b/;

/** The blocks of commands of a document, without what does not run here; one that waits for a program not here goes whole. */
function blocksOf(path: string): string[] {
  return [...textOf(path).matchAll(/^( *)```sh\n([\s\S]*?)^\1```$/gm)]
    .map(([, , block]) =>
      (block as string)
        .replaceAll('kubectl logs deploy/realtime-relay --since 1h', 'logs')
        .replaceAll('kubectl apply -f -', 'cat')
        .split('\n')
        .map((line) => line.replace(/ +# .*$/, ''))
        .filter((line) => !elsewhere.test(line.trim()) && !served.test(line) && !built.test(line))
        .join('\n')
        .trim(),
    )
    .filter((block) => block !== '' && !/\b(docker|azd|kubectl)\b/.test(block));
}

/** A folder like a clone that was built. */
function clone(): string {
  const folder = mkdtempSync(join(tmpdir(), 'relay-documents-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  for (const name of ['dist', 'assets', 'deploy']) symlinkSync(join(root, name), join(folder, name));
  return folder;
}

/** Runs blocks one after the other as people paste them, before a relay of their own. */
async function paste(blocks: readonly string[]): Promise<string> {
  const emulator = await library();
  const env = relayEnv(emulator.url);
  const relay = await serve(env);
  const token = execFileSync(process.execPath, [cli, 'token', '--sub', 'alice'], { env }).toString().trim();
  const folder = clone();
  let script = blocks
    .join('\n')
    .replaceAll('https://relay.example', relay.url)
    .replaceAll('http://127.0.0.1:8080', relay.url)
    .replaceAll('http://127.0.0.1:8091', emulator.url)
    .replaceAll('https://my-resource.openai.azure.com', emulator.url);
  if (/\blogs\b/.test(script)) {
    // A session that was good, and one that upstream did not want.
    const talk = ['talk', '--text', 'hello', '--url', relay.url, '--token', token, '--out', join(folder, 'hello.wav')];
    expect(await run(talk).exited).toBe(0);
    emulator.control.faults.arm({ fault: 'refuse_404_deployment' });
    expect(await run(talk).exited).toBe(1);
    const { session, requestId } = JSON.parse(await relay.line((line) => line.includes('"reason":"normal"')));
    writeFileSync(join(folder, 'relay.log'), `${relay.lines.join('\n')}\n`);
    script = script
      .replaceAll(/<session or request id>|\bsess_5b3f0c9a\b/g, session)
      .replaceAll('5b3f0c9a-7d1e-4c55-9a43-0d3f2f6f2a11', requestId)
      .replaceAll('<reason>', 'normal');
  }
  if (script.includes(live)) {
    const client = await connect(`${relay.url.replace('http', 'ws')}/v1/realtime`, {
      headers: { authorization: `Bearer ${token}` },
    });
    const { session } = await client.next('session.created');
    script = script.replaceAll(live, (session as { id: string }).id);
  }
  const prelude = 'logs() { cat relay.log; }; curl() { command curl -sS --fail "$@"; }';
  const { stdout, stderr } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', `${prelude}\n${script}`], {
    cwd: folder,
    env: { ...env, PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH}`, TOKEN: token },
  });
  return stdout + stderr;
}

describe('the commands of the documents', () => {
  it.each(Object.entries(said))('%s: do what it says', { timeout: 60_000 }, async (path, patterns) => {
    const blocks = blocksOf(path);
    expect(blocks).not.toEqual([]);
    const text = await paste(blocks);
    for (const pattern of patterns) expect(text).toMatch(pattern);
  });

  it('run here, unless they need a program that is not', () => {
    const others = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'PROTOCOL.md']
      .concat(readdirSync(join(root, 'docs')).map((name) => `docs/${name}`))
      .filter((path) => path.endsWith('.md') && !(path in said));
    expect(others.flatMap((path) => blocksOf(path).map((block) => `${path}: ${block}`))).toEqual([]);
  });
});
