import { describe, expect, it } from 'vitest';
import { appends, silence, tone } from '../emulator/speech.js';
import type { TestClient } from '../support/client.js';
import { lasting, startLasting, talk, wordsOf } from '../support/continuity.js';
import { startTestEmulator, type TestRelay } from '../support/relay.js';

const kill = 'die_mid_response';

async function post(relay: TestRelay, path: string, body: unknown): Promise<number> {
  const token = relay.token({ subject: 'desk', claims: { scope: 'relay.sessions.write' } });
  const headers = { authorization: `Bearer ${token}` };
  const reply = await fetch(`${relay.relay.url}/v1/relay/${path}`, {
    method: 'POST',
    headers,
    body: JSON.stringify(body),
  });
  return reply.status;
}

function idOf({ events }: TestClient): string {
  const [{ session } = { session: {} }] = events;
  return (session as { id: string }).id;
}

const typed = (role: string, text: string) => ({
  type: 'conversation.item.create',
  item: { type: 'message', role, content: [{ type: 'input_text', text }] },
});

describe('over a connection that is lost, a backend', () => {
  it('has set what it has set, and has told the model what it has told it', async () => {
    const emulator = await startTestEmulator();
    const relay = await startLasting(emulator);
    const client = await talk(relay);
    const id = idOf(client);
    const events = [
      { type: 'session.update', session: { instructions: 'CANARY-PATCHED' } },
      typed('system', 'Please remember that my parrot is called Nemo.'),
    ];
    expect(await post(relay, `sessions/${id}/events`, { events })).toBe(202);
    await emulator.control.received.waitFor((received) => received.events('conversation.item.create').length === 1);
    await client.ask('Hello?');
    emulator.control.faults.strike(kill);
    await client.next('relay.upstream_replaced');
    const last = emulator.control.received.connections.at(-1)?.events ?? [];
    expect(last.find(({ type }) => type === 'session.update')?.body.session).toMatchObject({
      instructions: 'CANARY-PATCHED',
    });
    expect(wordsOf(await client.ask('What is my parrot called?'))).toContain('Nemo');
    expect(client.raw.join('\n')).not.toMatch(/CANARY|"system"/);
  });

  it('keeps a session that it has taken over: the next one answers nobody else from its first moment', async () => {
    const emulator = await startTestEmulator();
    const relay = await startLasting(emulator, { yaml: lasting('', '    limits: { audio_burst_seconds: 60 }\n') });
    const client = await talk(relay);
    const id = idOf(client);
    expect(await post(relay, `sessions/${id}/takeover`, { on: true })).toBe(200);
    emulator.control.faults.strike(kill);
    await client.next('relay.upstream_replaced');
    const last = emulator.control.received.connections.at(-1)?.events ?? [];
    const [update] = last.filter(({ type }) => type === 'session.update');
    expect(update?.body.session).toMatchObject({ audio: { input: { turn_detection: { create_response: false } } } });
    const speech = Buffer.concat([silence(500), tone(800, -15), silence(900)]);
    for (const event of appends(speech)) client.send(event);
    await client.next('input_audio_buffer.committed');
    expect(
      await post(relay, `sessions/${id}/events`, {
        type: 'response.create',
        response: { output_modalities: ['text'] },
      }),
    ).toBe(202);
    await client.next('response.done');
    expect(client.types().filter((type) => type === 'response.created')).toHaveLength(1);
    expect(await post(relay, `sessions/${id}/takeover`, { on: false })).toBe(200);
    for (const event of appends(speech)) client.send(event);
    await client.next('response.done');
    expect(client.types()).not.toContain('error');
  });
});
