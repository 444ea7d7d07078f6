import { afterAll, describe, expect, it } from 'vitest';
import type { Script } from '../../src/emulator/script.js';
import { refused } from '../support/client.js';
import { chance } from '../support/dice.js';
import { type Arena, arena, canaries, type Dialect, dialects, doorOf, evil, type Victim } from './arena.js';

/** Words of the server's side beyond those of the profile. */
const words = {
  arguments: 'CANARY_ARGUMENTS',
  output: 'CANARY_OUTPUT',
  system: 'CANARY_SYSTEM',
  error: 'CANARY_ERROR',
  deployment: 'canary-deployment',
  model: 'canary-model',
  apiKey: 'canary-api-key',
  request: 'CANARY_REQUEST_ID',
  region: 'CANARY_REGION',
} as const;
const userWords = 'CANARY_USER_WORDS';
const turns = 40;

const call = { name: canaries.tool, arguments: { place: words.arguments } };
const scripts: Script[] = [
  { text: 'Certainly.' },
  { audio: true, text: 'Spoken.' },
  { functionCall: call },
  { functionCall: [call, call, { name: 'client_tool', arguments: { a: 1 } }] },
  { functionCall: { name: 'client_tool', arguments: { a: 1 } } },
  { functionCall: { name: 'unknown_tool', arguments: words.arguments } },
  { systemItem: words.system, text: 'Yes.' },
  { systemItem: words.system, functionCall: call },
  {
    serverInsertedItem: { type: 'function_call', name: canaries.tool, call_id: 'call_s', arguments: words.arguments },
    text: 'So.',
  },
  { serverInsertedItem: { type: 'function_call_output', call_id: 'call_s', output: words.output }, text: 'So.' },
  { serverInsertedItem: { type: 'message', role: 'developer', content: [{ type: 'input_text', text: words.system }] } },
  {
    serverInsertedItem: {
      type: 'mcp_call',
      server_label: words.system,
      name: words.system,
      arguments: '{}',
      output: words.output,
    },
  },
  { serverInsertedItem: { type: 'mcp_list_tools', server_label: words.system, tools: [{ name: words.output }] } },
  { status: 'failed', reason: 'rate_limit_exceeded' },
  { status: 'incomplete', reason: 'content_filter', text: 'It was a dark' },
];

/** What upstream may come up with between its answers. */
const surprises: object[] = [
  {
    type: 'session.updated',
    event_id: 'e',
    session: { instructions: words.system, tools: [call], model: words.model },
  },
  { type: 'session.debug', session: { instructions: words.system } },
  {
    type: 'error',
    event_id: 'e',
    error: {
      type: 'invalid_request_error',
      code: 'invalid_value',
      message: words.error,
      param: `session.tools[0].${words.error}`,
    },
  },
  {
    type: 'rate_limits.updated',
    event_id: 'e',
    rate_limits: [{ name: words.deployment, limit: 1, remaining: 1, reset_seconds: 1 }],
  },
  {
    type: 'conversation.item.retrieved',
    event_id: 'e',
    item: { id: 'x', type: 'function_call_output', call_id: 'c', output: words.output },
  },
];

const item = (role: string, text: string) => ({
  type: 'conversation.item.create',
  item: { type: 'message', role, content: [{ type: 'input_text', text }] },
});

/** Events a client may think of, good and bad; `ids` are ids of all items there are, hidden ones included. */
function anything(ids: readonly string[], { random, pick }: ReturnType<typeof chance>): object | string {
  const id = ids.length > 0 ? pick(ids) : 'item_x';
  return pick<object | string>([
    item('user', userWords),
    item('system', evil),
    item('assistant', evil),
    { type: 'session.update', session: { instructions: evil, tools: [], tool_choice: 'none' } },
    { type: 'session.update', session: random(2) ? { speed: 1.1 } : { audio: { output: { speed: 1.1 } } } },
    { type: 'conversation.item.retrieve', item_id: id },
    { type: 'conversation.item.delete', item_id: id },
    { type: 'conversation.item.truncate', item_id: id, content_index: 0, audio_end_ms: 0 },
    { ...item('user', userWords), previous_item_id: id },
    { type: 'conversation.item.create', item: { type: 'function_call_output', call_id: 'call_s', output: evil } },
    { type: 'conversation.item.create', item: { type: 'item_reference', id } },
    {
      type: 'response.create',
      response: { conversation: 'none', input: [{ type: 'item_reference', id }], instructions: evil },
    },
    { type: 'response.create', response: { metadata: { a: 'b' } } },
    { type: 'response.cancel' },
    { type: 'input_audio_buffer.append', audio: Buffer.alloc(4800).toString('base64') },
    `{"type":"input_audio_buffer.append","audio":"${'AA\\u0041A'.repeat(4)}"}`,
    { type: 'input_audio_buffer.commit' },
    { type: 'input_audio_buffer.clear' },
    { type: 'transcription_session.update', session: { prompt: evil } },
    { type: pick(['session.get', 'error', 'x', '__proto__', '']), session: { instructions: evil } },
  ]);
}

