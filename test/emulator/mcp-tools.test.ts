import { describe, expect, it } from 'vitest';
import { type Caller, call, emulate, previewPath, type Seen, say, update } from './caller.js';

const ask = { type: 'response.create' };
const server = { type: 'mcp', server_label: 'docs', server_url: 'https://mcp.example', require_approval: 'never' };
const lookup = { server_label: 'docs', name: 'lookup' };

const story = (events: readonly Seen[]) =>
  events.map(({ type }) => type).filter((type, at, all) => !(type.endsWith('.delta') && all[at - 1] === type));

const idOf = (event: Seen | undefined) => (event?.item as { id: string } | undefined)?.id;

async function listed(caller: Caller, ...tools: object[]): Promise<Seen[]> {
  caller.send(update({ tools, output_modalities: ['text'] }));
  await caller.until('session.updated');
  return caller.until('conversation.item.done');
}

describe('the tools of an MCP server', () => {
  it('are listed once, as an item that is filled', async () => {
    const caller = await call(await emulate());
    const events = await listed(caller, { ...server, allowed_tools: ['lookup', 'translate'] });
    expect(story(events)).toEqual([
      'conversation.item.added',
      'mcp_list_tools.in_progress',
      'mcp_list_tools.completed',
      'conversation.item.done',
    ]);
    const id = idOf(events[0]);
    expect(events[0]?.item).toEqual({ id, type: 'mcp_list_tools', server_label: 'docs', tools: [] });
    expect(events.slice(1, 3)).toMatchObject([{ item_id: id }, { item_id: id }]);
    expect(events[3]?.item).toMatchObject({
      id,
      tools: [
        { name: 'lookup', description: expect.any(String), input_schema: { type: 'object' } },
        { name: 'translate' },
      ],
    });
    caller.send(update({ instructions: 'x', tools: [server] }), say('hi', 'item_1'));
    await caller.until('session.updated');
    expect(story(await caller.until('conversation.item.done'))).toEqual([
      'conversation.item.added',
      'conversation.item.done',
    ]);
  });

  it('are not there when the server fails', async () => {
    const emulator = await emulate();
    emulator.control.faults.arm('mcp_list_failed');
    const caller = await call(emulator);
    expect(story(await listed(caller, server))[2]).toBe('mcp_list_tools.failed');
    caller.send(say('lookup'), ask);
    expect(story(await caller.until('response.done'))).not.toContain('response.mcp_call.in_progress');
  });
});

describe('a call by the service', () => {
  it('has its phases within the response, and no answer follows by itself', async () => {
    const caller = await call(await emulate());
    await listed(caller, server);
    caller.send(say('lookup {"id":7}'), ask);
    await caller.until('response.created');
    const events = await caller.until('response.done');
    expect(story(events)).toEqual([
      'response.output_item.added',
      'conversation.item.added',
      'response.mcp_call_arguments.delta',
      'response.mcp_call_arguments.done',
      'response.mcp_call.in_progress',
      'response.mcp_call.completed',
      'conversation.item.done',
      'response.output_item.done',
      'response.done',
    ]);
    const id = idOf(events[0]);
    expect(events[0]?.item).toMatchObject({ ...lookup, type: 'mcp_call', arguments: '', output: null, error: null });
    expect(events.find(({ type }) => type === 'response.mcp_call.completed')).toMatchObject({
      item_id: id,
      output_index: 0,
    });
    const whole = { id, ...lookup, arguments: '{"id":7}', output: 'Result of lookup', error: null };
    expect(events.at(-2)?.item).toMatchObject(whole);
    expect(events.at(-1)?.response).toMatchObject({ output: [whole] });
    caller.send(ask);
    expect(JSON.stringify(await caller.next('response.done'))).toContain('The answer is: Result of lookup');
  });

  it.each([
    ['a text', 'no such page', { type: 'tool_execution_error', message: 'no such page' }],
    ['an object', { type: 'http_error', code: 500, message: 'x' }, { type: 'http_error', code: 500, message: 'x' }],
  ])('fails as scripted with %s', async (_name, error, shown) => {
    const emulator = await emulate();
    emulator.control.script({ mcp: { ...lookup, error } });
    const caller = await call(emulator);
    caller.send(ask);
    const events = await caller.until('response.done');
    expect(story(events)).toContain('response.mcp_call.failed');
    expect(events.at(-1)?.response).toMatchObject({ status: 'completed', output: [{ output: null, error: shown }] });
  });

  it('outlasts its response when it is to', async () => {
    const emulator = await emulate();
    const mcp = [
      { ...lookup, output: 'late', ms: 30, done_first: true },
      { ...lookup, name: 'quick', output: 'early' },
    ];
    emulator.control.script({ mcp, functionCall: { name: 'f' } });
    const caller = await call(emulator);
    caller.send(ask);
    const { response } = await caller.next<{ response: object }>('response.done');
    expect(response).toMatchObject({
      status: 'completed',
      output: [{ name: 'f' }, { name: 'lookup', output: null }, { name: 'quick', output: 'early' }],
    });
    const late = await caller.until('response.output_item.done');
    expect(story(late)).toEqual(['response.mcp_call.completed', 'conversation.item.done', 'response.output_item.done']);
    expect(late.at(-1)?.item).toMatchObject({ name: 'lookup', output: 'late' });
  });

  it('is stopped with its response', async () => {
    const emulator = await emulate();
    emulator.control.script({ mcp: { ...lookup, output: 'never seen', ms: 60_000 } });
    const caller = await call(emulator);
    caller.send(ask);
    await caller.until('response.mcp_call.in_progress');
    caller.send({ type: 'response.cancel' });
    const events = await caller.until('response.done');
    expect(story(events)).toContain('response.mcp_call.failed');
    expect(events.at(-1)?.response).toMatchObject({ status: 'cancelled', output: [{ output: null }] });
  });
});

