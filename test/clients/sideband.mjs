// A backend that follows a session and speaks in it: the official `openai` package, and the transport of @openai/agents.
import { Inbox, run, task } from './script.mjs';

const connect = {
  async openai(host, callID, inbox) {
    const { default: OpenAI } = await import(task.package);
    const { OpenAIRealtimeWS } = await import(`${task.package}/realtime/ws`);
    const sideband = new OpenAIRealtimeWS({ callID }, new OpenAI({ baseURL: `https://${host}/v1`, apiKey: task.key }));
    sideband.on('event', (event) => inbox.add(event));
    sideband.on('error', (error) => {
      if (!error.error) throw error;
    });
    return (event) => sideband.send(event);
  },
  async agents(host, callId, inbox) {
    const { OpenAIRealtimeWebSocket } = await import('@openai/agents-realtime');
    const transport = new OpenAIRealtimeWebSocket();
    transport.on('*', (event) => inbox.add(event));
    transport.on('error', () => undefined);
    await transport.connect({ apiKey: task.key, url: `wss://${host}/v1/realtime?call_id=${callId}` });
    return (event) => transport.sendEvent(event);
  },
};

await run(async ({ host }) => {
  const inbox = new Inbox();
  const send = await connect[task.form](host, task.ids[host], inbox);
  const report = { created: (await inbox.next('session.created')).session };
  send({
    type: 'conversation.item.create',
    item: { type: 'message', role: 'system', content: [{ type: 'input_text', text: 'Offer a refund.' }] },
  });
  send({ type: 'response.create', response: { output_modalities: ['text'] } });
  report.answer = (await inbox.next('response.done')).response;
  send({ type: 'conversation.item.retrieve', item_id: report.answer.output[0].id });
  report.item = (await inbox.next('conversation.item.retrieved')).item;
  send({ type: 'response.cancel', event_id: 'evt_mine' });
  report.error = (await inbox.next('error')).error;
  report.types = inbox.events.map(({ type }) => type);
  return report;
});
