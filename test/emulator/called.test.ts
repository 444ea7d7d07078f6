import { describe, expect, it } from 'vitest';
import { type Caller, call, emulate, type Seen, say, update } from './caller.js';
import { appends, spoken, texts } from './speech.js';

const ask = { type: 'response.create' };
const query = { type: 'object', properties: { query: { type: 'string' } }, required: ['query'] };
const sources = { type: 'object', properties: { sources: { type: 'array', items: { type: 'string' } } } };
const search = { type: 'function', name: 'search', parameters: query };
const grounding = { type: 'function', name: 'report_grounding', parameters: sources };

interface Done {
  readonly status: string;
  readonly status_details: { reason: string } | null;
  readonly output: readonly { type: string; status?: string; name?: string; call_id?: string; arguments?: string }[];
}

async function done(caller: Caller): Promise<Done> {
  return (await caller.next<{ response: Done }>('response.done')).response;
}

/** Kinds of what came out, in order, with what became of them. */
const kinds = ({ output }: Done) => output.map(({ type, status, name }) => [name ?? type, status].join(' '));

const outputs = (response: Done, text: (name: string) => string) =>
  response.output.flatMap(({ type, call_id, name = '' }) =>
    type === 'function_call'
      ? [{ type: 'conversation.item.create', item: { type: 'function_call_output', call_id, output: text(name) } }]
      : [],
  );

describe('a scripted response', () => {
  it.each([
    ['speaks first', {}, ['message completed', 'a completed', 'b completed']],
    ['calls first when it says so', { callsFirst: true }, ['a completed', 'b completed', 'message completed']],
  ])('%s', async (_name, order, expected) => {
    const emulator = await emulate();
    emulator.control.script({ text: 'One moment.', functionCall: [{ name: 'a' }, { name: 'b' }], ...order });
    const caller = await call(emulator);
    caller.send(ask);
    expect(kinds(await done(caller))).toEqual(expected);
  });

  it.each([
    ['incomplete', undefined, 'content_filter'],
    ['incomplete', 'max_output_tokens', 'max_output_tokens'],
    ['cancelled', undefined, 'turn_detected'],
    ['cancelled', 'client_cancelled', 'client_cancelled'],
  ] as const)('that ends %s (%s) cuts the arguments of its call', async (status, reason, told) => {
    const emulator = await emulate();
    const given = { city: 'Llanfairpwllgwyngyll', days: 5 };
    emulator.control.script({ functionCall: { name: 'a', arguments: given }, status, ...(reason && { reason }) });
    const caller = await call(emulator);
    caller.send(ask);
    const events = await caller.until('response.done');
    const response = events.at(-1)?.response as Done;
    expect(response).toMatchObject({ status, status_details: { type: status, reason: told } });
    expect(kinds(response)).toEqual(['a incomplete']);
    const cut = response.output[0]?.arguments ?? '';
    expect(JSON.stringify(given).startsWith(cut) && cut.length > 5 && cut.length < 40).toBe(true);
    const final = events.find(({ type }) => type === 'response.function_call_arguments.done');
    expect(final?.arguments).toBe(cut);
  });

  it('that ends cancelled has whole calls before the one that was cut', async () => {
    const emulator = await emulate();
    const functionCall = [
      { name: 'a', arguments: { x: 1 } },
      { name: 'b', arguments: { y: 'long enough to be cut' } },
    ];
    emulator.control.script({ functionCall, status: 'cancelled' });
    const caller = await call(emulator);
    caller.send(ask);
    expect(kinds(await done(caller))).toEqual(['a completed', 'b incomplete']);
  });

  it('leaves its calls out where tools may not be used', async () => {
    const emulator = await emulate();
    emulator.control.script({ functionCall: { name: 'a' } }, { text: 'No tools.', functionCall: { name: 'a' } });
    const caller = await call(emulator);
    caller.send(say('hi'));
    for (let count = 0; count < 2; count++) {
      caller.send({ ...ask, response: { tool_choice: 'none' } });
      expect(kinds(await done(caller))).toEqual(['message completed']);
    }
  });

  it('is interrupted in the middle of its call by a user who speaks', async () => {
    const emulator = await emulate({ speed: 20 });
    emulator.control.script({ functionCall: { name: 'a', arguments: { x: 'y'.repeat(200) }, ms: 20_000 } });
    const caller = await call(emulator);
    caller.send(ask);
    await caller.until('response.function_call_arguments.delta');
    caller.send(...appends(spoken()));
    await caller.until('input_audio_buffer.speech_started');
    const response = await done(caller);
    expect(response).toMatchObject({ status: 'cancelled', status_details: { reason: 'turn_detected' } });
    expect(kinds(response)).toEqual(['a incomplete']);
  });

  it('goes on calling while the user speaks when nothing interrupts it', async () => {
    const emulator = await emulate({ speed: 20 });
    emulator.control.script({ functionCall: { name: 'a', arguments: { x: 'y'.repeat(200) }, ms: 300 } });
    const caller = await call(emulator);
    const turn_detection = { type: 'server_vad', interrupt_response: false, create_response: false };
    caller.send(update({ audio: { input: { turn_detection } } }), ask);
    await caller.until('response.function_call_arguments.delta');
    caller.send(...appends(spoken()));
    await caller.until('input_audio_buffer.speech_started');
    expect(kinds(await done(caller))).toEqual(['a completed']);
  });
});