describe('an approval', () => {
  const asking = { ...server, require_approval: 'always' };

  async function requested(caller: Caller): Promise<string> {
    const { response } = await caller.next<{ response: { output: { id: string; type: string }[] } }>('response.done');
    expect(response.output).toMatchObject([{ ...lookup, type: 'mcp_approval_request', arguments: '{}' }]);
    return String(response.output[0]?.id);
  }

  const approval = (approval_request_id: string, approve: boolean) => ({
    type: 'conversation.item.create',
    item: { type: 'mcp_approval_response', approval_request_id, approve },
  });

  it.each([
    ['given', true, 'response.mcp_call.completed', 'Result of lookup'],
    ['refused', false, 'response.output_text.done', 'I may not do that.'],
  ])('is asked for before a call, and can be %s', async (_name, approve, event, words) => {
    const caller = await call(await emulate());
    await listed(caller, asking);
    caller.send(say('lookup'), ask);
    const id = await requested(caller);
    caller.send(approval(id, approve), ask);
    const events = await caller.until('response.done');
    expect(story(events)).toContain(event);
    expect(JSON.stringify(events.at(-1)?.response)).toContain(words);
    if (approve) expect(JSON.stringify(events.at(-1)?.response)).toContain(`"approval_request_id":"${id}"`);
  });

  it.each([
    ['by default', { ...server, require_approval: undefined }, true],
    ['by the tool', { ...server, require_approval: { never: { tool_names: ['lookup'] } } }, false],
    ['for other tools', { ...server, require_approval: { never: { tool_names: ['other'] } } }, true],
  ])('is needed %s or not', async (_name, tool, isAsked) => {
    const caller = await call(await emulate());
    await listed(caller, tool);
    caller.send(say('lookup'), ask);
    const { response } = await caller.next<{ response: { output: object[] } }>('response.done');
    expect(response.output).toMatchObject([{ type: isAsked ? 'mcp_approval_request' : 'mcp_call' }]);
  });

  it('can be scripted, and cannot be given to what was not asked', async () => {
    const emulator = await emulate();
    emulator.control.script({ mcpApproval: lookup });
    const caller = await call(emulator);
    caller.send(ask);
    await requested(caller);
    caller.send(approval('item_nobody', true));
    expect((await caller.error()).param).toBe('item.approval_request_id');
  });
});

it('preview knows nothing of MCP', async () => {
  const emulator = await emulate();
  emulator.control.script({ text: 'hi', mcp: { ...lookup, output: 'CANARY' } });
  const caller = await call(emulator, previewPath);
  caller.send(ask);
  const events = await caller.until('response.done');
  expect(JSON.stringify(events)).not.toMatch(/mcp|CANARY/);
});
