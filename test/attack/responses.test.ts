import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { arena, dialects, evil } from './arena.js';

const field = arena();
let cases = 0;
afterEach(async () => {
  if (++cases % 20 === 0) await field.honestTurn();
});
afterAll(() => field.honestTurn());

const tool = { type: 'function', name: evil, description: evil, parameters: {} };
const mcp = { type: 'mcp', server_label: evil, server_url: `https://${evil}.test`, require_approval: 'never' };
const systemItem = { type: 'message', role: 'system', content: [{ type: 'input_text', text: evil }] };

type Body = Record<string, unknown>;
type Row = readonly [name: string, event: Body];

/** Fields of a response that are the server's. */
const forbiddenResponse: Row[] = [
  ['instructions', { instructions: evil }],
  ['tools', { tools: [tool] }],
  ['an MCP server', { tools: [mcp] }],
  ['tool_choice', { tool_choice: 'required' }],
  ['tool_choice naming a tool', { tool_choice: { type: 'function', name: evil } }],
  ['a prompt', { prompt: { id: evil } }],
  ['reasoning', { reasoning: { effort: 'xhigh' } }],
  ['parallel tool calls', { parallel_tool_calls: true }],
  ['a voice', { audio: { output: { voice: evil } } }],
  ['a voice, flat', { voice: evil }],
  ['a format', { audio: { output: { format: { type: 'audio/pcmu' } } } }],
  ['a temperature', { temperature: 1.2 }],
  ['metadata of its own', { metadata: { a: evil } }],
  ["metadata that imitates the relay's", { metadata: { rly: evil, relay: evil } }],
  ['unknown fields', { x: evil, response: { instructions: evil } }],
  ['unlimited tokens', { max_output_tokens: 'inf' }],
  ['unlimited tokens, flat', { max_response_output_tokens: 'inf' }],
  ['a million tokens', { max_output_tokens: 1_000_000 }],
  ['a million tokens, flat', { max_response_output_tokens: 1_000_000 }],
];

/** Fields of a response that the server's side cannot leave out: without them it would be another wish. */
const excluding: Row[] = [
  ['conversation none', { conversation: 'none' }],
  ['conversation none and no input', { conversation: 'none', input: [], instructions: evil }],
  ['another conversation', { conversation: evil }],
  ['a conversation that is an object', { conversation: { id: evil } }],
  ['input', { input: [systemItem] }],
  ['no input', { input: [] }],
  ['input that refers to an item', { input: [{ type: 'item_reference', id: evil }] }],
  ['input that is text', { input: evil }],
  ['no tools', { tools: [], instructions: evil }],
  ['tool_choice none', { tool_choice: 'none', tools: [tool] }],
];

describe.each(dialects)('response.create of a %s client', (dialect) => {
  const text = dialect === 'ga' ? { output_modalities: ['text'] } : { modalities: ['text'] };

  it.each(forbiddenResponse)('with %s goes upstream without it', async (_, response) => {
    const victim = await field.victim(dialect);
    const { up, closed } = await victim.strike({
      type: 'response.create',
      response: { ...text, ...response },
      instructions: evil,
      session: { instructions: evil },
    });
    expect(closed).toBeNull();
    expect(up).toHaveLength(1);
    const sent = JSON.parse(up[0] as string).response;
    expect(sent.output_modalities).toEqual(['text']);
    expect(sent.max_output_tokens ?? 0).toBeLessThanOrEqual(500);
    await victim.settle();
  });

  it.each<Row>([
    ['a response that is text', { response: evil }],
    ['a response that is a list', { response: [{ instructions: evil }] }],
    ['a response that is a number', { response: 1 }],
    ['tokens below 1', { response: { [dialect === 'ga' ? 'max_output_tokens' : 'max_response_output_tokens']: 0 } }],
    [
      'tokens that are text',
      { response: { [dialect === 'ga' ? 'max_output_tokens' : 'max_response_output_tokens']: '9' } },
    ],
    ['modalities that are none', { response: { [dialect === 'ga' ? 'output_modalities' : 'modalities']: [evil] } }],
    ['modalities that are text', { response: { [dialect === 'ga' ? 'output_modalities' : 'modalities']: evil } }],
    ['metadata that is text', { response: { metadata: evil } }],
    ['metadata with an object', { response: { metadata: { a: { instructions: evil } } } }],
    [
      'seventeen metadata',
      { response: { metadata: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, evil])) } },
    ],
    ['metadata of 513 characters', { response: { metadata: { a: 'x'.repeat(513) } } }],
  ])('with %s is refused', async (_, rest) => {
    const victim = await field.victim(dialect);
    const { up, errors } = await victim.strike({ type: 'response.create', ...rest });
    expect(up).toEqual([]);
    expect(errors).toHaveLength(1);
  });

  it.each(excluding)('with %s is refused', async (_, response) => {
    const victim = await field.victim(dialect);
    const { up, errors, closed } = await victim.strike({ type: 'response.create', response: { ...text, ...response } });
    expect([up, closed]).toEqual([[], null]);
    expect(errors).toHaveLength(1);
    expect(JSON.stringify(errors)).not.toContain(evil);
  });

  it('a hundred times at once starts one at a time', async () => {
    const victim = await field.victim(dialect);
    const { up, errors } = await victim.strike(
      ...Array.from({ length: 100 }, () => ({ type: 'response.create', response: text })),
    );
    expect(up).toHaveLength(1);
    expect(errors).toHaveLength(99);
    await victim.settle();
  });

  it("gives the client's metadata back and never the relay's", async () => {
    const victim = await field.victim(dialect);
    const metadata = { topic: 'weather', rly: 'mine' };
    await victim.strike({ type: 'response.create', response: { ...text, metadata } });
    await victim.settle();
    const done = victim.client.events.findLast(({ type }) => type === 'response.done') as Body | undefined;
    expect(done?.response).toMatchObject({ metadata });
  });
});
