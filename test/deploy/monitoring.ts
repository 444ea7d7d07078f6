/** A real Prometheus with the rules of deploy/, and the files that ask it something. */

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { parse, stringify } from 'yaml';
import { freePort } from '../support/port.js';

const folder = fileURLToPath(new URL('../../deploy/prometheus/', import.meta.url));

/** The path of a program, or null where it is not installed; on the machine that decides on a merge that is an error. */
export function programAt(name: 'prometheus' | 'promtool' | 'kubectl'): string | null {
  const found = (process.env.PATH ?? '')
    .split(delimiter)
    .map((directory) => join(directory, name))
    .find((path) => existsSync(path));
  if (found !== undefined) return found;
  if (process.env.CI && name !== 'kubectl') throw new Error(`${name} is not installed`);
  return null;
}

export interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

interface Rules<Rule> {
  readonly groups: readonly { readonly name: string; readonly rules: readonly Rule[] }[];
}

function rulesOf<Rule>(file: string): Rule[] {
  const { groups } = parse(readFileSync(join(folder, file), 'utf8')) as Rules<Rule>;
  return groups.flatMap(({ rules }) => rules);
}

export const alerts = rulesOf<Alert>('alerts.yml');
export const recordings = rulesOf<{ readonly record: string; readonly expr: string }>('recording.yml');

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly datasource?: { readonly uid: string };
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
}

interface Board {
  readonly uid: string;
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string }[] };
  readonly annotations: { readonly list: readonly { readonly expr: string }[] };
}

export const board = JSON.parse(
  readFileSync(new URL('../../deploy/grafana/dashboards/realtime-relay.json', import.meta.url), 'utf8'),
) as Board;

/** An expression of the board as Grafana sends it with every instance chosen. */
export function asSent(expr: string): string {
  return expr.replaceAll('$__rate_interval', '1m').replaceAll('$instance', '.+');
}

export interface Prometheus {
  /** The values of an instant query; throws what Prometheus says about an expression it does not take. */
  query(expr: string): Promise<number[]>;
  /** The rules that could not be evaluated, each with the error. */
  failedRules(): Promise<string[]>;
}

/** Starts Prometheus on the shipped configuration, but with this one target and twice a second. */
export async function startPrometheus(program: string, target: string): Promise<Prometheus> {
  const data = mkdtempSync(join(tmpdir(), 'relay-prometheus-'));
  const config = parse(readFileSync(join(folder, 'prometheus.yml'), 'utf8'));
  config.global = { scrape_interval: '500ms', scrape_timeout: '500ms', evaluation_interval: '500ms' };
  config.rule_files = config.rule_files.map((file: string) => join(folder, file));
  config.scrape_configs[0].static_configs[0].targets = [target];
  writeFileSync(join(data, 'prometheus.yml'), stringify(config));

  const port = await freePort();
  const child = spawn(
    program,
    [
      `--config.file=${join(data, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(data, 'tsdb')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()));
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await exited;
    rmSync(data, { recursive: true, force: true });
  });
  let said = '';
  await new Promise<void>((resolve, reject) => {
    child.stderr.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-20_000);
      if (said.includes('Server is ready')) resolve();
    });
    void exited.then(() => reject(new Error(`Prometheus ended:\n${said}`)));
  });

  const ask = async <T>(path: string, form?: Record<string, string>): Promise<T> => {
    const answer = await fetch(`http://127.0.0.1:${port}/api/v1/${path}`, {
      ...(form && { method: 'POST', body: new URLSearchParams(form) }),
    });
    const { status, data: found, error } = (await answer.json()) as { status: string; data: T; error?: string };
    if (status !== 'success') throw new Error(error ?? status);
    return found;
  };
  return {
    async query(expr) {
      const { result } = await ask<{ result: { value: [number, string] }[] }>('query', { query: expr });
      return result.map(({ value }) => Number(value[1]));
    },
    async failedRules() {
      const { groups } = await ask<{ groups: { rules: { name: string; health: string; lastError?: string }[] }[] }>(
        'rules',
      );
      return groups
        .flatMap(({ rules }) => rules)
        .filter(({ health }) => health !== 'ok')
        .map(({ name, health, lastError }) => `${name}: ${lastError ?? health}`);
    },
  };
}
