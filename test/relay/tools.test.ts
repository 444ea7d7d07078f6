import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { readWav } from '../../src/audio/wav.js';
import type { TestClient } from '../support/client.js';
import { holdTime } from '../support/clock.js';
import { crowdAnswer, crowdTools, faultsOf, plans, quiet, talk } from '../support/crowd.js';
import { say, startToolRelay, type ToolRelay, wordsOf } from '../support/tools.js';

const { samples } = readWav(
  readFileSync(fileURLToPath(new URL('../../assets/speech/question-order.wav', import.meta.url))),
);

/** Sends audio in pieces of 100 ms. */
function speak(client: TestClient, pcm: Buffer): void {
  for (let at = 0; at < pcm.length; at += 4800) {
    client.send({ type: 'input_audio_buffer.append', audio: pcm.subarray(at, at + 4800).toString('base64') });
  }
}

const ga = '/openai/v1/realtime?model=x';
const preview = '/openai/realtime?api-version=2025-04-01-preview&deployment=x';
const cells = [
  ['GA client, GA upstream', ga, 'ga'],
  ['preview client, GA upstream', preview, 'ga'],
  ['GA client, preview upstream', ga, 'preview'],
  ['preview client, preview upstream', preview, 'preview'],
] as const;

async function join(test: ToolRelay, path = ga): Promise<TestClient> {
  const client = await test.connect({ path });
  await client.next('session.created');
  return client;
}

const responses = (client: TestClient) => client.events.filter(({ type }) => type === 'response.created').length;
const done = async (client: TestClient) => (await client.next('response.done')).response as Record<string, unknown>;
const textOnly = { output_modalities: ['text'] };

/** Types words, and asks for an answer in text. */
function ask(client: TestClient, text: string, response: object = textOnly): void {
  const content = [{ type: 'input_text', text }];
  client.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
  client.send({ type: 'response.create', response });
}

describe.each(cells)('%s: a tool of the server', (_, path, dialect) => {
  it('is called beside the conversation, and one answer says what it brought', async () => {
    const test = await startToolRelay(
      (question, response) => say(response, { status: 'on its way', of: question.arguments }),
      {
        dialect,
      },
    );
    const client = await join(test, path);
    ask(client, 'Please lookup {"order":7}', path === ga ? textOnly : { modalities: ['text'] });
    expect(await done(client)).toMatchObject({ status: 'completed', output: [] });
    const answer = await done(client);
    expect(wordsOf(answer)).toBe('The answer is: {"status":"on its way","of":{"order":7}}');
    expect(test.asked).toHaveLength(1);
    expect(test.outputs()).toHaveLength(1);
    const text = await client.ask('And now?');
    expect(text.status).toBe('completed');
    expect(test.emulator.control.received.errorEvents).toEqual([]);
    expect(client.types().filter((type) => /function|error/.test(type))).toEqual([]);
  });
});

