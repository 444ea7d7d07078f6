import { request } from 'node:http';
import { networkInterfaces } from 'node:os';
import { describe, expect, it } from 'vitest';
import { lacking } from '../support/lacking.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';

const hasIPv6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === '::1'));

function statusAt(url: string, host: string, path: string): Promise<number | undefined> {
  const { port } = new URL(url);
  return new Promise((resolve, reject) => {
    request({ host, port, path, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .on('error', reject)
      .end();
  });
}

describe('a relay that was told no address', () => {
  it.skipIf(lacking(hasIPv6, 'the address ::1', 'sysctl -w net.ipv6.conf.lo.disable_ipv6=0'))(
    'is reached over IPv4 and over IPv6, on both ports, and says 127.0.0.1',
    async () => {
      const { url } = await startTestEmulator();
      const { relay } = await startTestRelay({ upstream: url, env: { HOST: '' } });
      expect([relay.url, relay.opsUrl]).toEqual([
        expect.stringContaining('//127.0.0.1:'),
        expect.stringContaining('//127.0.0.1:'),
      ]);
      for (const host of ['127.0.0.1', '::1']) {
        expect([await statusAt(relay.url, host, '/'), await statusAt(relay.opsUrl, host, '/healthz')]).toEqual([
          200, 200,
        ]);
      }
    },
  );
});
