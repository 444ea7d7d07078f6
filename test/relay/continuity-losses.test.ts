import { describe, expect, it } from 'vitest';
import { expectNoCanary, lasting, say, startLasting, talk, wordsOf } from '../support/continuity.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';
import { say as answer, startToolRelay } from '../support/tools.js';

const kill = 'die_mid_response';
const words = (text: string) => ({
  type: 'conversation.item.create',
  item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
});

describe('with a connection that is lost', () => {
  it('a call that the client has yet to answer is answered on the next one', async () => {
    const emulator = await startTestEmulator();
    const tool = '{ name: weather, description: Weather, parameters: { type: object }, runs: client }';
    const relay = await startLasting(emulator, { yaml: `${lasting()}    tools: [${tool}]\n` });
    const client = await talk(relay);
    emulator.control.script({ functionCall: { name: 'weather', arguments: '{}' } });
    client.send(words('How is the weather?'));
    client.send({ type: 'response.create', response: { output_modalities: ['text'] } });
    const { output } = (await client.next('response.done')).response as { output: { call_id: string }[] };
    emulator.control.faults.strike(kill);
    expect(await client.next('relay.upstream_replaced')).toMatchObject({ continuity: 'full' });
    const item = { type: 'function_call_output', call_id: output[0]?.call_id, output: '"sunny and 21 degrees"' };
    client.send({ type: 'conversation.item.create', item });
    client.send({ type: 'response.create', response: { output_modalities: ['text'] } });
    const { response } = await client.next('response.done');
    expect(wordsOf(response as Record<string, unknown>)).toContain('21 degrees');
    expect(client.types()).not.toContain('error');
    expect(client.types().filter((type) => type === 'response.created')).toHaveLength(2);
  });

  it('a tool of the server that is at work runs once, and what it brings is said', async () => {
    let finish: () => void = () => undefined;
    const test = await startToolRelay(
      (_, response) => {
        finish = () => answer(response, { status: 'on its way' });
      },
      { profile: 'continuity: { enabled: true }' },
    );
    const client = await talk(test);
    client.send(words('Please lookup {"order":7}'));
    client.send({ type: 'response.create', response: { output_modalities: ['text'] } });
    await client.next('response.done');
    await test.questions(1);
    test.emulator.control.faults.strike(kill);
    await client.next('relay.upstream_replaced');
    finish();
    const { response } = await client.next('response.done');
    expect(wordsOf(response as Record<string, unknown>)).toContain('on its way');
    expect(test.asked).toHaveLength(1);
    expectNoCanary(client);
  });

  it('an update that was not acknowledged is made on the next one, and acknowledged once', async () => {
    const emulator = await startTestEmulator();
    const relay = await startLasting(emulator);
    const client = await talk(relay);
    emulator.control.faults.arm('ignore_update');
    client.send({ type: 'session.update', session: { type: 'realtime', audio: { output: { speed: 1.25 } } } });
    await emulator.control.received.waitFor((received) => received.events('session.update').length === 2);
    emulator.control.faults.strike(kill);
    expect(await client.next('session.updated')).toMatchObject({ session: { audio: { output: { speed: 1.25 } } } });
    emulator.control.faults.strike(kill);
    await client.next('relay.upstream_replaced');
    expect(await say(client, 'Hello.')).toContain('Hello.');
    expect(client.types().filter((type) => type === 'session.updated')).toHaveLength(1);
    const last = emulator.control.received.connections.at(-1)?.events.find(({ type }) => type === 'session.update');
    expect(last?.body.session).toMatchObject({ audio: { output: { speed: 1.25 } } });
  });

  it.each(['session.update', 'conversation.item.create'])(
    'while another one is told of the past (%s), a third one is taken',
    async (at) => {
      const emulator = await startTestEmulator();
      const relay = await startLasting(emulator);
      const client = await talk(relay);
      await say(client, 'Please remember that my parrot is called Nemo.');
      const { received, faults } = emulator.control;
      const count = received.connectionCount;
      if (at === 'session.update') faults.arm('ignore_update');
      faults.strike(kill);
      await received.waitFor(({ connections }) => connections[count]?.events.some(({ type }) => type === at));
      faults.strike(kill, received.connections[count]?.id);
      expect(await client.next('relay.upstream_replaced')).toMatchObject({ continuity: 'full' });
      expect(await say(client, 'What is my parrot called?')).toContain('Nemo');
    },
  );

  it('an answer that the client has cancelled is not given anew', async () => {
    const emulator = await startTestEmulator({ speed: 1 });
    const relay = await startLasting(emulator);
    const client = await talk(relay);
    client.send({ type: 'response.create' });
    const { response_id } = await client.next('response.output_audio.delta');
    emulator.control.faults.arm('ignore_update');
    client.send({ type: 'session.update', session: { type: 'realtime', audio: { output: { speed: 1.25 } } } });
    client.send({ type: 'response.cancel', response_id });
    await client.next('response.done');
    emulator.control.faults.strike(kill);
    await client.next('relay.upstream_replaced');
    await client.next('session.updated');
    expect(client.types().filter((type) => type === 'response.created')).toHaveLength(1);
  });

  it('what was asked for and has not begun is answered', async () => {
    const emulator = await startTestEmulator();
    const relay = await startLasting(emulator, { yaml: `${lasting()}limits: { answer_seconds: 1 }\n` });
    const client = await talk(relay);
    emulator.control.faults.arm('mute');
    client.send(words('Are you there?'));
    client.send({ type: 'response.create', response: { output_modalities: ['text'], metadata: { mine: 'yes' } } });
    expect(await client.next('relay.upstream_replacing')).toMatchObject({ trigger: 'mute' });
    const { response } = await client.next('response.done');
    expect(response).toMatchObject({ status: 'completed', metadata: { mine: 'yes' } });
    expect(wordsOf(response as Record<string, unknown>)).toContain('Are you there?');
  }, 20_000);

  it('that failed two answers in a row by its own trouble, the second is given by another one', async () => {
    const emulator = await startTestEmulator();
    const relay = await startLasting(emulator);
    const client = await talk(relay);
    emulator.control.script({ status: 'failed', reason: 'server_error' }, { status: 'failed', reason: 'server_error' });
    expect(await client.ask('One?')).toMatchObject({ status: 'failed' });
    expect(await client.ask('Two?')).toMatchObject({ status: 'failed' });
    expect(await client.next('relay.upstream_replaced')).toMatchObject({ trigger: 'server_error' });
    const { response } = await client.next('response.done');
    expect(wordsOf(response as Record<string, unknown>)).toContain('Two?');
    expect(await say(client, 'Three?')).toContain('Three?');
  });

  it('another upstream is dialled first', async () => {
    const [first, second] = [await startTestEmulator(), await startTestEmulator()];
    const yaml = `${lasting()}upstreams:
  - { name: first, endpoint: '${first.url}', deployment: gpt-realtime, api_key: emulator-key }
  - { name: second, endpoint: '${second.url}', deployment: gpt-realtime, api_key: emulator-key }\n`;
    const relay = await startTestRelay({ upstream: first.url, yaml });
    const client = await talk(relay);
    await say(client, 'Please remember that my parrot is called Nemo.');
    first.control.faults.strike(kill);
    await client.next('relay.upstream_replaced');
    expect(first.control.received.connectionCount).toBe(1);
    expect(await say(client, 'What is my parrot called?')).toContain('Nemo');
    second.control.faults.strike(kill);
    await client.next('relay.upstream_replaced');
    expect(await say(client, 'And what is my parrot called now?')).toContain('Nemo');
    expect(second.control.received.connectionCount).toBe(1);
  });

  it('for the fourth time in a minute, the session ends with upstream_lost', async () => {
    const emulator = await startTestEmulator();
    const relay = await startLasting(emulator);
    const client = await talk(relay);
    for (let count = 0; count < 3; count++) {
      emulator.control.faults.strike(kill);
      await client.next('relay.upstream_replaced');
    }
    emulator.control.faults.strike(kill);
    expect(await client.closed).toEqual({ code: 1011, reason: 'upstream_lost' });
    expect(await relay.metric('relay_replacements_total', { outcome: 'bounded' })).toBe(1);
  });

  it('and no other to be had, the session ends as it would have', async () => {
    const emulator = await startTestEmulator();
    const relay = await startLasting(emulator);
    const client = await talk(relay);
    emulator.control.faults.arm('refuse_500', 100);
    emulator.control.faults.strike(kill);
    expect(await client.closed).toEqual({ code: 1011, reason: 'upstream_lost' });
    expect(await relay.metric('relay_replacements_total', { outcome: 'failed' })).toBe(1);
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'upstream_lost', initiator: 'upstream' });
  }, 20_000);

  it('where conversations do not outlive theirs, the session ends', async () => {
    const emulator = await startTestEmulator();
    const relay = await startLasting(emulator, { yaml: lasting().replace('enabled: true', 'enabled: false') });
    const client = await talk(relay);
    emulator.control.faults.strike(kill);
    expect(await client.closed).toEqual({ code: 1011, reason: 'upstream_lost' });
  });
});