/** Plays one fuzzed session; returns how often the model was asked. */
async function play(field: Arena, victim: Victim, seed: number, ids: readonly string[]): Promise<number> {
  const luck = chance(seed);
  let asked = 0;
  for (let turn = 0; turn < turns; turn++) {
    field.emulator.control.clearScripts();
    // More than a turn can use, for an answer of the emulator's own would quote what it was told.
    field.emulator.control.script(...Array.from({ length: 30 }, () => luck.pick(scripts)));
    const events = Array.from({ length: 1 + luck.random(6) }, () => anything(ids, luck));
    if (luck.random(4) === 0) victim.passage.inject(luck.pick(surprises));
    await victim.strike(...events, item('user', userWords), { type: 'response.create' });
    await victim.settle();
    expect(victim.isOpen).toBe(true);
    asked = victim.client.events.filter(({ type }) => type === 'response.done').length;
  }
  return asked;
}

describe.each(dialects)('with an upstream that speaks %s', (upstream) => {
  const field = arena({
    upstream: { dialect: upstream, deployment: words.deployment, apiKey: words.apiKey },
    emulator: {
      apiKeys: [words.apiKey],
      deployments: { [words.deployment]: { model: words.model, kind: 'realtime' } },
    },
  });
  /** Ids and names that upstream alone has given. */
  const upstreamIds = new Set<string>();
  const items: string[] = [];
  const token = field.token({ subject: 'canary_subject' });
  const everythingSeen: string[] = [];

  it.each(dialects.flatMap((dialect) => [1, 2, 3].map((seed) => [dialect, seed] as const)))(
    'a %s client sees nothing of the server in forty wild turns, seed %i',
    async (dialect: Dialect, seed) => {
      field.wire.down = (text, forward) => {
        const event = JSON.parse(text) as { type: string; session?: { id: string }; item?: { id: string } };
        if (event.session) upstreamIds.add(event.session.id);
        if (event.item) items.push(event.item.id);
        forward(text);
      };
      const victim = await field.victim(dialect);
      const asked = await play(field, victim, seed * 7919 + dialect.length, items);
      expect(asked).toBeGreaterThanOrEqual(30);
      everythingSeen.push(...victim.client.raw);
      field.emulator.control.clearScripts();
      await field.honestTurn();
    },
  );

  it('the other doors tell nothing either', async () => {
    const base = field.relay.url;
    const authorized = { headers: { Authorization: `Bearer ${token}` } };
    for (const [path, init] of [
      ['/healthz', {}],
      ['/readyz', {}],
      ['/', {}],
      ['/openai/v1/realtime', {}],
      ['/v1/realtime/client_secrets', { method: 'POST', body: '{}', ...authorized }],
      ['/v1/realtime/client_secrets', { method: 'POST', body: '{', ...authorized }],
      ['/v1/realtime/client_secrets', { method: 'GET', ...authorized }],
    ] as const) {
      const response = await fetch(base + path, init);
      everythingSeen.push(JSON.stringify([...response.headers]), await response.text());
    }
    const { headers, body } = await refused(field.address + doorOf.ga);
    everythingSeen.push(JSON.stringify([headers, body]));
  });

  afterAll(async () => {
    const secrets = [
      ...Object.values(canaries),
      ...Object.values(words),
      `:${new URL(field.wire.url).port}`,
      ...upstreamIds,
    ];
    const seen = everythingSeen.join('\n');
    for (const secret of secrets) expect(`client: ${occurrence(seen, secret)}`).toBe('client: none');
    const unlogged = [...Object.values(canaries), words.arguments, words.output, words.system, words.apiKey, userWords];
    const log = field.log.join('');
    for (const secret of [...unlogged, token.split('.')[2] as string, evil]) {
      expect(`log: ${occurrence(log, secret)}`).toBe('log: none');
    }
    const metrics = await field.metrics();
    for (const secret of [...unlogged, ...Object.values(words), ...upstreamIds, evil, 'mallory', 'canary_subject']) {
      expect(`metrics: ${occurrence(metrics, secret)}`).toBe('metrics: none');
    }
  });
});

/** Where a word is, with what is around it. */
function occurrence(text: string, word: string): string {
  const at = text.indexOf(word);
  return at === -1 ? 'none' : text.slice(Math.max(0, at - 200), at + 100);
}