describe('a call', () => {
  it('names the session, the call and the user to the endpoint', async () => {
    const test = await startToolRelay((_, response) => say(response, 1));
    const client = await test.connect();
    const { session } = await client.next('session.created');
    await client.ask('lookup {"order":7}');
    const [question] = await test.questions(1);
    expect(question).toMatchObject({
      name: 'lookup',
      arguments: { order: 7 },
      session: { id: (session as { id: string }).id },
      user: { subject: 'alice' },
    });
    await done(client);
    const [output] = test.outputs();
    expect(output).toMatchObject({ call_id: question?.call_id, output: '1' });
    expect(output?.id).toMatch(/^rly_.{1,28}$/);
  });

  it('of several in one response is answered by itself, and one answer follows on all', async () => {
    const held: ServerResponse[] = [];
    const test = await startToolRelay((_, response) => void held.push(response), {
      tools: { one: '', two: '', three: '' },
    });
    const client = await join(test);
    test.emulator.control.script({ functionCall: [{ name: 'one' }, { name: 'two' }, { name: 'three' }] });
    ask(client, 'all of them');
    await done(client);
    await test.questions(3);
    for (const [index, response] of [...held].reverse().entries()) {
      say(response, index);
      await test.emulator.control.received.waitFor(() => test.outputs().length === index + 1);
    }
    expect(wordsOf(await done(client))).toMatch(/^The answer is: /);
    expect(responses(client)).toBe(2);
    expect(test.said('response.create')).toHaveLength(2);
    expect(test.emulator.control.received.errorEvents).toEqual([]);
  });

  it.each(['cancelled', 'incomplete'] as const)(
    'that is cut off, in a response that ends %s, is never made',
    async (status) => {
      const test = await startToolRelay((_, response) => say(response, 1));
      const client = await join(test);
      test.emulator.control.script({ functionCall: { name: 'lookup', arguments: { order: 12345 } }, status });
      ask(client, 'cut it');
      expect((await done(client)).status).toBe(status);
      await client.ask('still there?');
      expect(test.asked).toHaveLength(0);
      expect(test.outputs()).toHaveLength(0);
      expect(test.said('response.create')).toHaveLength(2);
    },
  );

  it('with arguments that are none tells the model where they are wrong, without a request', async () => {
    const schema = 'parameters: { type: object, properties: { order: { type: integer } }, required: [order] }';
    const test = await startToolRelay((_, response) => say(response, 1), { tools: { lookup: schema } });
    const client = await join(test);
    ask(client, 'lookup {"order":"7"}');
    await done(client);
    expect(wordsOf(await done(client))).toMatch(
      /"error":"invalid_arguments","message":"The arguments were wrong: .*order/,
    );
    expect(test.asked).toHaveLength(0);
  });

  it('of a function that nobody listed is refused for the model, and the conversation goes on', async () => {
    const test = await startToolRelay((_, response) => say(response, 1));
    const client = await join(test);
    test.emulator.control.script({ functionCall: { name: 'made_up' } });
    ask(client, 'anything');
    await done(client);
    expect(wordsOf(await done(client))).toMatch(/"error":"refused"/);
    expect(await test.metric('relay_tool_calls_total', { tool: 'other', outcome: 'refused' })).toBe(1);
  });

  it('that takes too long is cut off, and the next turn works', async () => {
    const closed: Promise<unknown>[] = [];
    const test = await startToolRelay((_, response) => void closed.push(once(response, 'close')), {
      tools: { lookup: 'timeout_seconds: 0.2' },
    });
    const client = await join(test);
    ask(client, 'lookup');
    await done(client);
    expect(wordsOf(await done(client))).toMatch(/"error":"timeout"/);
    await Promise.all(closed);
    expect(wordsOf(await client.ask('hello'))).toBe('You said: hello');
    expect(await test.logged('tool.called')).toMatchObject({
      tool: 'lookup',
      runs: 'http',
      outcome: 'timeout',
      level: 'warn',
    });
    expect(await test.metric('relay_upstream_errors_total', { origin: 'tool', code: 'timeout' })).toBe(1);
  });

  it('ends with its session, and nothing of it goes anywhere', async () => {
    const closed: Promise<unknown>[] = [];
    const test = await startToolRelay((_, response) => void closed.push(once(response, 'close')));
    const client = await join(test);
    ask(client, 'lookup');
    await done(client);
    await test.questions(1);
    client.ws.close();
    await Promise.all(closed);
    expect(await test.logged('tool.called')).toMatchObject({ outcome: 'aborted', error: { kind: 'ended' } });
    expect(await test.logged('session.ended')).toMatchObject({ reason: 'normal', toolCalls: 1, toolErrors: 1 });
    expect(test.outputs()).toHaveLength(0);
  });
});

