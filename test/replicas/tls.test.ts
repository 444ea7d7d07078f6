/** Redis with TLS and a password, as the program itself reaches it. */
import { describe, expect, it, onTestFinished } from 'vitest';
import { makeCertificate } from '../support/certificate.js';
import { freePort } from '../support/port.js';
import { relayEnv, run } from '../support/process.js';
import { hasRedis, startRedis } from '../support/redis.js';
import { startTestEmulator } from '../support/relay.js';

describe.skipIf(!hasRedis)('Redis over TLS', () => {
  it('is raced where its certificate is trusted, and named where it is not', async () => {
    const { cert, key } = makeCertificate();
    const port = await freePort();
    const redis = await startRedis(
      ...['--tls-port', String(port), '--tls-cert-file', cert, '--tls-key-file', key],
      ...['--tls-auth-clients', 'no', '--requirepass', 'a-password'],
    );
    onTestFinished(() => redis.close());
    const emulator = await startTestEmulator();
    const env = relayEnv(emulator.url, { RELAY_REDIS_URL: `rediss://:a-password@localhost:${port}` });
    const trusting = run(['check', '--redis'], { ...env, NODE_EXTRA_CA_CERTS: cert });
    expect(await trusting.exited, trusting.lines.join('\n')).toBe(0);
    expect(trusting.lines.join('\n')).not.toContain('a-password');
    const other = run(['check', '--redis'], env);
    expect(await other.exited).toBe(1);
    expect(other.lines.join('\n')).toMatch(/DEPTH_ZERO_SELF_SIGNED_CERT/);
  });
});