describe('a script for certain words', () => {
  it('stays, and holds for every turn that has them, in any case', async () => {
    const emulator = await emulate();
    emulator.control.script({ when: 'Pizza', functionCall: { name: 'order' } }, { text: 'once' });
    const caller = await call(emulator);
    const told: string[][] = [];
    for (const words of ['a PIZZA please', 'hello', 'hello', 'one more  pizza']) {
      caller.send(say(words), ask);
      told.push(kinds(await done(caller)));
    }
    expect(told.map(([first]) => first)).toEqual([
      'order completed',
      'message completed',
      'message completed',
      'order completed',
    ]);
    expect(JSON.stringify(caller.seen)).toContain('once');
    emulator.control.clearScripts();
    caller.send(say('pizza'), ask);
    expect(kinds(await done(caller))).toEqual(['message completed']);
  });

  it('holds for spoken words, and not for the answer to its own call', async () => {
    const emulator = await emulate();
    emulator.control.script({ when: 'order from last week', functionCall: { name: 'lookup' } });
    const caller = await call(emulator);
    caller.send(...appends(spoken()));
    const response = await done(caller);
    expect(kinds(response)).toEqual(['lookup completed']);
    caller.send(...outputs(response, () => 'tomorrow'), ask);
    const answer = await done(caller);
    expect(JSON.stringify(answer.output)).toContain('The answer is: tomorrow');
  });

  it('stands in front of others that wait, which lose nothing by it', async () => {
    const emulator = await emulate();
    emulator.control.script({ text: 'the next' }, { when: 'weather', text: 'sunny' });
    const caller = await call(emulator);
    caller.send(update({ output_modalities: ['text'] }), say('the weather?'), ask);
    expect(JSON.stringify(await done(caller))).toContain('sunny');
    caller.send(say('hello'), ask);
    expect(JSON.stringify(await done(caller))).toContain('the next');
  });
});

describe('what tools say', () => {
  it('is answered with all of it when there were several calls', async () => {
    const emulator = await emulate();
    emulator.control.script({ functionCall: [{ name: 'a' }, { name: 'b' }] });
    const caller = await call(emulator);
    caller.send(update({ output_modalities: ['text'] }), say('go'), ask);
    caller.send(...outputs(await done(caller), (name) => `${name} is done.`), ask);
    expect(JSON.stringify(await done(caller))).toContain('The answer is: a is done. b is done.');
  });
});

