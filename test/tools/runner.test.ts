import { describe, expect, it } from 'vitest';
import { setStage, speech } from './stage.js';

const user = { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'What now?' }] };

describe('a call', () => {
  it('begins when its item is complete, and once whatever repeats it', async () => {
    const stage = setStage();
    stage.begin();
    stage.hear('response.function_call_arguments.done', { response_id: 'resp_1', call_id: 'a', arguments: '{}' });
    expect(stage.running).toHaveLength(0);
    stage.call('a');
    stage.call('a');
    stage.hear('conversation.item.done', { item: stage.callOf('a') });
    stage.done('resp_1', 'completed', [stage.callOf('a')]);
    expect(stage.running.map(({ call }) => call)).toMatchObject([
      { name: 'look', callId: 'a', arguments: '{}', requestId: 'request' },
    ]);
    await stage.running[0]?.end();
    stage.call('a', 'look', {}, 'resp_2');
    expect(stage.running).toHaveLength(1);
    expect(stage.outputs).toHaveLength(1);
  });

  it.each([['incomplete'], ['in_progress'], [null]])(
    'is never run, answered or followed up when its item is %s',
    (status) => {
      const stage = setStage();
      stage.begin();
      stage.call('a', 'look', { status, arguments: '{"half' });
      stage.done('resp_1', 'incomplete');
      expect(stage.running).toHaveLength(0);
      expect(stage.outputs).toHaveLength(0);
      expect(stage.wants).toHaveLength(0);
    },
  );

  it('takes its name from where upstream says it, when that is only at the beginning', () => {
    const stage = setStage();
    stage.begin();
    stage.hear('response.output_item.added', {
      response_id: 'resp_1',
      item: stage.callOf('a', 'look', { status: 'in_progress', arguments: '' }),
    });
    const { name: _, ...nameless } = stage.callOf('a');
    stage.hear('response.output_item.done', { response_id: 'resp_1', item: nameless });
    expect(stage.running).toHaveLength(1);
  });

  it('is answered only after the end of the response that made it', async () => {
    const stage = setStage();
    stage.begin();
    stage.call('a');
    await stage.running[0]?.end();
    expect(stage.outputs).toHaveLength(0);
    stage.done();
    expect(stage.outputs).toEqual([
      {
        type: 'conversation.item.create',
        event_id: expect.stringMatching(/^rly_[0-9a-f]{24}$/),
        item: { id: stage.outputs[0]?.event_id, type: 'function_call_output', call_id: 'a', output: 'a is done' },
      },
    ]);
  });

  it('is answered at once when it ends later, also while another response runs', async () => {
    const stage = setStage();
    stage.begin();
    stage.call('a');
    stage.done();
    stage.begin('resp_2');
    await stage.running[0]?.end();
    expect(stage.outputOf('a')).toBe('a is done');
  });

  it.each([
    ['completed', 1],
    ['incomplete', 1],
    ['cancelled', 0],
    ['failed', 0],
  ])('that is complete in a response that ends %s is answered, with %i follow-up', async (status, followUps) => {
    const stage = setStage();
    stage.begin();
    stage.call('a');
    stage.done('resp_1', status);
    await stage.running[0]?.end();
    expect(stage.outputOf('a')).toBe('a is done');
    expect(stage.wants).toHaveLength(followUps);
  });

  it('of a response outside of the conversation is left to who asked for it', () => {
    const stage = setStage({ trusted: true });
    stage.begin('resp_1', { conversation_id: null });
    stage.call('a');
    stage.client({ type: 'response.create', response: { conversation: 'none', metadata: { rly: 't1' } } });
    stage.begin('resp_2', { metadata: { rly: 't1' } });
    stage.call('b', 'look', {}, 'resp_2');
    stage.begin('resp_3', { metadata: { rly: 't2' } });
    stage.call('c', 'look', {}, 'resp_3');
    expect(stage.running.map(({ call }) => call.callId)).toEqual(['c']);
  });

  it('whose output upstream refuses counts as answered, and is not answered again', async () => {
    const stage = setStage();
    stage.begin();
    stage.call('a');
    stage.done();
    await stage.running[0]?.end();
    expect(stage.wants).toMatchObject([{ state: 'wanted' }]);
    stage.hear('error', { error: { code: 'invalid_tool_call_id', event_id: stage.outputs[0]?.event_id ?? '' } });
    expect(stage.wants).toMatchObject([{ state: 'acknowledged' }]);
    expect(stage.refusals).toEqual([['a', 'invalid_tool_call_id']]);
    expect(stage.outputs).toHaveLength(1);
  });

  it('whose output upstream refuses without saying so counts as answered, and other errors do not count for it', async () => {
    const stage = setStage();
    stage.begin();
    stage.call('a');
    stage.call('b');
    stage.done();
    for (const call of stage.running) await call.end();
    stage.hear('error', { error: { code: 'server_error', event_id: null } });
    stage.hear('error', { error: { code: 'invalid_tool_call_id', event_id: null } });
    expect(stage.refusals).toEqual([['a', 'invalid_tool_call_id']]);
    expect(stage.wants).toMatchObject([{ state: 'wanted' }]);
    stage.acknowledge();
    expect(stage.wants).toMatchObject([{ state: 'acknowledged' }]);
  });
});

