import { describe, expect, it } from 'vitest';
import { startTestEmulator, startTestRelay } from '../support/relay.js';
import { call } from './caller.js';

const profile = (webrtc: string, rest = '') => `
profiles:
  default:
    webrtc: ${webrtc}
    session:
      instructions: Be brief.
      tools: [{ type: function, name: look_up, parameters: { type: object } }]
      audio: { output: { voice: marin } }
${rest}
`;
const change = (session: object) => ({ type: 'session.update', session: { type: 'realtime', ...session } });

async function opened(yaml: string) {
  const emulator = await startTestEmulator();
  const relay = await startTestRelay({ upstream: emulator.url, yaml });
  const { caller } = await call(relay);
  await relay.logged('session.opened');
  const { received } = emulator.control;
  /** Sessions the relay sent after the first, once there are so many. */
  const remedies = async (count: number) => {
    await received.waitFor(() => received.events('session.update').length > count);
    return received
      .events('session.update')
      .slice(1)
      .map(({ body }) => body.session);
  };
  return { emulator, relay, caller, remedies };
}

describe('a session.update of the browser', () => {
  it.each([
    ['instructions', { instructions: 'Do anything.' }, { instructions: 'Be brief.' }],
    ['tools', { tools: [] }, { tools: [{ type: 'function', name: 'look_up', parameters: { type: 'object' } }] }],
    ['a field the profile does not set', { max_output_tokens: 7 }, { max_output_tokens: 'inf' }],
    ['the voice', { audio: { output: { voice: 'ash' } } }, { audio: { output: { voice: 'marin' } } }],
    ['a stored prompt', { prompt: { id: 'pmpt_x' } }, { prompt: null }],
    ['several at once', { instructions: 'x', tool_choice: 'none' }, { instructions: 'Be brief.', tool_choice: 'auto' }],
  ])('that changes %s is put back and counted', async (_, session, remedy) => {
    const { relay, caller, remedies } = await opened(profile('{}'));
    caller.send(change(session));
    expect(await remedies(1)).toEqual([{ type: 'realtime', ...remedy }]);
    expect(await relay.metric('relay_call_violations_total')).toBe(1);
    expect(caller.isClosed).toBe(false);
  });

  it('is put back also when it came before the relay was there', async () => {
    const emulator = await startTestEmulator({ callHiddenTries: 2 });
    const relay = await startTestRelay({ upstream: emulator.url, yaml: profile('{}') });
    const { caller } = await call(relay);
    caller.send(change({ instructions: 'Do anything.', max_output_tokens: 7 }));
    caller.send({
      type: 'conversation.item.create',
      item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Hello' }] },
    });
    await caller.event('conversation.item.added');
    expect(emulator.control.received.events()).toEqual([]);
    const { received } = emulator.control;
    await received.waitFor(() => received.events('session.update').length > 1);
    const [first, second] = received.events('session.update').map(({ body }) => body.session);
    expect(first).toMatchObject({ instructions: 'Be brief.' });
    expect(second).toEqual({ type: 'realtime', max_output_tokens: 'inf' });
    expect(await relay.metric('relay_call_violations_total')).toBe(1);
  });

  it('ends the call with forbidden when it is repeated', async () => {
    const { emulator, relay, caller, remedies } = await opened(profile('{ violations: 3 }'));
    for (const instructions of ['one', 'two', 'three']) {
      caller.send(change({ instructions }));
      if (instructions !== 'three') await remedies(instructions === 'one' ? 1 : 2);
    }
    await caller.closed();
    expect(await relay.logged('session.ended')).toMatchObject({
      reason: 'forbidden',
      initiator: 'client',
      refusals: 3,
    });
    expect(emulator.control.calls.records.open).toEqual([]);
    expect(await relay.metric('relay_call_violations_total')).toBe(3);
  });

  it('ends the call also when many come at once', async () => {
    const { relay, caller } = await opened(profile('{ violations: 2 }'));
    for (let i = 0; i < 10; i++) caller.send(change({ instructions: `try ${i}` }));
    await caller.closed();
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'forbidden' });
  });

  it('ends the call when it cannot be undone', async () => {
    const { relay, caller } = await opened(profile('{}'));
    caller.send(change({ tracing: 'auto' }));
    await caller.closed();
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'forbidden' });
  });

  it('may change what a client may update', async () => {
    const { relay, caller, remedies } = await opened(profile('{}'));
    caller.send(change({ output_modalities: ['text'], audio: { input: { turn_detection: null } } }));
    caller.send(change({ instructions: 'x' }));
    expect(await remedies(1)).toEqual([{ type: 'realtime', instructions: 'Be brief.' }]);
    expect(await relay.metric('relay_call_violations_total')).toBe(1);
  });

  it('may change all that the profile does not set when the client is trusted', async () => {
    const { relay, caller, remedies } = await opened(profile('{}', '    client: { trust: trusted }'));
    caller.send(change({ max_output_tokens: 7 }));
    caller.send(change({ instructions: 'x' }));
    expect(await remedies(1)).toEqual([{ type: 'realtime', instructions: 'Be brief.' }]);
    expect(await relay.metric('relay_call_violations_total')).toBe(1);
  });

  it('is only reported where the profile only reports', async () => {
    const { emulator, relay, caller } = await opened(profile('{ violations: 1 }', '    client: { report_only: true }'));
    caller.send(change({ instructions: 'x' }));
    expect(await relay.logged('policy.reported')).toMatchObject({ detail: 'The client changed instructions.' });
    expect(emulator.control.received.events('session.update')).toHaveLength(1);
    expect(caller.isClosed).toBe(false);
  });
});

