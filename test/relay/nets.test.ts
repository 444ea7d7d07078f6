import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { signToken } from '../../src/auth/token.js';
import { loadConfig } from '../../src/config/load.js';
import { startRelay } from '../../src/relay.js';
import { createLog } from '../../src/telemetry/log.js';
import { connect, refused } from '../support/client.js';
import { relayEnv } from '../support/process.js';
import { jwt } from '../support/relay.js';
import { startUpstream } from '../support/upstream.js';

const authorization = `Bearer ${signToken({ ...jwt, subject: 'ada', ttlSeconds: 600 })}`;

/** A relay that cannot write lines of this message. */
async function startSpeechless(message: string) {
  const upstream = await startUpstream();
  const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  onTestFinished(() => warned.mockRestore());
  const sink = {
    write(line: string) {
      if (line.includes(`"${message}"`)) throw new Error('no such luck');
    },
  };
  const relay = await startRelay(loadConfig(relayEnv(upstream.url)), createLog('debug', sink));
  onTestFinished(() => relay.close());
  return { relay, upstream, url: `${relay.url.replace('http', 'ws')}/v1/realtime` };
}

describe('a line that cannot be written', () => {
  it.each(['session.opened', 'session.ended', 'session.usage', 'upstream.dialed', 'session.events'])(
    'at %s costs no place, no connection upstream, and nobody else a thing',
    async (message) => {
      const { relay, upstream, url } = await startSpeechless(message);
      for (let turn = 0; turn < 3; turn++) {
        const client = await connect(url, { headers: { authorization } });
        await Promise.race([client.next('session.created').catch(() => null), client.closed]);
        client.ws.close();
        await client.closed;
      }
      await expect.poll(() => relay.sessions.size).toBe(0);
      await expect.poll(() => upstream.connections.map(({ ws }) => ws.readyState)).toEqual([3, 3, 3]);
    },
  );

  it('at session.refused keeps nobody waiting for the refusal', async () => {
    const { url } = await startSpeechless('session.refused');
    expect((await refused(url, { headers: { authorization: 'Bearer a.b.c' } })).status).toBe(401);
  });

  it('at session.ended holds up no drain', async () => {
    const { relay, url } = await startSpeechless('session.ended');
    const client = await connect(url, { headers: { authorization } });
    await client.next('session.created');
    void relay.sessions.drain(5);
    expect((await client.closed).reason).toBe('draining');
    await expect.poll(() => relay.sessions.size).toBe(0);
  });
});