describe('a follow-up', () => {
  it('is wanted once, when the last of several calls is answered', async () => {
    const stage = setStage();
    stage.begin();
    stage.call('a');
    stage.call('b');
    stage.done();
    await stage.running[1]?.end();
    expect(stage.wants).toHaveLength(0);
    await stage.running[0]?.end();
    expect(stage.wants).toMatchObject([{ kind: 'follow-up', after: 'resp_1', state: 'wanted' }]);
    expect(stage.outputs).toHaveLength(2);
  });

  it('is settled by other responses only from when upstream has acknowledged the last output', async () => {
    const stage = setStage();
    stage.begin();
    stage.call('a');
    stage.call('b');
    stage.done();
    for (const call of stage.running) await call.end();
    const [first, last] = stage.outputs.map(({ item }) => item as { id: string });
    stage.hear('conversation.item.added', { item: { id: first?.id ?? '' } });
    expect(stage.wants[0]?.state).toBe('wanted');
    stage.hear('conversation.item.created', { item: { id: last?.id ?? '' } });
    expect(stage.wants[0]?.state).toBe('acknowledged');
  });

  it.each([
    [['always', 'silent'], false, 1],
    [['silent', 'always'], true, 1],
    [['silent', 'silent'], false, 0],
    [['if_quiet', 'silent'], false, 1],
    [['if_quiet', 'silent'], true, 0],
    [['if_quiet', 'always'], true, 1],
  ])('of tools that reply %j, after words: %s, comes %i times', async (replies, hasSpoken, times) => {
    const stage = setStage({ tools: replies.map((reply, i) => ({ name: `tool_${i}`, reply })) });
    stage.begin();
    replies.forEach((_, i) => {
      stage.call(`call_${i}`, `tool_${i}`);
    });
    for (const call of stage.running) await call.end();
    stage.done('resp_1', 'completed', hasSpoken ? [speech] : [{ ...speech, content: [{ transcript: ' ' }] }]);
    expect(stage.wants).toHaveLength(times);
  });

  it('does not come for a silent tool that failed', async () => {
    const stage = setStage({ tools: [{ name: 'look', reply: 'silent' }] });
    stage.begin();
    stage.call('a');
    stage.done();
    await stage.running[0]?.end({ outcome: 'failed', output: 'no' });
    expect(stage.outputOf('a')).toBe('no');
    expect(stage.wants).toHaveLength(0);
  });

  it('does not come when the client cancels while the tool runs; the output does', async () => {
    const stage = setStage();
    stage.begin();
    stage.call('a');
    stage.done();
    stage.client({ type: 'response.cancel' });
    await stage.running[0]?.end();
    expect(stage.outputOf('a')).toBe('a is done');
    expect(stage.wants).toHaveLength(0);
    stage.begin('resp_2');
    stage.call('b', 'look', {}, 'resp_2');
    stage.done('resp_2');
    await stage.running[1]?.end();
    expect(stage.wants).toHaveLength(1);
  });

  it('is the client’s where the client runs one of the calls: what it asks for too early is kept', async () => {
    const stage = setStage({ tools: [{ name: 'look' }, { name: 'map', runs: 'client' }] });
    stage.begin();
    stage.call('a');
    stage.call('b', 'map');
    stage.done();
    expect(stage.kept).toEqual([true]);
    await stage.running[0]?.end();
    expect(stage.kept).toEqual([false]);
    expect(stage.outputs).toHaveLength(1);
    expect(stage.wants).toHaveLength(0);
  });

  it('of the client’s that is kept is not sent when the session ends', () => {
    const stage = setStage({ tools: [{ name: 'look' }, { name: 'map', runs: 'client' }] });
    stage.begin();
    stage.call('a');
    stage.call('b', 'map');
    stage.done();
    stage.runner.close();
    expect(stage.kept).toEqual([true]);
  });

  it('says how long the tools took when it begins, and no other response does', async () => {
    const stage = setStage();
    stage.begin();
    stage.call('a');
    stage.call('b');
    stage.done();
    await stage.pass(700);
    await stage.running[0]?.end();
    await stage.pass(300);
    stage.begin('resp_2');
    await stage.running[1]?.end();
    stage.begin('resp_3', { metadata: { relay: 'filler' } });
    stage.begin('resp_4', { conversation_id: null });
    expect(stage.waits).toEqual([]);
    stage.begin('resp_5');
    stage.begin('resp_6');
    expect(stage.waits).toEqual([1000]);
  });
});

