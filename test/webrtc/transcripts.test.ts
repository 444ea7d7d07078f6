import { expect, it } from 'vitest';
import { startTestEmulator, startTestRelay } from '../support/relay.js';
import { startReceiver, webhookSecret } from '../support/webhook.js';
import { call } from './caller.js';

it('tells a webhook what is said in a call, and that it was one', async () => {
  const receiver = await startReceiver();
  const emulator = await startTestEmulator();
  const server = await startTestRelay({
    upstream: emulator.url,
    yaml: `
webhooks: [{ url: "${receiver.url}", secret: "${webhookSecret}" }]
profiles: { default: { session: { output_modalities: [text] }, transcripts: { webhook: true } } }`,
  });
  const { caller } = await call(server);
  await server.logged('session.opened');
  caller.send({
    type: 'conversation.item.create',
    item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Where is it?' }] },
  });
  caller.send({ type: 'response.create' });
  const { text } = await caller.event('response.output_text.done');
  await receiver.until(() => receiver.taken('transcript.item').length === 2);
  await caller.close();
  await receiver.until(() => receiver.taken('session.ended').length === 1);
  const [started, user, answer, usage, ended] = receiver.taken();
  expect(started?.data).toMatchObject({ transport: 'webrtc', seq: 1 });
  expect(user?.data).toMatchObject({ role: 'user', text: 'Where is it?', status: 'completed' });
  expect(answer?.data).toMatchObject({ role: 'assistant', source: 'model', text, status: 'completed' });
  expect([usage?.type, ended?.type]).toEqual(['session.usage', 'session.ended']);
});
