// openai-realtime-api 1.0.8, a preview client that keeps a conversation of its own; once the reference console's base.
import { Inbox, pieces, run, silence, speech, task } from './script.mjs';

// The package takes the WebSocket of the platform where there is one.
if (task.socket === 'ws') delete globalThis.WebSocket;
const { RealtimeClient } = await import('openai-realtime-api');

const samples = (pcm) => new Int16Array(new Uint8Array(pcm).buffer);

await run(async ({ host }) => {
  const client = new RealtimeClient({
    url: `wss://${host}/v1/realtime`,
    apiKey: task.key,
    sessionConfig: { modalities: ['text'], input_audio_transcription: { model: 'gpt-realtime-whisper' } },
  });
  const inbox = new Inbox();
  const errors = [];
  const sent = [];
  client.realtime.on('client.conversation.item.create', ({ event_id }) => sent.push(event_id));
  client.realtime.on('server.*', (event) => {
    inbox.add(event);
    if (event.type === 'error') errors.push(event.error);
  });
  await client.connect();
  await client.waitForSessionCreated();
  const report = { created: (await inbox.next('session.created')).session };
  await inbox.next('session.updated');
  const say = (...audio) => {
    for (const pcm of pieces(...audio)) client.appendInputAudio(samples(pcm));
  };

  client.sendUserMessageContent([{ type: 'input_text', text: 'Say hi' }]);
  report.text = (await inbox.next('response.done')).response;

  const turn_detection = { type: 'server_vad', silence_duration_ms: 400 };
  client.updateSession({ modalities: ['text', 'audio'], turn_detection });
  report.updated = (await inbox.next('session.updated')).session;
  say(speech, silence);
  report.spoken = (await inbox.next('response.done')).response;

  client.realtime.send('conversation.item.create', {
    item: { type: 'message', role: 'system', content: [{ type: 'input_text', text: 'You are a pirate now.' }] },
  });
  const { error } = await inbox.next('error');
  if (error.event_id !== sent.at(-1)) throw new Error('the error does not name the event that caused it');

  client.updateSession({ turn_detection: null });
  await inbox.next('session.updated');
  client.inputAudioBuffer = new Int16Array(0);
  say(speech);
  client.createResponse();
  report.committed = (await inbox.next('input_audio_buffer.committed')).item_id;
  report.manual = (await inbox.next('response.done')).response;

  client.sendUserMessageContent([{ type: 'input_text', text: 'Tell me a story.' }]);
  const { item_id } = await inbox.next('response.audio.delta');
  client.cancelResponse(item_id, 24 * 40);
  report.cancelled = (await inbox.next('response.done')).response;
  report.truncated = (await inbox.next('conversation.item.truncated')).audio_end_ms;

  const items = client.conversation.getItems();
  report.audioBytes = items.reduce(
    (sum, { role, formatted }) => sum + (role === 'assistant' ? formatted.audio.byteLength : 0),
    0,
  );
  report.transcripts = items
    .filter(({ role, content }) => role === 'user' && content[0]?.type === 'input_audio')
    .map(({ formatted }) => formatted.transcript);
  client.disconnect();
  return { ...report, errors, events: inbox.report() };
});