describe('sessions that leave while their tools run', () => {
  it('give their places back, cut off what runs, and say nothing more', async () => {
    const closed: Promise<unknown>[] = [];
    const test = await startToolRelay(
      ({ user }, response) => {
        if (user.subject === 'who stays') say(response, 'found');
        else closed.push(once(response, 'close'));
      },
      { limits: 'tools_at_once: 4', profile: 'limits: { tools_at_once: 4 }' },
    );
    const leave = ['close', 'terminate'] as const;
    for (let round = 0; round < 8; round++) {
      const client = await test.connect({ token: test.token({ subject: `who leaves ${round}` }) });
      await client.next('session.created');
      test.emulator.control.script({ functionCall: Array(4).fill({ name: 'lookup' }) });
      ask(client, 'go');
      if (round % 3 > 0) await done(client);
      if (round % 3 > 1) await test.questions(closed.length + 1);
      client.ws[leave[round % 2] ?? 'close']();
      await client.closed;
      await test.logged('session.ended', round + 1);
      test.emulator.control.clearScripts();
    }
    await Promise.all(closed);
    const stays = await test.connect({ token: test.token({ subject: 'who stays' }) });
    await stays.next('session.created');
    ask(stays, 'lookup');
    await done(stays);
    expect(wordsOf(await done(stays))).toMatch(/found/);
    const outcomes = test.log.filter(({ msg }) => msg === 'tool.called').map(({ outcome }) => outcome);
    expect([...new Set(outcomes)].sort()).toEqual(['aborted', 'ok']);
    expect(test.outputs()).toHaveLength(1);
  });

  it('leave a quarter of the instance’s places to others, whatever they call', async () => {
    const held: ServerResponse[] = [];
    const test = await startToolRelay((_, response) => void held.push(response), {
      limits: 'tools_at_once: 8',
      profile: 'limits: { tools_at_once: 2 }',
    });
    const join = async (subject: string, tenant: string) => {
      const client = await test.connect({ token: test.token({ subject, tenant }) });
      await client.next('session.created');
      test.emulator.control.script({ functionCall: [{ name: 'lookup' }, { name: 'lookup' }] });
      ask(client, 'go');
      await done(client);
      return client;
    };
    await join('ann', 'greedy');
    await test.questions(2);
    const second = await join('ben', 'greedy');
    expect(wordsOf(await done(second))).toMatch(/Too many lookups at once/);
    await join('cem', 'modest');
    await test.questions(4);
    expect(await test.metric('relay_tool_calls_total', { outcome: 'refused' })).toBe(2);
  });
});