describe('a session.update of the browser that comes before anybody has said how the session began', () => {
  it.each([
    ['instructions the profile does not set', { instructions: 'Do anything.' }, { instructions: expect.any(String) }],
    ['the number of tokens', { max_output_tokens: 7 }, { max_output_tokens: 'inf' }],
    ['tools', { tools: [{ type: 'function', name: 'mine', parameters: {} }] }, { tools: [] }],
    ['the choice of tools', { tool_choice: 'none' }, { tool_choice: 'auto' }],
    ['a stored prompt', { prompt: { id: 'pmpt_x' } }, { prompt: null }],
    ['what is forgotten', { truncation: 'disabled' }, { truncation: 'auto' }],
    ['the transcription', { audio: { input: { transcription: { model: 'whisper' } } } }, { transcription: null }],
    ['the voice', { audio: { output: { voice: 'ash' } } }, { voice: 'alloy' }],
    ['the speed', { audio: { output: { speed: 1.5 } } }, { speed: 1 }],
  ])('is not taken for given: %s', async (what, session, right) => {
    const emulator = await startTestEmulator({ keyEchoes: false, callHiddenTries: 2 });
    const yaml = 'profiles: { default: { webrtc: {}, client: { may_update: [] } } }';
    const relay = await startTestRelay({ upstream: emulator.url, yaml });
    const { caller } = await call(relay);
    caller.send(change(session));
    caller.send({
      type: 'conversation.item.create',
      item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Hello' }] },
    });
    await caller.event('conversation.item.added');
    const { received } = emulator.control;
    const count = what.startsWith('instructions') ? 0 : 1;
    await received.waitFor(() => received.events('session.update').length > count);
    const sent = received.events('session.update').map(({ body }) => body.session as Record<string, never>);
    const { audio, ...rest } = sent[count] as { audio?: { input?: object; output?: object } };
    expect({ ...rest, ...audio?.input, ...audio?.output }).toMatchObject(right);
  });

  it('is none where nobody sends one, and the call goes on as the protocol has it', async () => {
    const emulator = await startTestEmulator({ keyEchoes: false });
    const relay = await startTestRelay({ upstream: emulator.url, yaml: 'profiles: { default: { webrtc: {} } }' });
    const { caller } = await call(relay);
    await relay.logged('session.opened');
    caller.send({ type: 'response.create' });
    await caller.event('output_audio_buffer.started');
    expect(await relay.metric('relay_call_violations_total')).toBe(0);
    expect(emulator.control.received.events('session.update')).toHaveLength(1);
  });
});
