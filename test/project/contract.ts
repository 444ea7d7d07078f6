/** What operators and their tools rely on, gathered from the product as it is: the contents of `contract/`. */

import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { environment } from '../../src/config/environment.js';
import { exits } from '../../src/errors.js';
import { clientEvents, previewClientEvents, previewServerEvents, serverEvents } from '../../src/protocol/catalogue.js';
import { createMetrics } from '../../src/telemetry/metrics.js';
import { relayEnv } from '../support/process.js';
import { textOf } from './tables.js';

/** Every exit with all that the table says of it. */
export function exitTable(): object {
  return exits;
}

/** The environment's variables with their defaults and bounds; the file's are `config.schema.json`. */
export function settingsTable(): object {
  return z.toJSONSchema(environment, { io: 'input' });
}

/** Every metric of the relay's own, with its labels and the bounds of its buckets. */
export function metricTable(): object {
  // prom-client's type definitions leave out what its metrics say of themselves.
  type Known = { name: string; help: string; type: string; labelNames: readonly string[]; upperBounds?: number[] };
  const known = createMetrics({ process: false, replicated: true }).registry.getMetricsAsArray() as unknown as Known[];
  return Object.fromEntries(
    known.map(({ name, help, type, labelNames, upperBounds }) => [
      name,
      { type, help, labels: labelNames, ...(upperBounds && { buckets: upperBounds }) },
    ]),
  );
}

/** Parts of the source that write no log, or speak of lines that others wrote. */
const silent = ['emulator', 'explain', 'protocol', 'policy', 'console', 'client', 'talk', 'audio'];

/** Texts of the source that look like the name of a line and are none. */
const others = [
  'pino.metadata',
  'transcript.item',
  'relay.revoke',
  'relay.session',
  'relay.revocation',
  'relay.authenticate',
  'relay.resume',
  'relay.ack',
];

/** The names of log lines in the source: texts like `session.opened` that end the arguments of a call, or are chosen to. */
export function logNames(): string[] {
  const events = new Set<string>([...clientEvents, ...serverEvents, ...previewClientEvents, ...previewServerEvents]);
  const names = readdirSync(new URL('../../src', import.meta.url), { recursive: true })
    .map(String)
    .filter((path) => path.endsWith('.ts') && !silent.some((folder) => path.startsWith(folder)))
    .flatMap((path) => [...textOf(`src/${path}`).matchAll(/'([a-z]+\.[a-z_]+)'(?=,?\s*\)| : '|;)/g)])
    .map(([, name]) => name as string)
    .filter((name) => !events.has(name) && !others.includes(name) && !/\.(js|json|html|yaml)$/.test(name));
  return [...new Set(names)].sort();
}

const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

/** What the command line answers, with its exit code; what it says again is shown once. */
export async function commandLine(): Promise<string> {
  const env = relayEnv('http://127.0.0.1:1');
  const wrong = { ...env, PORT: 'x', RELAY_JWT_SECRET: 'short' };
  const [{ stdout: usage }, { stdout: settings }] = await Promise.all([answer(['--help']), answer(['check'], env)]);
  const inner = JSON.stringify({ settings: JSON.parse(settings) }, null, 2).slice(2, -2);
  const runs: [situation: string, args: string[], env?: Record<string, string>][] = [
    ['', ['nonsense']],
    ['', ['serve', '--wrong']],
    ['', ['token']],
    ['', ['talk']],
    ['', ['explain']],
    ['', ['emulate', '--like', 'x']],
    [' in an empty environment', ['check']],
    [' with wrong settings', ['check'], wrong],
    [' with wrong settings', ['check', '--json'], wrong],
    [' with settings', ['check'], env],
    [' with settings, before no upstream', ['check', '--dial'], env],
    [' with settings, before no upstream', ['check', '--dial', '--json'], env],
  ];
  const shown = [`# the usage\n${usage}`, `# the settings\n${settings}`];
  const answers = await Promise.all(runs.map(([, args, given]) => answer(args, given)));
  for (const [index, { code, stdout, stderr }] of answers.entries()) {
    const [situation, args] = runs[index] as (typeof runs)[number];
    const said = `${stdout}${stderr && `## stderr\n${stderr}`}## exit ${code}\n`
      .replace(usage, '<the usage>\n')
      .replace(settings, '<the settings>\n')
      .replace(inner, '  <the settings>');
    shown.push(`# realtime-relay ${args.join(' ')}${situation}\n${said}`);
  }
  return shown.join('\n');
}

function answer(args: string[], env: Record<string, string> = {}) {
  return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    const child = execFile(process.execPath, [cli, ...args], { env }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode ?? -1, stdout: steady(stdout), stderr: steady(stderr) }),
    );
  });
}

/** Without what differs from one run to the next. */
function steady(text: string): string {
  return text
    .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '<id>')
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '<time>');
}
