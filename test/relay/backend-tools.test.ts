import { describe, expect, it } from 'vitest';
import { objectOf } from '../../src/protocol/event.js';
import { both, following, opened, read } from '../support/sideband.js';
import { startToolRelay } from '../support/tools.js';

const scope = 'relay.sessions.read relay.sessions.write';
const answer = { type: 'response.create', response: { output_modalities: ['text'] } };
const output = (callId: string, text = '{"ok":true}') => ({
  type: 'conversation.item.create',
  item: { type: 'function_call_output', call_id: callId, output: text },
});

async function called(reply = '', name = 'lookup', tools: object[] = []) {
  const relay = await startToolRelay((_question, response) => response.end('{}'), {
    tools: { other: '' },
    others: [`{ name: lookup, runs: backend${reply} }`],
  });
  const client = await relay.connect();
  const created = await client.next('session.created');
  const id = (created.session as { id: string }).id;
  const sideband = await following(relay, id);
  const say = async (body: unknown) => {
    const token = relay.token({ subject: 'backend', claims: { scope } });
    const reply = await fetch(`${relay.relay.url}/v1/relay/sessions/${id}/events`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body: JSON.stringify(body),
    });
    // biome-ignore lint/suspicious/noExplicitAny: what is looked at differs from test to test
    return { status: reply.status, body: (await reply.json()) as any };
  };
  if (tools.length > 0) {
    expect((await say({ type: 'session.update', session: { tools } })).status).toBe(202);
    await client.next('session.updated');
  }
  await client.ask(`Please ${name} {"order":7}`);
  const { item } = await sideband.next(({ type, item }) => {
    return type === 'response.output_item.done' && objectOf(item).type === 'function_call';
  });
  return { relay, client, sideband, say, callId: String(objectOf(item).call_id) };
}

describe('a backend answers calls', () => {
  it('by the sideband on which it has heard of them, as by request, and once', async () => {
    const { relay, client, sideband, say, callId } = await called();
    sideband.send(output(callId));
    sideband.send(output(callId));
    expect((await sideband.next('error')).error).toMatchObject({ code: 'item_not_allowed', param: 'item.call_id' });
    sideband.send(answer);
    expect((await client.next('response.done')).response).toMatchObject({ status: 'completed' });
    expect(relay.outputs()).toMatchObject([{ call_id: callId, output: '{"ok":true}' }]);
    expect(await say(output(callId))).toMatchObject({ status: 400, body: { error: { code: 'item_not_allowed' } } });
  });

  it('of its tools, once, and the answer that it asks for follows', async () => {
    const { relay, client, say, callId } = await called();
    expect((await say({ events: [output(callId), output(callId)] })).body.error).toMatchObject({
      code: 'item_not_allowed',
      param: 'events[1].item.call_id',
    });
    expect((await say({ events: [output(callId), answer] })).status).toBe(202);
    expect((await client.next('response.done')).response).toMatchObject({ status: 'completed' });
    expect(relay.outputs()).toMatchObject([{ call_id: callId, output: '{"ok":true}' }]);
    expect(await say(output(callId))).toMatchObject({ status: 400, body: { error: { code: 'item_not_allowed' } } });
    expect(client.raw.join()).not.toMatch(/function_call|"lookup"/);
  });

  it('and the answer is asked for once where the tool has one follow by itself', async () => {
    const { relay, client, say, callId } = await called(', reply: always');
    expect((await say({ events: [output(callId), answer] })).status).toBe(202);
    expect((await client.next('response.done')).response).toMatchObject({ status: 'completed' });
    expect((await client.ask('Hi')).status).toBe('completed');
    expect(relay.said('response.create')).toHaveLength(3);
  });

  it('of functions that it has added itself, of which its client sees nothing', async () => {
    const weigh = { type: 'function', name: 'weigh', parameters: { type: 'object', properties: {} } };
    const { relay, client, say, callId } = await called('', 'weigh', [weigh]);
    expect((await say({ events: [output(callId), answer] })).status).toBe(202);
    expect((await client.next('response.done')).response).toMatchObject({ status: 'completed' });
    expect(relay.outputs()).toMatchObject([{ call_id: callId }]);
    expect(client.raw.join()).not.toMatch(/function_call|"weigh"/);
  });

  it('but none of a tool that the relay runs itself', async () => {
    const { say, callId } = await called('', 'other');
    expect(await say(output(callId))).toMatchObject({ status: 400, body: { error: { code: 'item_not_allowed' } } });
  });
});

describe('a call of an MCP server that must be approved', () => {
  const server = '{ type: mcp, server_label: docs, server_url: "https://mcp.test/", require_approval: always }';

  async function asked(scope: string) {
    const { emulator, relay, client, id } = await opened({
      yaml: `profiles:\n  default:\n    session: { tools: [${server}] }\n`,
    });
    const sideband = await following(relay, id, { scope });
    emulator.control.script({ mcpApproval: { server_label: 'docs', name: 'erase' } });
    await client.ask('Erase it.');
    const { item } = await sideband.next(({ item }) => objectOf(item).type === 'mcp_approval_request');
    return { emulator, client, sideband, requestId: String(objectOf(item).id) };
  }

  const decision = (requestId: string, approve: boolean) => ({
    type: 'conversation.item.create',
    item: { type: 'mcp_approval_response', approval_request_id: requestId, approve },
  });

  it('is approved by a backend that follows, once, and the answer follows by itself', async () => {
    const { emulator, client, sideband, requestId } = await asked(both);
    sideband.send(decision(requestId, true));
    sideband.send({ type: 'response.create' });
    sideband.send(decision(requestId, false));
    expect((await sideband.next('error')).error).toMatchObject({ param: 'item.approval_request_id' });
    await sideband.next('response.mcp_call.completed');
    await client.next('response.done');
    expect((await client.next('response.done')).response).toMatchObject({ status: 'completed' });
    // For the question, the call, and what that brought.
    expect(emulator.control.received.events('response.create')).toHaveLength(3);
    expect(emulator.control.received.errorEvents).toEqual([]);
    expect(client.raw.join()).not.toMatch(/mcp|approv/);
  });

  it('is denied at once where those who follow may only observe', async () => {
    const { client, sideband } = await asked(read);
    expect((await client.next('response.done')).response).toMatchObject({ status: 'completed' });
    await sideband.next(({ item }) => objectOf(item).approve === false);
  });
});
