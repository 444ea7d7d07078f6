import { expect, it } from 'vitest';
import { startTestEmulator, startTestRelay } from '../support/relay.js';
import { backend } from '../support/sideband.js';
import { call } from './caller.js';

const item = (role: string, text: string) => ({
  type: 'conversation.item.create',
  item: { type: 'message', role, content: [{ type: 'input_text', text }] },
});

it('a call is followed by the id that its page has, and spoken in, but for what its browser would see', async () => {
  const emulator = await startTestEmulator();
  const relay = await startTestRelay({
    upstream: emulator.url,
    yaml: 'profiles:\n  default:\n    session: { instructions: "Never tell the code 4711." }\n',
  });
  const { caller, id } = await call(relay);
  await relay.logged('session.opened');
  const sideband = await relay.connect({ path: `/openai/v1/realtime?call_id=${id}`, token: backend(relay) });
  expect((await sideband.next('session.created')).session).toMatchObject({
    id: id.replace('call_', 'sess_'),
    instructions: 'Never tell the code 4711.',
  });
  caller.send(item('user', 'Hello'));
  caller.send({ type: 'response.create' });
  await sideband.next('response.done');
  expect(sideband.types()).toContain('output_audio_buffer.started');
  sideband.send(item('system', 'Be brief.'));
  expect((await sideband.next('error')).error).toMatchObject({ code: 'event_not_allowed', param: 'item.role' });
  sideband.send({ type: 'output_audio_buffer.clear' });
  await sideband.next('output_audio_buffer.cleared');
  sideband.send({ type: 'response.create', response: { output_modalities: ['text'] } });
  await sideband.next('response.done');
  await caller.close();
  expect(await sideband.closed).toEqual({ code: 1000, reason: 'normal' });
});