describe('the conversation', () => {
  it('goes on while a tool runs, and the answer to it comes when none is given', async () => {
    const held: ServerResponse[] = [];
    const test = await startToolRelay((_, response) => void held.push(response), { speed: 8 });
    const client = await join(test);
    ask(client, 'lookup');
    await done(client);
    await test.questions(1);
    ask(client, 'Tell me a story meanwhile', {});
    await client.next('response.output_audio.delta');
    say(held[0] as ServerResponse, 'found');
    await test.emulator.control.received.waitFor(() => test.outputs().length === 1);
    expect(responses(client)).toBe(2);
    expect((await done(client)).status).toBe('completed');
    expect((await done(client)).status).toBe('completed');
    expect(responses(client)).toBe(3);
    expect(test.emulator.control.received.errorEvents).toEqual([]);
  });

  it('is not answered twice when the client asks after the output has come in', async () => {
    const held: ServerResponse[] = [];
    const test = await startToolRelay((_, response) => void held.push(response), {
      tools: { lookup: 'reply: silent' },
    });
    const client = await join(test);
    ask(client, 'lookup');
    await done(client);
    await test.questions(1);
    say(held[0] as ServerResponse, 'found');
    await test.emulator.control.received.waitFor(() => test.outputs().length === 1);
    await client.ask('what is it?');
    expect(responses(client)).toBe(2);
  });

  it('stays silent when the client cancels before the answer, and the output is added', async () => {
    const held: ServerResponse[] = [];
    const test = await startToolRelay((_, response) => void held.push(response));
    const client = await join(test);
    ask(client, 'lookup');
    await done(client);
    await test.questions(1);
    client.send({ type: 'response.cancel' });
    expect(((await client.next('error')).error as { code: string }).code).toBe('response_cancel_not_active');
    say(held[0] as ServerResponse, 'found');
    await test.emulator.control.received.waitFor(() => test.outputs().length === 1);
    await client.ask('hello');
    expect(responses(client)).toBe(2);
  });

  it('keeps what the client asked of the turn in the answer after the tool', async () => {
    const test = await startToolRelay((_, response) => say(response, 'found'));
    const client = await join(test);
    ask(client, 'lookup', { output_modalities: ['text'], max_output_tokens: 77, metadata: { turn: 'seven' } });
    expect(await done(client)).toMatchObject({ metadata: { turn: 'seven' } });
    expect(await client.next('response.created')).toMatchObject({ response: { metadata: { turn: 'seven' } } });
    expect(await done(client)).toMatchObject({
      metadata: { turn: 'seven' },
      output: [{ content: [{ type: 'output_text' }] }],
    });
    const [, followUp] = test.said('response.create');
    expect(followUp).toMatchObject({ response: { output_modalities: ['text'], max_output_tokens: 77 } });
    expect(Object.keys(followUp?.response as object).sort()).toEqual([
      'max_output_tokens',
      'metadata',
      'output_modalities',
    ]);
    expect(JSON.stringify(followUp)).not.toContain('seven');
  });

  it('does not end in a circle when the model must call, or calls again and again', async () => {
    const test = await startToolRelay((_, response) => say(response, 'found'), {
      profile: 'session: { tool_choice: required }\n    limits: { tool_rounds: 2 }',
    });
    const client = await join(test);
    const again = { functionCall: { name: 'lookup' } };
    test.emulator.control.script(again, again, again, again);
    ask(client, 'go');
    for (let round = 0; round < 3; round++) await done(client);
    expect(wordsOf(await done(client))).toMatch(/^The answer is/);
    const choices = test
      .said('response.create')
      .map(({ response }) => (response as { tool_choice?: string }).tool_choice);
    expect(choices).toEqual([undefined, 'auto', 'auto', 'none']);
  });

  it('leaves the answer to the client where its tools are called, too, and holds it until ours are done', async () => {
    const held: ServerResponse[] = [];
    const test = await startToolRelay((_, response) => void held.push(response), {
      others: ['{ name: map, runs: client }'],
    });
    const client = await join(test);
    test.emulator.control.script({ functionCall: [{ name: 'lookup' }, { name: 'map' }] });
    ask(client, 'both');
    const { output } = await done(client);
    expect(output).toMatchObject([{ type: 'function_call', name: 'map' }]);
    const [call] = output as { call_id: string }[];
    const item = { type: 'function_call_output', call_id: call?.call_id, output: 'shown' };
    client.send({ type: 'conversation.item.create', item });
    client.send({ type: 'response.create', response: textOnly });
    await test.emulator.control.received.waitFor(() => test.outputs().length === 1);
    await test.questions(1);
    expect(test.said('response.create')).toHaveLength(1);
    say(held[0] as ServerResponse, 'found');
    expect(wordsOf(await done(client))).toMatch(/found/);
    await client.ask('hello');
    expect(responses(client)).toBe(3);
    expect(client.types()).not.toContain('error');
  });

  it('is bridged by a filler with persona and language, while the tool runs on', async () => {
    const held: ServerResponse[] = [];
    const filler = 'filler: { after_ms: 500, say: "One moment, {{claims.first_name}}." }';
    const test = await startToolRelay((_, response) => void held.push(response), {
      tools: { lookup: filler },
      profile: 'session: { instructions: "Be kind." }',
    });
    const client = await test.connect({ token: test.token({ claims: { first_name: 'Ada' } }) });
    await client.next('session.created');
    ask(client, 'lookup');
    await done(client);
    expect(wordsOf(await done(client))).toBe('One moment, Ada.');
    expect(test.said('response.create')[1]).toMatchObject({
      response: {
        instructions:
          'Be kind.\n\nSay only this, in the language of the conversation, and nothing else: One moment, Ada.',
        tool_choice: 'none',
        output_modalities: ['text'],
      },
    });
    say(held[0] as ServerResponse, 'found');
    expect(wordsOf(await done(client))).toMatch(/found/);
    expect(responses(client)).toBe(3);
  });

  it('goes on after the tools of an MCP server, which are not approved on an end user’s behalf', async () => {
    const test = await startToolRelay((_, response) => say(response, 1), {
      profile:
        'session: { tools: [{ type: mcp, server_label: docs, server_url: "https://mcp.test/", require_approval: never }] }',
    });
    const client = await join(test);
    test.emulator.control.script({
      mcp: { server_label: 'docs', name: 'find', output: 'from the docs', ms: 50, done_first: true },
    });
    ask(client, 'the docs');
    await done(client);
    expect(wordsOf(await done(client))).toMatch(/from the docs/);
    test.emulator.control.script({ mcpApproval: { server_label: 'docs', name: 'erase' } });
    ask(client, 'erase it');
    await done(client);
    expect(wordsOf(await done(client))).toBe('I may not do that.');
    expect(responses(client)).toBe(4);
    expect(client.raw.join('')).not.toMatch(/mcp|erase"/);
  });
});

describe('a result for the client', () => {
  const sources = { sources: [{ chunk_id: 'c1', title: 'T', chunk: 'Text' }] };
  const voicerag = 'client: { tool_results: voicerag }';

  it.each([
    ['client', '""'],
    ['both', JSON.stringify(JSON.stringify(sources))],
  ])('with result: %s is told to who asked for relay events, before the model has it', async (result, output) => {
    const test = await startToolRelay((_, response) => say(response, sources), {
      tools: { lookup: `result: ${result}` },
    });
    for (const path of [`${ga}&relay_events=on`, `${preview}&relay_events=on`]) {
      const client = await join(test, path);
      client.send({
        type: 'conversation.item.create',
        item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'lookup' }] },
      });
      client.send({ type: 'response.create' });
      const told = await client.next('relay.tool_result');
      expect(told).toEqual({
        type: 'relay.tool_result',
        event_id: expect.any(String),
        tool: 'lookup',
        result: sources,
      });
      await client.next('response.done');
      client.ws.close();
      await client.closed;
    }
    expect(test.outputs().map((item) => JSON.stringify(item.output))).toEqual([output, output]);
  });

  it('is told in the words of VoiceRAG, where it is sources and the profile says so', async () => {
    const answers = [sources, 'no object', { sources: 'none' }];
    const test = await startToolRelay((_, response) => say(response, answers.shift()), {
      tools: { lookup: 'result: client' },
      profile: voicerag,
    });
    const client = await join(test, preview);
    for (let turn = 0; turn < 3; turn++) {
      ask(client, 'lookup', { modalities: ['text'] });
      await done(client);
      await done(client);
    }
    const told = client.events.filter(({ type }) => !/^(session|response|conversation|rate)/.test(type));
    expect(told).toEqual([
      {
        type: 'extension.middle_tier_tool_response',
        event_id: expect.any(String),
        previous_item_id: expect.stringMatching(/^item_/),
        tool_name: 'lookup',
        tool_result: JSON.stringify(sources),
      },
    ]);
  });

  it.each([
    ['the result is the model’s', 'result: model', `${ga}&relay_events=on`, 200],
    ['the client did not ask', 'result: both', ga, 200],
    ['the tool failed', 'result: both', `${ga}&relay_events=on`, 500],
  ])('is not told when %s', async (_, tool, path, status) => {
    const test = await startToolRelay(
      (_question, response) => {
        response.statusCode = status;
        say(response, 'CANARY_OUTPUT');
      },
      { tools: { lookup: tool } },
    );
    const client = await join(test, path);
    await client.ask('lookup');
    await done(client);
    expect(client.types().filter((type) => type.startsWith('relay.'))).toEqual([]);
  });
});

