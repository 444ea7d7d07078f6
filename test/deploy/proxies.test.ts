/** The proxies of deploy/proxy, as they stand there but for ports and files, each run by the real program before a relay. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect as dial } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { textOf } from '../project/tables.js';
import { makeCertificate } from '../support/certificate.js';
import { connect } from '../support/client.js';
import { freePort } from '../support/port.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';

interface Place {
  readonly port: number;
  readonly folder: string;
  readonly cert: string;
  readonly key: string;
  /** Address and port of the relay, and the port where it says whether it is ready. */
  readonly relay: string;
  readonly ops: string;
}

interface Proxy {
  readonly program: string;
  readonly version: string;
  /** The file as the program takes it, put into the folder; returns how the program is called. */
  prepare(place: Place): string[];
  readonly env?: (place: Place) => Record<string, string>;
}

const file = (place: Place, name: string, text: string) => {
  const path = join(place.folder, name);
  writeFileSync(path, text);
  return path;
};

const proxies: Record<string, Proxy> = {
  nginx: {
    program: 'nginx',
    version: '-v',
    prepare(place) {
      const site = textOf('deploy/proxy/nginx.conf')
        .replace('listen 443 ssl', `listen 127.0.0.1:${place.port} ssl`)
        .replace('127.0.0.1:8080', place.relay)
        .replace('/etc/ssl/relay.pem', place.cert)
        .replace('/etc/ssl/relay.key', place.key);
      const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
        (name) => `${name}_temp_path ${place.folder}/${name};`,
      );
      const main = `daemon off; pid ${place.folder}/nginx.pid; error_log stderr warn; worker_processes 1;
events {}
http { access_log off; ${temp.join(' ')}
${site}
}`;
      return ['-p', place.folder, '-c', file(place, 'main.conf', main)];
    },
  },
  haproxy: {
    program: 'haproxy',
    version: '-v',
    prepare(place) {
      const pem = file(place, 'both.pem', readFileSync(place.cert, 'utf8') + readFileSync(place.key, 'utf8'));
      const text = textOf('deploy/proxy/haproxy.cfg')
        .replace('bind :443', `bind 127.0.0.1:${place.port}`)
        .replace('/etc/ssl/relay.pem', pem)
        .replace('127.0.0.1:8080', place.relay)
        .replace('check port 9464', `check port ${place.ops}`);
      return ['-db', '-f', file(place, 'haproxy.cfg', text)];
    },
  },
  caddy: {
    program: 'caddy',
    version: 'version',
    prepare(place) {
      const text = textOf('deploy/proxy/Caddyfile')
        .replace('relay.example {', `https://localhost:${place.port} {\n\ttls ${place.cert} ${place.key}`)
        .replace('127.0.0.1:8080', place.relay)
        .replace('health_port 9464', `health_port ${place.ops}`);
      const own = '{\n\tadmin off\n\tauto_https disable_redirects\n}\n';
      return ['run', '--adapter', 'caddyfile', '--config', file(place, 'Caddyfile', own + text)];
    },
    env: ({ folder }) => ({ HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder }),
  },
};

const isThere = ({ program, version }: Proxy) => spawnSync(program, [version], { stdio: 'ignore' }).status === 0;

async function isListening(port: number): Promise<boolean> {
  const socket = dial(port, '127.0.0.1');
  return new Promise((resolve) => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
  }).then((answer) => {
    socket.destroy();
    return answer as boolean;
  });
}

describe('a relay behind a proxy of deploy/proxy', () => {
  it.for(Object.entries(proxies))(
    'talks, and takes large events: %s',
    { timeout: 30_000 },
    async ([, proxy], { skip }) => {
      skip(!isThere(proxy) && !process.env.CI, `${proxy.program} is not installed`);
      const { cert, key } = makeCertificate();
      const emulator = await startTestEmulator();
      const test = await startTestRelay({ upstream: emulator.url, yaml: 'trusted_proxies: 1' });
      await fetch(`${test.relay.opsUrl}/readyz`);
      const port = await freePort();
      const place: Place = {
        port,
        folder: dirname(cert),
        cert,
        key,
        relay: new URL(test.relay.url).host,
        ops: new URL(test.relay.opsUrl).port,
      };
      const args = proxy.prepare(place);
      const child = spawn(proxy.program, args, {
        env: { ...process.env, ...proxy.env?.(place) },
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      let said = '';
      child.stderr.on('data', (text: Buffer) => (said += text.toString()));
      onTestFinished(async () => {
        if (child.exitCode === null) {
          // At SIGKILL nginx would leave its worker behind.
          child.kill('SIGTERM');
          await once(child, 'exit');
        }
      });
      while (!(await isListening(port))) {
        expect(child.exitCode, said).toBeNull();
        await sleep(50);
      }
      const ca = readFileSync(cert);
      const client = await connect(`wss://localhost:${port}/v1/realtime`, {
        ca,
        headers: { authorization: `Bearer ${test.token()}` },
      });
      await client.next('session.created');
      expect(await client.ask('Say hi')).toMatchObject({ status: 'completed' });
      client.send({ type: 'input_audio_buffer.append', audio: Buffer.alloc(3 * 1024 * 1024).toString('base64') });
      client.send({ type: 'input_audio_buffer.clear' });
      await client.next('input_audio_buffer.cleared');
      client.ws.close();
    },
  );
});

describe('deploy/systemd/realtime-relay.service', () => {
  const hasVerifier = spawnSync('systemd-analyze', ['--version'], { stdio: 'ignore' }).status === 0;

  it.skipIf(!hasVerifier)('is a unit that systemd understands', () => {
    const { cert } = makeCertificate();
    const unit = join(dirname(cert), 'realtime-relay.service');
    // The program is not where it will be.
    writeFileSync(unit, textOf('deploy/systemd/realtime-relay.service').replaceAll('/usr/bin/node', process.execPath));
    const verified = spawnSync('systemd-analyze', ['verify', '--man=no', unit], { encoding: 'utf8' });
    expect(verified.stderr.split('\n').filter((line) => line.includes('realtime-relay'))).toEqual([]);
  });
});