describe('a function that the profile does not list', () => {
  it('is refused in a session of an end user, and the model is asked to go on', () => {
    const stage = setStage();
    stage.begin();
    stage.call('a', 'made_up');
    stage.done();
    expect(stage.outputOf('a')).toBe(
      '{"error":"refused","message":"This is not allowed. Tell the user that it cannot be done."}',
    );
    expect(stage.reports).toMatchObject([{ tool: null, hasRun: false, result: { outcome: 'refused' } }]);
    expect(stage.wants).toHaveLength(1);
  });

  it('is left to a trusted client', () => {
    const stage = setStage({ trusted: true });
    stage.begin();
    stage.call('a', 'made_up');
    stage.done();
    expect(stage.outputs).toHaveLength(0);
    expect(stage.wants).toHaveLength(0);
    expect(stage.reports).toHaveLength(0);
  });
});

describe('a limit', () => {
  const tooMany = '{"error":"refused","message":"Too many lookups at once. Try again with fewer."}';

  it('of calls in a response refuses those above at once', () => {
    const stage = setStage({ perResponse: 2 });
    stage.begin();
    for (const id of ['a', 'b', 'c']) stage.call(id);
    stage.done();
    expect(stage.running).toHaveLength(2);
    expect(stage.outputOf('c')).toBe(tooMany);
  });

  it('of calls that run at once lets the next wait in order, and gives it what is left of its time', async () => {
    const stage = setStage({ atOnce: 2 });
    stage.begin();
    for (const id of ['a', 'b', 'c', 'd']) stage.call(id);
    stage.done();
    expect(stage.running).toHaveLength(2);
    await stage.pass(4000);
    await stage.running[1]?.end();
    expect(stage.running.map(({ call }) => call.callId)).toEqual(['a', 'b', 'c']);
    expect(stage.running[2]?.call.leftMs).toBe(6000);
    expect(stage.taken).toBe(2);
  });

  it('of calls that run at once ends who waits too long as timed out, without a request', async () => {
    const stage = setStage({ atOnce: 1, tools: [{ name: 'slow', timeout_seconds: 60 }, { name: 'look' }] });
    stage.begin();
    stage.call('a', 'slow');
    stage.call('b');
    stage.done();
    await stage.pass(10_000);
    expect(stage.outcomes()).toEqual(['b timeout']);
    expect(stage.reports[0]?.hasRun).toBe(false);
    await stage.running[0]?.end();
    expect(stage.running).toHaveLength(1);
    expect(stage.taken).toBe(0);
  });

  it('of the instance refuses at once', () => {
    const stage = setStage({ places: 1 });
    stage.begin();
    stage.call('a');
    stage.call('b');
    stage.done();
    expect(stage.outputOf('b')).toBe(tooMany);
    expect(stage.running).toHaveLength(1);
  });

  it('of open calls refuses the thirty-third', () => {
    const stage = setStage({ perResponse: 100 });
    stage.begin();
    for (let i = 0; i < 33; i++) stage.call(`call_${i}`);
    expect(stage.outcomes()).toEqual(['call_32 refused']);
  });

  it('of calls of a user in a minute refuses those above', () => {
    const stage = setStage({ calls: 1 });
    stage.begin();
    stage.call('a');
    stage.call('b');
    expect(stage.outcomes()).toEqual(['b refused']);
  });
});