describe('the books', () => {
  it('say of each call what became of it and how long an answer waited, and nothing of what was said', async () => {
    const test = await startToolRelay((_, response) => setTimeout(() => say(response, 'CANARY_OUTPUT'), 90));
    const client = await join(test);
    ask(client, 'lookup {"order":"CANARY_ARGUMENT"}', {});
    await done(client);
    await done(client);
    client.ws.close();
    const ended = (await test.logged('session.ended')) as { lastTurns: { firstAudioMs: number; toolMs?: number }[] };
    expect(ended).toMatchObject({ toolCalls: 1, toolErrors: 0, turns: 2 });
    const [, turn] = ended.lastTurns;
    expect(turn?.toolMs).toBeGreaterThanOrEqual(85);
    expect(turn?.firstAudioMs).toBeGreaterThanOrEqual(turn?.toolMs as number);
    expect(await test.logged('tool.called')).toMatchObject({
      level: 'info',
      tool: 'lookup',
      runs: 'http',
      call: expect.stringMatching(/^call_/),
      outcome: 'ok',
      seconds: expect.any(Number),
      bytes: 15,
      status: 200,
    });
    expect(JSON.stringify(test.log)).not.toContain('CANARY');
    expect(await test.metric('relay_tool_calls_total', { tool: 'lookup', outcome: 'ok' })).toBe(1);
    expect(await test.metric('relay_tool_seconds_count', { tool: 'lookup', outcome: 'ok' })).toBe(1);
  });
});

