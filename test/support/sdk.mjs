// Drives a relay with the official `openai` package, as an app would: only base URL and key are given.
// Run as a process of its own because a certificate authority is taken from the environment at start.
import { readFileSync } from 'node:fs';
import OpenAI from 'openai';
import { OpenAIRealtimeWebSocket } from 'openai/realtime/websocket';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';

const [kind, baseURL, apiKey, wav] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, dangerouslyAllowBrowser: true });
const realtime =
  kind === 'node'
    ? new OpenAIRealtimeWS({ model: 'gpt-realtime' }, client)
    : new OpenAIRealtimeWebSocket({ model: 'gpt-realtime' }, client);

const seen = [];
const waiters = [];
realtime.on('event', (event) => {
  seen.push(event);
  for (const waiter of [...waiters])
    if (waiter.type === event.type) waiters.splice(waiters.indexOf(waiter), 1)[0].resolve(event);
});
realtime.on('error', (error) => {
  console.error(error);
  process.exit(1);
});
const next = (type) => new Promise((resolve) => waiters.push({ type, resolve }));

const created = await next('session.created');

let done = next('response.done');
realtime.send({
  type: 'conversation.item.create',
  item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Say hi' }] },
});
realtime.send({ type: 'response.create', response: { output_modalities: ['text'] } });
const text = (await done).response;

done = next('response.done');
const pcm = readFileSync(wav).subarray(44);
for (let at = 0; at < pcm.length; at += 4800) {
  realtime.send({ type: 'input_audio_buffer.append', audio: pcm.subarray(at, at + 4800).toString('base64') });
}
const silence = Buffer.alloc(48_000).toString('base64');
realtime.send({ type: 'input_audio_buffer.append', audio: silence });
const spoken = (await done).response;

const audioBytes = seen
  .filter(({ type }) => type === 'response.output_audio.delta')
  .reduce((sum, { delta }) => sum + Buffer.from(delta, 'base64').length, 0);
realtime.close();
console.log(JSON.stringify({ session: created.session, text, spoken, audioBytes }));
process.exit(0);