describe('a tool', () => {
  it('that takes too long is cut off, and what it brings later is not used', async () => {
    const stage = setStage({ tools: [{ name: 'look', timeout_seconds: 2 }] });
    stage.begin();
    stage.call('a');
    stage.done();
    await stage.pass(2000);
    const message = 'The lookup took too long. Tell the user that it is not available right now.';
    expect(stage.outputOf('a')).toBe(JSON.stringify({ error: 'timeout', message }));
    expect(stage.running[0]?.signal.aborted).toBe(true);
    expect(stage.wants).toHaveLength(1);
    await stage.running[0]?.end();
    expect(stage.outputs).toHaveLength(1);
    expect(stage.outcomes()).toEqual(['a timeout']);
    expect(stage.taken).toBe(0);
  });

  it.each([
    ['the user speaks', (stage: ReturnType<typeof setStage>) => stage.hear('input_audio_buffer.speech_started')],
    ['the client cancels', (stage: ReturnType<typeof setStage>) => stage.client({ type: 'response.cancel' })],
  ])('that is to be given up is when %s, and asks for no answer', async (_, interrupt) => {
    const tools = [{ name: 'look' }, { name: 'order', on_interrupt: 'abort' }];
    const stage = setStage({ tools, atOnce: 1 });
    stage.begin();
    stage.call('a', 'order');
    stage.call('b', 'order');
    stage.done();
    interrupt(stage);
    expect(stage.running).toHaveLength(1);
    expect(stage.running[0]?.signal.aborted).toBe(true);
    expect(stage.outputs.map(({ item }) => (item as { output: string }).output)).toEqual(
      Array(2).fill(
        '{"error":"refused","message":"The user interrupted; whether it was done is not known. Ask before trying again."}',
      ),
    );
    expect(stage.wants).toHaveLength(0);
    expect(stage.outcomes()).toEqual(['a aborted', 'b aborted']);
  });

  it('that is to finish does, whoever interrupts', async () => {
    const stage = setStage();
    stage.begin();
    stage.call('a');
    stage.done();
    stage.hear('input_audio_buffer.speech_started');
    expect(stage.running[0]?.signal.aborted).toBe(false);
    await stage.running[0]?.end();
    expect(stage.wants).toHaveLength(1);
  });

  it('that throws, at once or later, is as good as one that failed', async () => {
    const stage = setStage();
    stage.begin();
    stage.call('a');
    stage.call('b', 'look', { arguments: 'break' });
    stage.done();
    await stage.running[0]?.break();
    expect(stage.outcomes().sort()).toEqual(['a failed', 'b failed']);
    expect(stage.outputs).toHaveLength(2);
    expect(stage.wants).toHaveLength(1);
    expect(stage.taken).toBe(0);
  });

  it('tells the client its result before the model, and only when all went well', async () => {
    const stage = setStage();
    stage.begin();
    stage.call('a');
    stage.call('b');
    await stage.running[0]?.end({ result: { sources: [] } });
    await stage.running[1]?.end({ outcome: 'failed', result: 'not for anybody' });
    expect(stage.results).toEqual([{ tool: 'look', callId: 'a', itemId: 'item_a', result: { sources: [] } }]);
    expect(stage.outputs).toHaveLength(0);
  });

  it('of a backend waits for its time, takes no place, and is asked about when nobody answered', async () => {
    const stage = setStage({ tools: [{ name: 'ask', runs: 'backend', timeout_seconds: 3 }], places: 0 });
    stage.begin();
    stage.call('a', 'ask');
    stage.call('b', 'ask', { arguments: 'wrong' });
    stage.done();
    expect(stage.outcomes()).toEqual(['b invalid_arguments']);
    await stage.pass(3000);
    expect(stage.outcomes()).toEqual(['b invalid_arguments', 'a timeout']);
    expect(stage.wants).toHaveLength(1);
  });

  it('for words of the user only is refused in a round that follows an output without any', async () => {
    const stage = setStage({ tools: [{ name: 'look' }, { name: 'cancel_contract', after: 'user' }] });
    stage.begin();
    stage.call('a');
    stage.done();
    await stage.running[0]?.end();
    stage.acknowledge();
    stage.begin('resp_2');
    stage.call('b', 'cancel_contract', {}, 'resp_2');
    expect(stage.outcomes()).toEqual(['a ok', 'b refused']);
    stage.done('resp_2');
    stage.hear('conversation.item.added', { item: { id: 'item_u', ...user } });
    stage.begin('resp_3');
    stage.call('c', 'cancel_contract', {}, 'resp_3');
    expect(stage.running).toHaveLength(2);
  });

  it('for words of the user only takes spoken ones, and none that came after the response began', async () => {
    const stage = setStage({ tools: [{ name: 'look' }, { name: 'cancel_contract', after: 'user' }] });
    stage.hear('conversation.item.added', { item: { id: 'x', type: 'mcp_call' } });
    stage.begin();
    stage.hear('input_audio_buffer.committed', { item_id: 'item_u' });
    stage.call('a', 'cancel_contract');
    stage.begin('resp_2');
    stage.call('b', 'cancel_contract', {}, 'resp_2');
    expect(stage.outcomes()).toEqual(['a refused']);
    expect(stage.running).toHaveLength(1);
  });
});