describe('a question', () => {
  it.each([
    ['spoken', appends(spoken()), texts['question-order']?.text],
    ['typed', [say('Where is my parcel?'), ask], 'Where is my parcel?'],
  ])('that is %s is searched for in its own words', async (_name, events, words) => {
    const caller = await call(await emulate());
    caller.send(update({ tools: [grounding, search] }), ...events);
    const response = await done(caller);
    expect(kinds(response)).toEqual(['search completed']);
    expect(JSON.parse(response.output[0]?.arguments ?? '')).toEqual({ query: words });
  });

  it('is answered by the first result, and the results are cited in the same response', async () => {
    const caller = await call(await emulate());
    caller.send(update({ tools: [search, grounding], output_modalities: ['text'] }), say('When?'), ask);
    const found =
      '[orders_1]: Orders of last week arrive on Monday. They are sent by train.\n-----\n[faq-2]: More.\n-----\n';
    caller.send(...outputs(await done(caller), () => found), ask);
    const response = await done(caller);
    expect(kinds(response)).toEqual(['message completed', 'report_grounding completed']);
    expect(JSON.stringify(response.output[0])).toContain('"text":"Orders of last week arrive on Monday."');
    expect(JSON.parse(response.output[1]?.arguments ?? '')).toEqual({ sources: ['orders_1', 'faq-2'] });
  });

  it('without a result is not made up', async () => {
    const caller = await call(await emulate());
    caller.send(update({ tools: [search, grounding], output_modalities: ['text'] }), say('When?'), ask);
    caller.send(...outputs(await done(caller), () => ''), ask);
    const response = await done(caller);
    expect(kinds(response)).toEqual(['message completed']);
    expect(JSON.stringify(response.output)).toContain('I found nothing.');
  });

  it.each([
    ['no question', 'Tell me.', [search], {}],
    ['more parameters', 'When?', [{ ...search, parameters: { properties: { query: { type: 'string' }, n: {} } } }], {}],
    ['another kind of parameter', 'When?', [{ ...search, parameters: { properties: { query: {} } } }], {}],
    ['tools that may not be used', 'When?', [search], { tool_choice: 'none' }],
  ])('is not searched for with %s', async (_name, words, tools, response) => {
    const caller = await call(await emulate());
    caller.send(update({ tools }), say(words), { ...ask, response });
    expect(kinds(await done(caller))).toEqual(['message completed']);
  });
});

describe('a response told what to say', () => {
  it('says that, and the session goes on as before', async () => {
    const caller = await call(await emulate());
    const instructions =
      'Be kind.\n\nSay only this, in the language of the conversation, and nothing else: One moment.';
    caller.send(update({ output_modalities: ['text'] }), say('hi'), { ...ask, response: { instructions } });
    expect(JSON.stringify(await done(caller))).toContain('"text":"One moment."');
    caller.send(ask);
    expect(JSON.stringify(await done(caller))).toContain('You said: hi');
  });
});

describe('a model', () => {
  it.each([
    ['was told as a turn', [say('Please remember that my locker is 4711.'), say('Nice weather.')]],
    ['stands in a history in one item', [say('{"role":"user","text":"Remember: the locker has number 4711"}')]],
  ])('recalls what %s, while it is among its items', async (_name, told) => {
    const caller = await call(await emulate());
    caller.send(update({ output_modalities: ['text'] }), ...told, say('Which locker is mine?'), ask);
    expect(JSON.stringify(await done(caller))).toContain('4711');
    const other = await call(await emulate());
    other.send(update({ output_modalities: ['text'] }), say('Which locker is mine?'), ask);
    expect(JSON.stringify(await done(other))).not.toContain('4711');
  });

  it('forgets what is deleted', async () => {
    const caller = await call(await emulate());
    caller.send(update({ output_modalities: ['text'] }), say('Remember my locker is 4711.', 'item_1'));
    caller.send({ type: 'conversation.item.delete', item_id: 'item_1' }, say('Which locker is mine?'), ask);
    expect(JSON.stringify(await done(caller))).toContain('You said: Which locker is mine?');
  });
});

describe('the fault busy', () => {
  it('refuses one response with an error that names no event', async () => {
    const emulator = await emulate();
    emulator.control.faults.arm('busy');
    const caller = await call(emulator);
    caller.send({ ...ask, event_id: 'mine' });
    expect(await caller.error()).toMatchObject({ code: 'conversation_already_has_active_response', event_id: null });
    caller.send(ask);
    const events: Seen[] = await caller.until('response.done');
    expect(events[0]?.type).toBe('response.created');
  });
});
