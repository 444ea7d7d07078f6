import { randomBytes } from 'node:crypto';
import { describe, expect, it, vi } from 'vitest';
import { signToken } from '../../src/auth/token.js';
import { begin } from '../support/answer.js';
import { layCable } from '../support/cable.js';
import { connect, refused } from '../support/client.js';
import { type Running, relayEnv, serve } from '../support/process.js';
import { jwt } from '../support/relay.js';
import { ReturningClient } from '../support/returning.js';
import { startUpstream } from '../support/upstream.js';

const sign = (subject: string) => signToken({ ...jwt, subject, ttlSeconds: 600 });

function logged(relay: Running, message: string): Record<string, unknown>[] {
  return relay.lines.filter((line) => line.includes(`"${message}"`)).map((line) => JSON.parse(line));
}

const soon = (probe: () => void) => vi.waitFor(probe, { interval: 5, timeout: 5000 });

async function start() {
  const upstream = await startUpstream();
  const relay = await serve(relayEnv(upstream.url, { RELAY_WORKERS: '2' }));
  const cable = await layCable(relay.url.replace('http', 'ws'));
  const client = await ReturningClient.start({ address: cable.address, token: sign('alice') });
  const { ws } = await upstream.connected();
  begin(ws, 'resp_1');
  let cuts = 0;
  return {
    ...{ upstream, relay, cable, client, ws },
    async lose() {
      cable.cut();
      cuts++;
      await soon(() => expect(logged(relay, 'session.detached')).toHaveLength(cuts));
    },
  };
}

describe('a session of one of two workers', { timeout: 30_000 }, () => {
  it('is gone on with over whichever worker its client reaches, and every byte comes once', async () => {
    const { upstream, relay, client, ws, lose } = await start();
    const [said, heard]: string[][] = [[], []];
    let index = 0;
    const speak = (times: number) => {
      for (let i = 0; i < times; i++) {
        // Some larger than what may be on the way between two workers.
        const bytes = i === 3 ? 300_000 : 4800;
        const [up, down] = [randomBytes(bytes), randomBytes(bytes)].map((one) => one.toString('base64')) as [
          string,
          string,
        ];
        said?.push(up);
        client.send({ type: 'input_audio_buffer.append', audio: up });
        heard?.push(down);
        const at = { response_id: 'resp_1', item_id: 'item_1', output_index: 0, content_index: 0 };
        ws.send(
          JSON.stringify({ type: 'response.output_audio.delta', event_id: `event_${index++}`, ...at, delta: down }),
        );
      }
    };
    const deltas = () =>
      client.messages.flatMap((text) => {
        const { type, delta } = JSON.parse(text) as { type: string; delta: string };
        return type === 'response.output_audio.delta' ? [delta] : [];
      });
    for (let round = 0; round < 4; round++) {
      speak(5);
      await soon(() => expect(deltas()).toHaveLength(heard?.length ?? 0));
      client.acknowledge();
      await lose();
      speak(5);
      expect(await client.resume()).toMatchObject({ type: 'relay.resumed', continuity: 'full', epoch: round + 2 });
    }
    speak(5);
    await soon(() => expect(deltas()).toEqual(heard));
    const texts = await upstream.received(said?.length ?? 0);
    expect(texts.map((text) => (JSON.parse(text) as { audio: string }).audio)).toEqual(said);
    expect(upstream.connections).toHaveLength(1);
    expect(logged(relay, 'session.resumed')).toHaveLength(4);
    // It is one worker that has it, and connections are dealt out in turn.
    expect(new Set(logged(relay, 'session.resumed').map(({ worker }) => worker)).size).toBe(1);
    client.client.ws.close(1000);
    await soon(() => expect(logged(relay, 'session.ended')).toMatchObject([{ reason: 'normal' }]));
  });

  it('resume_refused: is nobody else, whichever worker is asked', async () => {
    const { relay, cable, client, lose } = await start();
    await lose();
    const required = client.url().replace('resume=on', 'resume=required');
    for (let times = 0; times < 2; times++) {
      const protocols = client.protocols(sign('mallory'), client);
      expect(await refused(required, { protocols })).toMatchObject({ status: 409 });
      const unknown = { token: `${client.token.slice(0, -4)}AAAA`, received: client.received };
      expect(await refused(required, { protocols: client.protocols(undefined, unknown) })).toMatchObject({
        status: 409,
      });
    }
    expect(new Set(logged(relay, 'session.not_resumed').map(({ outcome }) => outcome))).toEqual(
      new Set(['other_user', 'unknown']),
    );
    expect((await client.resume(cable.address)).type).toBe('relay.resumed');
  });

  it('superseded: loses the connection of before, wherever that came in', async () => {
    const { client } = await start();
    for (let times = 0; times < 3; times++) {
      const older = client.client;
      expect((await client.resume()).type).toBe('relay.resumed');
      expect(await older.closed).toEqual({ code: 1008, reason: 'superseded' });
    }
  });

  it('ended_by_backend: tells how it ended, whichever worker is asked', async () => {
    const { relay, client, lose } = await start();
    await lose();
    const id = /sess_[0-9a-f]+/.exec(client.token)?.[0];
    const authorization = `Bearer ${signToken({ ...jwt, subject: 'backend', ttlSeconds: 600, claims: { scope: 'relay.sessions.write' } })}`;
    await fetch(`${relay.url}/v1/relay/sessions/${id}`, { method: 'DELETE', headers: { authorization } });
    for (let times = 0; times < 2; times++) {
      const { body } = await refused(client.url(), { protocols: client.protocols(undefined, client) });
      expect(body.error.code).toBe('ended_by_backend');
    }
    const anew = await connect(client.url(), { protocols: client.protocols() });
    await anew.next('session.created');
  });
});
