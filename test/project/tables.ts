/** What the documents have from the code, made from what they describe. */

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { environment } from '../../src/config/environment.js';
import { exits } from '../../src/errors.js';
import { createMetrics } from '../../src/telemetry/metrics.js';
import { adviceOn, dialKinds, faultOf } from '../../src/upstream/causes.js';

const root = new URL('../../', import.meta.url);

/** The text of a file of the repository. */
export function textOf(path: string): string {
  return readFileSync(new URL(path, root), 'utf8');
}

/** A setting of the environment as its JSON Schema describes it. */
interface Setting {
  readonly name: string;
  readonly description: string;
  readonly byDefault: string | null;
}

export function settings(): Setting[] {
  const schema = z.toJSONSchema(environment, { io: 'input' }) as {
    properties: Record<string, { description: string; default?: unknown }>;
  };
  return Object.entries(schema.properties).map(([name, property]) => ({
    name,
    description: property.description,
    byDefault: property.default === undefined ? null : String(property.default),
  }));
}

/** Each generated part, by the name it has between `<!-- name -->` and `<!-- /name -->`. */
export const tables = {
  settings: () =>
    table(
      ['Name', 'Default', 'Meaning'],
      settings().map(({ name, byDefault, description }) => [
        code(name),
        byDefault ? code(byDefault) : '–',
        description,
      ]),
    ),
  metrics: () =>
    table(
      ['Name', 'Type', 'Labels', 'Meaning'],
      metrics().map(({ name, type, labels, help }) => [code(name), type, labels.map(code).join(', ') || '–', help]),
    ),
  exits: () =>
    table(
      ['`code` and `reason`', 'Close', 'HTTP', 'Client should', '`error` event first', 'When'],
      Object.entries(exits).map(([id, { close, http, retry, announced, meaning }]) => [
        code(id),
        String(close),
        http === null ? '–' : String(http),
        advice[retry],
        announced ? 'yes' : 'no',
        meaning,
      ]),
    ),
  dials: () =>
    table(
      ['Kind', 'Whose', 'What to do'],
      dialKinds.map((kind) => [code(kind), faultOf({ kind }) ?? '', adviceOn(kind)]),
    ),
  example: () => fenced('yaml', textOf('relay.example.yaml')),
  usage: () => fenced('', execFileSync(process.execPath, [cli, '--help'], { encoding: 'utf8' })),
} as const;

const cli = fileURLToPath(new URL('dist/cli.js', root));

const advice = {
  stop: 'stop',
  reconnect: 'reconnect',
  reconnect_now: 'reconnect at once',
  wait: 'wait, then reconnect',
  after_new_token: 'get a new token',
} as const;

/** Every metric of the relay's own. */
function metrics(): { name: string; type: string; labels: readonly string[]; help: string }[] {
  // prom-client's type definitions leave out what its metrics say of themselves.
  type Known = { name: string; help: string; type: string; labelNames: readonly string[] };
  const known = createMetrics({ process: false, replicated: true }).registry.getMetricsAsArray() as unknown as Known[];
  return known.map(({ name, help, type, labelNames }) => ({ name, type, labels: labelNames, help }));
}

function code(text: string): string {
  return `\`${text}\``;
}

function fenced(language: string, text: string): string {
  return `\`\`\`${language}\n${text.trimEnd()}\n\`\`\``;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

/** What stands between the two marks of a name in a document. */
export function section(path: string, name: string): string {
  const found = new RegExp(`<!-- ${name} -->\\n([^]*?)\\n<!-- /${name} -->`).exec(textOf(path));
  if (!found) throw new Error(`${path} has no section <!-- ${name} -->`);
  return found[1] as string;
}

/** Replaces what stands between the two marks. */
export function rewrite(path: string, name: string, content: string): void {
  const marks = new RegExp(`(<!-- ${name} -->\\n)[^]*?(\\n<!-- /${name} -->)`);
  writeFileSync(
    new URL(path, root),
    textOf(path).replace(marks, (_, start: string, end: string) => `${start}${content}${end}`),
  );
}