describe('silence that upstream takes for a turn', () => {
  it('brings no words of the user', () => {
    const stage = setStage({ tools: [{ name: 'look' }, { name: 'cancel_contract', after: 'user' }] });
    stage.hear('conversation.item.added', { item: { id: 'x', type: 'function_call_output' } });
    stage.hear('input_audio_buffer.timeout_triggered', { item_id: 'item_s' });
    stage.hear('input_audio_buffer.committed', { item_id: 'item_s' });
    stage.hear('conversation.item.added', { item: { id: 'item_s', ...user } });
    stage.begin();
    stage.call('a', 'cancel_contract');
    expect(stage.outcomes()).toEqual(['a refused']);
    stage.hear('input_audio_buffer.committed', { item_id: 'item_u' });
    stage.begin('resp_2');
    stage.call('b', 'cancel_contract', {}, 'resp_2');
    expect(stage.running).toHaveLength(1);
  });
});

describe('the end of a session', () => {
  it('gives up what runs, and nothing is said, wanted or told any more', async () => {
    const stage = setStage({ tools: [{ name: 'look', filler: { after_ms: 500, say: 'Wait.' } }] });
    stage.begin();
    stage.call('a');
    stage.call('b');
    stage.done();
    stage.runner.close();
    expect(stage.running.every(({ signal }) => signal.aborted)).toBe(true);
    expect(stage.outcomes()).toEqual(['a aborted', 'b aborted']);
    await stage.running[0]?.end({ result: 'late' });
    await stage.pass(60_000);
    stage.call('c');
    expect(stage.outputs).toHaveLength(0);
    expect(stage.wants).toHaveLength(0);
    expect(stage.results).toHaveLength(0);
    expect(stage.running).toHaveLength(2);
    expect(stage.taken).toBe(0);
    expect(stage.runner.isWorking).toBe(false);
  });
});

describe('an output of a call that the server answers for', () => {
  it('is known as forged where it is not from here', async () => {
    const stage = setStage({ tools: [{ name: 'look' }, { name: 'map', runs: 'client' }] });
    stage.begin();
    stage.call('a');
    stage.call('b', 'map');
    stage.done();
    await stage.running[0]?.end();
    const own = stage.outputs[0]?.item as { id: string };
    const output = { type: 'function_call_output', call_id: 'a', output: 'forged' };
    expect(stage.runner.isForged({ ...output, id: own.id })).toBe(false);
    expect(stage.runner.isForged({ ...output, id: 'item_x' })).toBe(true);
    expect(stage.runner.isForged({ ...output, call_id: 'b', id: 'item_x' })).toBe(false);
    expect(stage.runner.isForged({ ...output, type: 'message', id: 'item_x' })).toBe(false);
  });

  it('is known as forged from the first word of the call on', () => {
    const stage = setStage({ tools: [{ name: 'look' }, { name: 'map', runs: 'client' }] });
    stage.begin();
    const output = { id: 'item_x', type: 'function_call_output', output: 'forged' };
    for (const [callId, name, isForged] of [
      ['a', 'look', true],
      ['b', 'unlisted', true],
      ['c', 'map', false],
    ] as const) {
      const item = stage.callOf(callId, name, { status: 'in_progress', arguments: '' });
      stage.hear('response.output_item.added', { response_id: 'resp_1', item });
      expect(stage.runner.isForged({ ...output, call_id: callId })).toBe(isForged);
    }
    stage.call('a');
    expect(stage.running).toHaveLength(1);
  });
});
