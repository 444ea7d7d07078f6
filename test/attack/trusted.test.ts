import { afterEach, describe, expect, it } from 'vitest';
import type { TestClient } from '../support/client.js';
import { arena, dialects, evil } from './arena.js';
import type { Passage } from './wire.js';

const yaml = `profiles:
  default: { limits: { responses_burst: 1000, connects_burst: 1000 } }
  backend:
    client: { trust: trusted }
    limits: { connects_burst: 1000 }
    session:
      instructions: CANARY_INSTRUCTIONS
      tools: [{ type: function, name: server_tool, parameters: { type: object } }]
      max_output_tokens: 100
      audio: { output: { voice: alloy } }
`;
const field = arena({ yaml });
afterEach(() => field.honestTurn());

const tool = { type: 'function', name: evil, parameters: {} };
const locked: readonly (readonly [name: string, fields: Record<string, unknown>])[] = [
  ['instructions', { instructions: evil }],
  ['instructions emptied', { instructions: '' }],
  ['tools', { tools: [tool] }],
  ['tools emptied', { tools: [] }],
  ['a prompt in place of instructions', { prompt: { id: evil } }],
  ['more tokens', { max_output_tokens: 4000 }],
  ['unlimited tokens', { max_output_tokens: 'inf' }],
  ['a voice', { audio: { output: { voice: 'ash' } } }],
];

async function backend(): Promise<{ client: TestClient; passage: Passage }> {
  const client = await field.connect('ga', { token: field.token({ profile: 'backend' }) });
  await client.next('session.created');
  return { client, passage: field.wire.passages.at(-1) as Passage };
}

/** Whether a session or response object sets anything that the profile of these tests has set. */
function overrides(frame: string): boolean {
  const { session, response } = JSON.parse(frame);
  const set = session ?? response ?? {};
  const names = ['instructions', 'tools', 'prompt', 'voice'].some((name) => name in set);
  return (
    names ||
    (set.max_output_tokens ?? 0) > 100 ||
    set.max_output_tokens === 'inf' ||
    'voice' in (set.audio?.output ?? {})
  );
}

describe('a trusted backend that was taken over', () => {
  it.each(locked)('cannot update %s', async (_, fields) => {
    const { client, passage } = await backend();
    client.send({ type: 'session.update', session: { type: 'realtime', ...fields, tool_choice: 'none' } });
    await passage.sent(2);
    expect(overrides(passage.up[1] as string)).toBe(false);
    expect(passage.up[1]).toContain('"tool_choice":"none"');
    client.ws.terminate();
  });

  it.each(locked)('cannot ask for a response with %s', async (_, fields) => {
    const { client, passage } = await backend();
    client.send({ type: 'response.create', response: { ...fields, tool_choice: 'none' } });
    await passage.sent(2);
    expect(overrides(passage.up[1] as string)).toBe(false);
    client.ws.terminate();
  });

  it.each(['session.steal', 'transcription_session.update', 'response.done', '__proto__'])(
    'cannot send %s',
    async (type) => {
      const { client, passage } = await backend();
      client.send({ type, session: { instructions: evil } });
      expect((await client.next('error')).error).toMatchObject({ type: 'invalid_request_error' });
      expect(passage.up).toHaveLength(1);
      client.ws.terminate();
    },
  );

  it.each(['{"type":"a","type":"b"}', `{"type":"session.update","session":{"__proto__":{"instructions":"${evil}"}}}`])(
    'is held to one meaning: %s',
    async (text) => {
      const { client, passage } = await backend();
      client.ws.send(text);
      expect((await client.next('error')).error).toMatchObject({ code: 'bad_event' });
      expect(passage.up).toHaveLength(1);
      client.ws.terminate();
    },
  );

  it('is held to events', async () => {
    const { client, passage } = await backend();
    client.ws.send('[]');
    expect(await client.closed).toEqual({ code: 1007, reason: 'bad_event' });
    expect(passage.up).toHaveLength(1);
  });

  it('is never shown what the profile has set', async () => {
    const { client } = await backend();
    client.send({ type: 'session.update', session: { type: 'realtime', tool_choice: 'none' } });
    await client.next('session.updated');
    client.send({ type: 'response.create' });
    await client.next('response.done');
    expect(client.raw.join('')).not.toMatch(/CANARY|server_tool/);
    client.ws.terminate();
  });

  it.each(dialects)('cannot be played by an ordinary user through what a %s handshake says', async (dialect) => {
    const client = await field.connect(dialect, { query: '&profile=backend&trust=trusted&dialect=ga' });
    await client.next('session.created');
    client.send({
      type: 'conversation.item.create',
      item: { type: 'message', role: 'system', content: [{ type: 'input_text', text: evil }] },
    });
    expect((await client.next('error')).error).toMatchObject({ code: 'item_not_allowed' });
    expect(field.wire.passages.at(-1)?.up.join('')).not.toContain(evil);
    client.ws.terminate();
  });
});