describe('a call of a function', () => {
  it('whose arguments are cut off is not carried out, and is made anew', async () => {
    const emulator = await startTestEmulator({ speed: 1 });
    const tool = '{ name: weather, description: Weather, parameters: { type: object }, runs: client }';
    const relay = await startLasting(emulator, { yaml: `${lasting()}    tools: [${tool}]\n` });
    const client = await talk(relay);
    const slow = { name: 'weather', arguments: '{"place":"Oslo","days":[1,2,3,4,5,6,7]}', ms: 1500 };
    emulator.control.script({ functionCall: slow }, { functionCall: { ...slow, ms: 0 } });
    client.send(words('How is the weather?'));
    client.send({ type: 'response.create', response: { output_modalities: ['text'] } });
    await client.next('response.function_call_arguments.delta');
    emulator.control.faults.strike(kill);
    const cut = await client.next('response.output_item.done');
    expect(cut.item).toMatchObject({ type: 'function_call', status: 'incomplete' });
    expect((await client.next('response.done')).response).toMatchObject({ status: 'incomplete' });
    const whole = await client.next('response.output_item.done');
    expect(whole.item).toMatchObject({ status: 'completed', arguments: slow.arguments });
    const ended = client.types().filter((type) => type === 'response.function_call_arguments.done');
    expect(ended).toHaveLength(1);
    const told = emulator.control.received.connections.at(-1)?.events ?? [];
    expect(told.map(({ body }) => (body.item as { type?: string } | undefined)?.type)).not.toContain('function_call');
  });

  it('that is complete when its answer is cut off is answered once, and nothing is asked again', async () => {
    const test = await startToolRelay((_, response) => answer(response, { status: 'on its way' }), {
      profile: 'continuity: { enabled: true }',
      speed: 1,
    });
    const client = await talk(test);
    test.emulator.control.script({
      functionCall: { name: 'lookup', arguments: {} },
      callsFirst: true,
      text: 'One moment, please, while I look that up for you.',
    });
    client.send(words('Please lookup {"order":7}'));
    client.send({ type: 'response.create' });
    await test.questions(1);
    await client.next('response.output_audio.delta');
    test.emulator.control.faults.strike(kill);
    expect((await client.next('response.done')).response).toMatchObject({ status: 'incomplete' });
    const { response } = await client.next('response.done');
    expect(wordsOf(response as Record<string, unknown>)).toContain('on its way');
    expect(test.asked).toHaveLength(1);
    expect(client.types().filter((type) => type === 'response.created')).toHaveLength(2);
  }, 20_000);
});
