import type { ServerResponse } from 'node:http';
import { describe, expect, it } from 'vitest';
import { say, startToolRelay } from '../support/tools.js';

const path = '/openai/v1/realtime?model=x&relay_events=on';

describe('an endpoint that answers', () => {
  it.each([
    ['lists', '['.repeat(8000) + ']'.repeat(8000)],
    ['objects', `${'{"a":'.repeat(2500)}1${'}'.repeat(2500)}`],
  ])('with %s within each other a thousand times harms nobody: its client is told the text', async (_, deep) => {
    const test = await startToolRelay(
      (_, response) => response.setHeader('content-type', 'application/json').end(deep),
      { tools: { lookup: 'result: both' } },
    );
    const client = await test.connect({ path });
    await client.next('session.created');
    await client.ask('lookup');
    expect((await client.next('relay.tool_result')).result).toBe(deep);
    expect((await client.next('response.done')).response).toMatchObject({ status: 'completed' });
    expect(test.outputs()).toMatchObject([{ output: deep }]);
  });
});

describe('two answers that are owed at once', () => {
  it('are one where the outputs of both are there before it is asked for', async () => {
    const held: ServerResponse[] = [];
    const test = await startToolRelay(
      ({ name }, response) => {
        if (name === 'slow') held.push(response);
        else say(response, 'quick');
      },
      { tools: { slow: '', quick: '' }, speed: 20 },
    );
    const client = await test.connect({ path });
    await client.next('session.created');
    await client.ask('slow');
    await test.questions(1);
    // Its words end long after its call.
    test.emulator.control.script({ functionCall: { name: 'quick' }, callsFirst: true, speech: 'answer-story' });
    client.send({ type: 'response.create' });
    await test.logged('tool.called', 1);
    say(held[0] as ServerResponse, 'slow');
    await test.emulator.control.received.waitFor(() => test.outputs().length === 1);
    for (let done = 0; done < 2; done++) await client.next('response.done');
    await client.ask('Is that all?');
    const { received } = test.emulator.control;
    const order = received.events().flatMap(({ type, body }) => {
      const item = body.item as { type?: string } | undefined;
      return type === 'response.create' ? ['answer'] : item?.type === 'function_call_output' ? ['output'] : [];
    });
    expect(order).toEqual(['answer', 'answer', 'output', 'output', 'answer', 'answer']);
    expect(received.errorEvents).toEqual([]);
  });
});
