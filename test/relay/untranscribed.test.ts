import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { explain } from '../../src/explain/explain.js';
import { startTestRelay } from '../support/relay.js';
import { startUpstream } from '../support/upstream.js';

const failed = 'conversation.item.input_audio_transcription.failed';

/** A session whose user has spoken `turns` times, none of which became words. */
async function untranscribed(code: string, turns: number) {
  const upstream = await startUpstream();
  const server = await startTestRelay({
    upstream: upstream.url,
    yaml: 'profiles: { default: { session: { audio: { input: { transcription: { model: gpt-4o-transcribe } } } } } }',
  });
  const client = await server.connect();
  await client.next('session.created');
  const { ws } = await upstream.connected();
  const seen = [];
  for (let turn = 0; turn < turns; turn++) {
    const item_id = `item_${turn}`;
    const error = { type: 'server_error', code, message: `secret ${item_id}`, param: null };
    ws.send(JSON.stringify({ type: 'input_audio_buffer.committed', item_id, previous_item_id: null }));
    ws.send(JSON.stringify({ type: failed, item_id, content_index: 0, error }));
    seen.push(await client.next(failed));
  }
  client.ws.close(1000);
  await server.logged('session.ended');
  return { server, seen };
}

describe('speech that does not become words', () => {
  it('because the model is no deployment is told to the operator once a session, with the name', async () => {
    const { server, seen } = await untranscribed('DeploymentNotFound', 3);
    expect(server.log.filter(({ msg }) => msg === 'transcription.failed')).toEqual([
      expect.objectContaining({ level: 'warn', code: 'DeploymentNotFound', model: 'gpt-4o-transcribe' }),
    ]);
    expect(await server.metric('relay_transcriptions_failed_total', { code: 'DeploymentNotFound' })).toBe(3);
    for (const { error } of seen) {
      expect(error).toMatchObject({ type: 'server_error', code: 'transcription_unavailable', param: null });
    }
    expect(JSON.stringify(seen)).not.toMatch(/secret|gpt-4o-transcribe/);

    const { session } = await server.logged('session.ended');
    const lines: string[] = [];
    const log = Readable.from(Buffer.from(server.log.map((line) => JSON.stringify(line)).join('\n')));
    await explain(String(session), log, (line) => lines.push(line));
    expect(lines.join('\n')).toContain('"gpt-4o-transcribe" is no deployment of this resource');
  });

  it("for another reason is the service's failure, and counted by its code", async () => {
    const { server, seen } = await untranscribed('audio_unintelligible', 1);
    expect(seen[0]?.error).toMatchObject({ code: 'audio_unintelligible' });
    expect(await server.metric('relay_transcriptions_failed_total', { code: 'audio_unintelligible' })).toBe(1);
  });

  it('never grows the metric with what upstream writes', async () => {
    const { server, seen } = await untranscribed('x'.repeat(50), 1);
    expect(seen[0]?.error).toMatchObject({ code: 'upstream_error' });
    expect(await server.metric('relay_transcriptions_failed_total', { code: 'other' })).toBe(1);
  });
});
