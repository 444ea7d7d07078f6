/** The real command line in a process of its own, for what only a process can show: signals, exit codes, environment. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { jwt } from './relay.js';

const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
/** It serves as well, in a hurry; see there. */
export const hurried = fileURLToPath(new URL('hurried.mjs', import.meta.url));

/** A machine that is busy with other tests must not turn clients away. */
const unhurried = fileURLToPath(new URL('unhurried.yaml', import.meta.url));

export interface Running {
  readonly child: ChildProcess;
  readonly lines: string[];
  /** Resolves to the first line of output for which the test is true. */
  line(test: (line: string) => boolean): Promise<string>;
  /** Resolves to the exit code, or the signal that ended it. */
  readonly exited: Promise<number | string>;
}

/**
 * Runs `realtime-relay <args>`; the process is killed when the test is over.
 * @param output a descriptor for its standard output, in place of `lines`
 */
export function run(
  args: string[],
  env: Record<string, string> = {},
  output: 'pipe' | number = 'pipe',
  program = cli,
): Running {
  const child = spawn(process.execPath, [program, ...args], {
    env: { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '', ...env },
    stdio: ['ignore', output, 'pipe'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const lines: string[] = [];
  const listeners = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    let rest = '';
    stream?.on('data', (chunk: Buffer) => {
      const parts = (rest + chunk.toString()).split('\n');
      rest = parts.pop() ?? '';
      lines.push(...parts);
      for (const listener of listeners) listener();
    });
  }
  const exited = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | string);
  return {
    child,
    lines,
    exited,
    line(test) {
      return new Promise((resolve, reject) => {
        const look = () => {
          const found = lines.find(test);
          if (found === undefined) return;
          listeners.delete(look);
          resolve(found);
        };
        listeners.add(look);
        look();
        void exited.then((code) => reject(new Error(`exited with ${code} before that line:\n${lines.join('\n')}`)));
      });
    },
  };
}

/** The environment of a relay before this upstream, on free ports. */
export function relayEnv(upstream: string, env: Record<string, string> = {}): Record<string, string> {
  return {
    HOST: '127.0.0.1',
    PORT: '0',
    RELAY_OPS_PORT: '0',
    AZURE_OPENAI_ENDPOINT: upstream,
    AZURE_OPENAI_REALTIME_DEPLOYMENT: 'gpt-realtime',
    AZURE_OPENAI_API_KEY: 'emulator-key',
    RELAY_JWT_SECRET: jwt.secret,
    RELAY_JWT_ISSUER: jwt.issuer,
    RELAY_JWT_AUDIENCE: jwt.audience,
    RELAY_CONFIG: unhurried,
    ...env,
  };
}

/** Runs `realtime-relay serve` and waits until it listens. */
export async function serve(
  env: Record<string, string>,
  program = cli,
): Promise<Running & { url: string; ops: string }> {
  const running = run(['serve'], env, 'pipe', program);
  const started = JSON.parse(await running.line((line) => line.includes('relay.started'))) as {
    url: string;
    ops: string;
  };
  return { ...running, url: started.url, ops: started.ops };
}
