import type { ServerResponse } from 'node:http';
import { describe, expect, it } from 'vitest';
import type { TestClient } from '../support/client.js';
import { say, startToolRelay, type ToolRelay } from '../support/tools.js';

const doors = {
  ga: '/openai/v1/realtime?model=x&relay_events=on',
  preview: '/openai/realtime?api-version=2025-04-01-preview&deployment=x&relay_events=on',
} as const;
type Dialect = keyof typeof doors;
const cells = (['ga', 'preview'] as const).flatMap((client) =>
  (['ga', 'preview'] as const).map((upstream): [Dialect, Dialect] => [client, upstream]),
);

const canary = /canary/i;
const schema =
  'description: CANARY_DESCRIPTION, parameters: { type: object, properties: { canary_place: { type: string, description: CANARY_SCHEMA } } }';
const tools = {
  canary_fine: schema,
  canary_broken: schema,
  canary_slow: `timeout_seconds: 0.1, filler: { after_ms: 500, say: "One moment." }, ${schema}`,
  canary_quiet: `reply: silent, result: model, ${schema}`,
};
const called = { canary_place: 'CANARY_ARGUMENT' };

/** Answers as the name of the tool says. */
function answer({ name }: { name: string }, response: ServerResponse): void {
  if (name === 'canary_slow') return;
  if (name === 'canary_broken') response.statusCode = 500;
  response.setHeader('x-canary', 'CANARY_HEADER');
  say(response, { found: 'CANARY_OUTPUT' });
}

const textOf = (client: TestClient) => client.raw.join('\n');

async function start(dialect: Dialect, more = ''): Promise<ToolRelay> {
  return startToolRelay(answer, { tools, dialect, profile: more });
}

async function join(test: ToolRelay, dialect: Dialect, subject = 'alice'): Promise<TestClient> {
  const client = await test.connect({ path: doors[dialect], token: test.token({ subject }) });
  await client.next('session.created');
  return client;
}

/** Has the model call these, and waits for the answer to what they brought, where there is one. */
async function turn(test: ToolRelay, client: TestClient, names: readonly string[], answers = 1): Promise<void> {
  test.emulator.control.script({ functionCall: names.map((name) => ({ name, arguments: called })) });
  // What the model then says is not what is looked at here.
  if (answers > 0) test.emulator.control.script({ text: 'So it is.' });
  client.send({ type: 'response.create' });
  for (let response = 0; response <= answers; response++) await client.next('response.done');
}

describe.each(cells)('a %s client before a %s upstream learns nothing of a tool of the server', (dialect, upstream) => {
  it('whatever becomes of its calls', async () => {
    const test = await start(upstream);
    const client = await join(test, dialect);
    const bystander = await join(test, dialect, 'bob');
    await turn(test, client, ['canary_fine', 'canary_broken']);
    await turn(test, client, ['canary_slow']);
    await turn(test, client, ['canary_unlisted']);
    await turn(test, client, ['canary_quiet'], 0);
    await test.logged('tool.called', 5);
    expect(test.asked.length).toBeGreaterThanOrEqual(4);
    expect(textOf(client)).not.toMatch(canary);
    expect(textOf(client)).not.toMatch(/function|call_id|rly_[0-9a-f]{24}/);
    expect(bystander.types().filter((type) => type !== 'session.created')).toEqual([]);
    const lines = JSON.stringify(test.log).replaceAll(/canary_(fine|broken|slow|quiet)/g, '');
    expect(lines).not.toMatch(canary);
  });

  it('from what it asks about its items and answers in its place', async () => {
    const test = await start(upstream);
    const client = await join(test, dialect);
    await turn(test, client, ['canary_fine']);
    const [{ call_id: callId, id: outputId } = {}] = test.outputs() as { call_id: string; id: string }[];
    expect(outputId).toMatch(/^rly_/);
    const output = { type: 'function_call_output', call_id: callId, output: 'mine' };
    const attempts = [
      { type: 'conversation.item.create', item: output },
      { type: 'conversation.item.create', item: { ...output, call_id: 'call_nobody_made' } },
      { type: 'conversation.item.retrieve', item_id: outputId },
      { type: 'conversation.item.delete', item_id: outputId },
      { type: 'conversation.item.truncate', item_id: outputId, content_index: 0, audio_end_ms: 0 },
      {
        type: 'conversation.item.create',
        previous_item_id: outputId,
        item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'x' }] },
      },
      {
        type: 'response.create',
        response: {
          tools: [{ type: 'function', name: 'mine' }],
          tool_choice: { type: 'function', name: 'canary_fine' },
        },
      },
    ];
    const errors: { code: string; message: string }[] = [];
    for (const attempt of attempts.slice(0, 6)) {
      client.send(attempt);
      errors.push((await client.next('error')).error as { code: string; message: string });
    }
    expect(errors.map(({ code }) => code)).toEqual([
      ...['item_not_allowed', 'item_not_allowed'],
      ...['unknown_item', 'unknown_item', 'unknown_item', 'unknown_item'],
    ]);
    // It cannot even tell a call that there was from one that there was not.
    expect(errors[0]?.message).toBe(errors[1]?.message);
    client.send(attempts[6] as object);
    await client.next('response.done');
    expect(test.outputs()).toHaveLength(1);
    expect(JSON.stringify(test.said('response.create'))).not.toContain('canary_fine');
    expect(textOf(client)).not.toMatch(canary);
  });
});

describe('what a tool brings', () => {
  it('never crosses sessions, though all run at once and ids repeat', async () => {
    const held: [string, ServerResponse][] = [];
    const test = await startToolRelay(({ user }, response) => void held.push([user.subject, response]));
    const users = ['ann', 'ben', 'cem'];
    const clients = [];
    for (const subject of users) {
      const client = await test.connect({ token: test.token({ subject }) });
      await client.next('session.created');
      clients.push(client);
    }
    for (const client of clients) await client.ask('lookup');
    await test.questions(3);
    for (const [subject, response] of held.reverse()) say(response, { for: subject });
    for (const [index, client] of clients.entries()) {
      const { response } = await client.next('response.done');
      const text = JSON.stringify(response);
      expect(users.filter((user) => text.includes(user))).toEqual([users[index]]);
    }
  });
});
