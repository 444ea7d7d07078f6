import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { signToken } from '../../src/auth/token.js';
import { connect } from '../support/client.js';
import { lacking } from '../support/lacking.js';
import { relayEnv, run } from '../support/process.js';
import { jwt, startTestEmulator } from '../support/relay.js';
import { closedPort } from '../upstream/servers.js';

/** A relay whose log goes to a descriptor; resolves when it listens, which its log cannot tell. */
async function start(output: 'pipe' | number, env: Record<string, string> = {}) {
  const emulator = await startTestEmulator();
  const [port, ops] = [await closedPort(), await closedPort()];
  const running = run(['serve'], relayEnv(emulator.url, { PORT: `${port}`, RELAY_OPS_PORT: `${ops}`, ...env }), output);
  const url = `http://127.0.0.1:${port}`;
  await expect
    .poll(
      () =>
        fetch(`http://127.0.0.1:${ops}/readyz`).then(
          ({ status }) => status,
          () => 0,
        ),
      { timeout: 20_000 },
    )
    .toBe(200);
  let users = 0;
  // Each of another user, for what repeats is summed up.
  const refused = async (count: number) => {
    for (let i = 0; i < count; i++) {
      const token = signToken({ ...jwt, subject: `user_${++users}`, profile: 'none', ttlSeconds: 600 });
      const headers = { Authorization: `Bearer ${token}` };
      await (await fetch(`${url}/v1/realtime/client_secrets`, { method: 'POST', headers })).text();
    }
  };
  const talk = async () => {
    const credential = signToken({ ...jwt, subject: 'alice', ttlSeconds: 600 });
    const client = await connect(`${url.replace('http', 'ws')}/v1/realtime?model=x`, {
      headers: { Authorization: `Bearer ${credential}` },
    });
    await client.next('session.created');
    client.ws.close(1000);
    await client.closed;
  };
  const metric = async () => {
    const text = await (await fetch(`http://127.0.0.1:${ops}/metrics`)).text();
    return Number(/^relay_log_lines_dropped_total (\d+)$/m.exec(text)?.[1] ?? Number.NaN);
  };
  /** Ends it as a process manager does, and tells how. */
  const stop = async () => {
    const started = performance.now();
    running.child.kill('SIGTERM');
    const code = await running.exited;
    return { code, isInTime: performance.now() - started < 8000 };
  };
  return { ...running, refused, talk, metric, stop };
}

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'relay-disk-'));
  onTestFinished(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

/** Whether this machine lets the test have a file system of 64 KB. */
function mounted(at: string): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', at], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

describe.skipIf(lacking(process.platform === 'linux', '/dev/full of Linux', 'run them there, or in a container'))(
  'a log that cannot be written',
  { timeout: 60_000 },
  () => {
    it.each(['1', '2'])(
      'leaves a relay of %s worker(s) serving, and ending with 0, on a full disk',
      async (workers) => {
        const full = openSync('/dev/full', 'w');
        onTestFinished(() => closeSync(full));
        const relay = await start(full, { RELAY_WORKERS: workers });
        await relay.refused(50);
        await relay.talk();
        expect(await relay.metric()).toBe(0);
        expect(await relay.stop()).toEqual({ code: 0, isInTime: true });
      },
    );

    it.each(['1', '2'])(
      'leaves a relay of %s worker(s) serving when nobody reads the pipe, and is whole when somebody does',
      async (workers) => {
        const fifo = join(folder(), 'log');
        execFileSync('mkfifo', [fifo]);
        const pipe = openSync(fifo, constants.O_RDWR);
        onTestFinished(() => closeSync(pipe));
        const relay = await start(pipe, { RELAY_WORKERS: workers });
        // A pipe holds 64 KB.
        await relay.refused(600);
        await relay.talk();
        const reader = spawn('cat', [fifo], { stdio: ['ignore', 'pipe', 'ignore'] });
        onTestFinished(() => void reader.kill());
        let text = '';
        const read = new Promise<void>((resolve) => {
          reader.stdout.on('data', (chunk) => {
            text += chunk;
            // The lines of two workers come in turn, and the last may not be whole yet.
            const isAll = text.includes('session.ended') && text.split('"request.refused"').length > 600;
            if (isAll && text.endsWith('\n')) resolve();
          });
        });
        await read;
        const lines = text
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line));
        expect(lines.filter(({ msg }) => msg === 'request.refused')).toHaveLength(600);
        reader.kill();
        await once(reader, 'close');
        await relay.refused(600);
        expect(await relay.stop()).toEqual({ code: 0, isInTime: true });
      },
    );

    it('leaves the relay serving when the reader of the pipe is gone', async () => {
      const relay = await start('pipe');
      relay.child.stdout?.destroy();
      await relay.refused(50);
      await relay.talk();
      expect(await relay.stop()).toEqual({ code: 0, isInTime: true });
      expect(relay.lines.join('\n')).not.toContain('EPIPE');
    });

    it('goes on with the lines it kept when a full file system has room again', async (test) => {
      const at = folder();
      if (!mounted(at)) return test.skip('file systems are mounted by root on Linux only');
      onTestFinished(() => void execFileSync('umount', ['-l', at]));
      writeFileSync(join(at, 'ballast'), Buffer.alloc(48 * 1024));
      const file = openSync(join(at, 'log'), 'a');
      onTestFinished(() => closeSync(file));
      const relay = await start(file);
      await relay.refused(100);
      await relay.talk();
      expect(readFileSync(join(at, 'log'), 'utf8')).not.toContain('session.ended');
      rmSync(join(at, 'ballast'));
      await expect.poll(() => readFileSync(join(at, 'log'), 'utf8'), { timeout: 10_000 }).toContain('session.ended');
      const lines = readFileSync(join(at, 'log'), 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
      expect(lines.filter(({ msg }) => msg === 'request.refused')).toHaveLength(100);
      expect(await relay.stop()).toEqual({ code: 0, isInTime: true });
    });

    it('ends no command that prints to a reader who has had enough, and tells of a full disk by its exit code', async () => {
      const full = openSync('/dev/full', 'w');
      onTestFinished(() => closeSync(full));
      expect(await run(['check', '--schema'], {}, full).exited).toBe(1);
      const schema = run(['check', '--schema']);
      schema.child.stdout?.destroy();
      expect(await schema.exited).toBe(0);
      expect(schema.lines.join('\n')).not.toContain('EPIPE');
    });
  },
);