describe('an endpoint', () => {
  it.each<[string, (response: ServerResponse) => void]>([
    ['hangs', () => undefined],
    ['drips', (response) => response.write('{')],
    [
      'redirects to where the cloud keeps its secrets',
      (response) => response.writeHead(302, { location: 'http://169.254.169.254/' }).end(),
    ],
    ['sends without end', (response) => flood(response)],
    ['closes', (response) => response.destroy()],
    ['answers HTML', (response) => response.setHeader('content-type', 'text/html').end('<p>CANARY_OUTPUT</p>')],
    ['fails and explains', (response) => void say(Object.assign(response, { statusCode: 500 }), 'CANARY_OUTPUT')],
    [
      'answers JSON that is none',
      (response) => response.setHeader('content-type', 'application/json').end('{"CANARY_OUTPUT'),
    ],
  ])('that %s makes a safe output in time, leaks nothing, and the next turn works', async (_, answer) => {
    const test = await startToolRelay((_question, response) => answer(response), {
      tools: { lookup: 'timeout_seconds: 0.3, result: both' },
    });
    const client = await join(test, `${ga}&relay_events=on`);
    ask(client, 'lookup');
    await done(client);
    expect(wordsOf(await done(client))).toMatch(
      /^The answer is: \{"error":"(timeout|failed)","message":"The lookup [a-z ]+\. Tell the user that it is not available right now\."\}$/,
    );
    expect(wordsOf(await client.ask('hello'))).toBe('You said: hello');
    expect(JSON.stringify([client.raw, test.log, test.outputs()])).not.toMatch(/CANARY|169\.254/);
    expect(await test.metric('relay_upstream_errors_total', { origin: 'tool' })).toBe(1);
  });
});

/** As much as is taken. */
function flood(response: ServerResponse): void {
  const chunk = Buffer.alloc(1 << 20, 'x');
  const more = () => {
    while (!response.destroyed && response.write(chunk));
  };
  response.on('drain', more);
  more();
}

