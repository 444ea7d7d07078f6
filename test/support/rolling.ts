/** Replicas that are replaced one after the other behind a real HAProxy, while users talk whose clients do as the exits table says. */

import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { signToken } from '../../src/auth/token.js';
import { textOf } from '../project/tables.js';
import { connect, type TestClient } from './client.js';
import { freePort } from './port.js';
import { relayEnv, serve } from './process.js';
import type { RedisServer } from './redis.js';
import { jwt, startTestEmulator } from './relay.js';

/** Whether there is one; those who develop without are not kept from the rest. */
export const hasProxy = spawnSync('haproxy', ['-v']).status === 0;

/** What became of what users asked. */
interface Outcome {
  /** Answers that came whole, and those that had begun and did not. */
  answered: number;
  lost: number;
  /** Connects that were not let in. */
  refused: number;
  /** How connections ended, by code and reason. */
  readonly ends: Record<string, number>;
}

interface Slot {
  readonly port: number;
  readonly ops: number;
}

/** Runs it; `replicas` are started, and as many take their places. */
export async function replaceReplicas(
  redis: RedisServer,
  { users, replicas = 3, speed = 4 }: { users: number; replicas?: number; speed?: number },
): Promise<Outcome> {
  const emulator = await startTestEmulator({ speed });
  const slots: Slot[] = [];
  for (let i = 0; i < 2 * replicas; i++) slots.push({ port: await freePort(), ops: await freePort() });
  const shared = {
    RELAY_REDIS_URL: redis.url,
    RELAY_REDIS_PREFIX: `rolling-${process.pid}:`,
    RELAY_REDIS_KEY: randomBytes(32).toString('base64'),
  };
  const start = ({ port, ops }: Slot) =>
    serve(relayEnv(emulator.url, { ...shared, PORT: String(port), RELAY_OPS_PORT: String(ops) }));
  const old = await Promise.all(slots.slice(0, replicas).map(start));
  const { url, living } = await startProxy(slots);
  await waitUntil(async () => (await living()) === replicas);

  const outcome: Outcome = { answered: 0, lost: 0, refused: 0, ends: {} };
  const isOver = { yet: false };
  const talking = Array.from({ length: users }, (_, n) => talk(`${url}/v1/realtime?model=x`, n, outcome, isOver));
  await waitUntil(() => outcome.answered >= users);
  const next = slots.slice(replicas).map(start);
  for (const [i, one] of old.entries()) {
    await next[i];
    await waitUntil(async () => (await living()) > replicas);
    one.child.kill('SIGTERM');
    // Another one is taken away once this one is.
    if ((await one.exited) !== 0) throw new Error(`a replica did not end well:\n${one.lines.slice(-20).join('\n')}`);
  }
  const before = outcome.answered;
  await waitUntil(() => outcome.answered >= before + users);
  isOver.yet = true;
  await Promise.all(talking);
  return outcome;
}

async function startProxy(slots: readonly Slot[]) {
  const [port, monitor] = [await freePort(), await freePort()];
  const folder = mkdtempSync(join(tmpdir(), 'proxy-'));
  const servers = slots.map(({ port: own, ops }, i) => `  server r${i} 127.0.0.1:${own} check port ${ops}`).join('\n');
  const text = textOf('deploy/proxy/replicas.cfg')
    .replace('bind :8088', `bind 127.0.0.1:${port}`)
    .replace(/^ {2}server a .*\n {2}server b .*$/m, servers);
  const count = `
frontend monitor
  bind 127.0.0.1:${monitor}
  http-request return status 200 content-type text/plain lf-string "%[nbsrv(replicas)]"
`;
  writeFileSync(join(folder, 'haproxy.cfg'), text + count);
  const child = spawn('haproxy', ['-db', '-f', join(folder, 'haproxy.cfg')], { stdio: 'ignore' });
  onTestFinished(() => {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    url: `ws://127.0.0.1:${port}`,
    /** How many replicas it takes for ready. */
    living: async () => {
      const answer = await fetch(`http://127.0.0.1:${monitor}`).then(
        (response) => response.text(),
        () => '0',
      );
      return Number(answer);
    },
  };
}

async function waitUntil(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await pause(20);
}

/** One who asks and asks; who is sent away comes back, and asks again what was not being answered. */
async function talk(url: string, n: number, outcome: Outcome, isOver: { yet: boolean }): Promise<void> {
  const token = signToken({ ...jwt, subject: `user-${n}`, ttlSeconds: 600 });
  let client: TestClient | null = null;
  for (let question = 1; !isOver.yet; question++) {
    for (let isAnswered = false; !isAnswered; ) {
      client ??= await arrive(url, token, outcome);
      const { current, heard } = await ask(client, `question ${question} of user ${n}`);
      isAnswered = heard;
      if (heard) outcome.answered++;
      else {
        if (current) outcome.lost++;
        const { code, reason } = await client.closed;
        outcome.ends[`${code} ${reason}`] = (outcome.ends[`${code} ${reason}`] ?? 0) + 1;
        client = null;
      }
    }
    await pause(50 * Math.random());
  }
  client?.ws.close(1000);
}

/** Tries until it is let in, after as long as it is told. */
async function arrive(url: string, token: string, outcome: Outcome): Promise<TestClient> {
  for (;;) {
    try {
      const client = await connect(url, { headers: { authorization: `Bearer ${token}` } });
      await client.next('session.created');
      return client;
    } catch {
      outcome.refused++;
      await pause(200 + 200 * Math.random());
    }
  }
}

/** `current`: an answer had begun; `heard`: it came, whole, and it is the one to this question. */
async function ask(client: TestClient, text: string): Promise<{ current: boolean; heard: boolean }> {
  let current = false;
  try {
    client.send({
      type: 'conversation.item.create',
      item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
    });
    client.send({ type: 'response.create' });
    await client.next('response.created');
    current = true;
    const said = await client.next('response.output_audio_transcript.done');
    const { response } = await client.next('response.done');
    const { status } = response as { status: string };
    return { current, heard: status === 'completed' && String(said.transcript).includes(text) };
  } catch {
    return { current, heard: false };
  }
}