describe('time', () => {
  it('does not make a session idle or its upstream silent while a tool runs', async () => {
    const time = holdTime();
    const held: ServerResponse[] = [];
    const test = await startToolRelay((_, response) => void held.push(response), {
      tools: { lookup: 'timeout_seconds: 120' },
      limits: 'answer_seconds: 5',
      profile: 'limits: { idle_seconds: 10 }',
    });
    const client = await join(test);
    ask(client, 'lookup');
    await done(client);
    await test.questions(1);
    await time.live(30);
    expect(client.ws.readyState).toBe(client.ws.OPEN);
    say(held[0] as ServerResponse, 'found');
    expect(wordsOf(await done(client))).toMatch(/found/);
    await time.live(12);
    expect(await client.closed).toMatchObject({ reason: 'idle_timeout' });
  });
});

describe('a shutdown', () => {
  it('waits for the tool and for the answer after it', async () => {
    const held: ServerResponse[] = [];
    const test = await startToolRelay((_, response) => void held.push(response));
    const client = await join(test);
    const idle = await test.connect({ token: test.token({ subject: 'idle' }) });
    await idle.next('session.created');
    ask(client, 'lookup');
    await done(client);
    await test.questions(1);
    const drained = test.relay.drain();
    await idle.closed;
    say(held[0] as ServerResponse, 'found');
    expect(wordsOf(await done(client))).toMatch(/found/);
    expect(await client.closed).toMatchObject({ reason: 'draining' });
    await drained;
  });

  it('does not wait for a client to answer what the server has answered', async () => {
    const test = await startToolRelay((_, response) => say(response, 'noted'), { tools: { lookup: 'reply: silent' } });
    const client = await join(test);
    ask(client, 'lookup');
    await done(client);
    await test.logged('tool.called');
    const begun = performance.now();
    await test.relay.drain();
    expect(performance.now() - begun).toBeLessThan(5000);
    expect(await client.closed).toMatchObject({ reason: 'draining' });
  });
});

describe('a user who speaks while a tool runs', () => {
  it('is heard, and the answer to them answers the tool, too', async () => {
    const held: ServerResponse[] = [];
    const test = await startToolRelay((_, response) => void held.push(response), {
      speed: 20,
      profile: 'limits: { audio_burst_seconds: 60 }',
    });
    const client = await join(test);
    ask(client, 'lookup');
    await done(client);
    await test.questions(1);
    speak(client, Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength));
    await client.next('input_audio_buffer.speech_started');
    say(held[0] as ServerResponse, 'found');
    await test.emulator.control.received.waitFor(() => test.outputs().length === 1);
    speak(client, Buffer.alloc(96_000));
    await client.next('input_audio_buffer.committed');
    expect((await done(client)).status).toBe('completed');
    await client.ask('hello');
    expect(responses(client)).toBe(3);
    expect(test.said('response.create')).toHaveLength(2);
    expect(test.emulator.control.received.errorEvents).toEqual([]);
  });
});

describe('a crowd of sessions with parallel, slow and failing tools', () => {
  it('is answered once for each call, each in its own session, and never asks upstream twice', {
    timeout: 30_000,
  }, async () => {
    const test = await startToolRelay(crowdAnswer(700), {
      tools: crowdTools(5),
      profile:
        'limits: { sessions_per_user: 100, connects_burst: 100, tool_calls_per_minute: 10000, responses_burst: 100 }',
    });
    test.emulator.control.script(...plans);
    const crowd = await Promise.all(
      Array.from({ length: 24 }, async (_, seed) => {
        const client = await join(test);
        await talk(client, 4, seed);
        return client;
      }),
    );
    await quiet(() => test.log, 1000);
    for (const client of crowd) client.ws.close();
    await test.logged('session.ended', crowd.length);
    expect(faultsOf(test.emulator, test.log)).toEqual([]);
    const called = test.log.filter(({ msg }) => msg === 'tool.called');
    expect(called.length).toBeGreaterThan(150);
    expect([...new Set(called.map(({ outcome }) => outcome))].sort()).toEqual(['aborted', 'failed', 'ok', 'timeout']);
    expect(await test.metric('relay_upstream_errors_total', { code: 'conversation_already_has_active_response' })).toBe(
      0,
    );
  });
});
