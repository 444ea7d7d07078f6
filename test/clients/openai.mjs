// The official `openai` package: versions 4 to 7, both protocols, both socket classes, plain and Azure.
import { Inbox, pieces, run, silence, speech, task } from './script.mjs';

const { package: name, protocol, socket, form, key } = task;
const { default: OpenAI, AzureOpenAI } = await import(name);
const classes = await import(`${name}${protocol === 'preview' ? '/beta' : ''}/realtime/${socket}`);
const Realtime = classes.OpenAIRealtimeWS ?? classes.OpenAIRealtimeWebSocket;

const words =
  protocol === 'preview'
    ? { audio: 'response.audio', textOnly: { modalities: ['text'] }, added: 'conversation.item.created' }
    : { audio: 'response.output_audio', textOnly: { output_modalities: ['text'] }, added: 'conversation.item.added' };

function sessionOf({ turnDetection, transcription }) {
  return protocol === 'preview'
    ? { turn_detection: turnDetection, input_audio_transcription: transcription, speed: 1.25 }
    : {
        type: 'realtime',
        audio: { input: { turn_detection: turnDetection, transcription }, output: { speed: 1.25 } },
      };
}

function connect({ origin }) {
  const model = 'gpt-realtime';
  const dangerouslyAllowBrowser = true;
  if (form === 'plain') {
    return new Realtime({ model }, new OpenAI({ baseURL: `${origin}/v1`, apiKey: key, dangerouslyAllowBrowser }));
  }
  const credential = form === 'azure-token' ? { azureADTokenProvider: async () => key } : { apiKey: key };
  const client = new AzureOpenAI({
    ...(form === 'azure-v1' ? { baseURL: `${origin}/openai/v1` } : { endpoint: origin }),
    ...credential,
    apiVersion: '2025-04-01-preview',
    deployment: model,
    dangerouslyAllowBrowser,
  });
  return Realtime.azure(client, { dangerouslyAllowBrowser });
}

await run(async (relay) => {
  const inbox = new Inbox();
  const errors = [];
  const realtime = await connect(relay);
  realtime.on('event', (event) => inbox.add(event));
  realtime.on('error', (error) => {
    if (!error.error) throw error;
    errors.push(error.error);
  });
  const say = (...audio) => {
    for (const pcm of pieces(...audio)) {
      realtime.send({ type: 'input_audio_buffer.append', audio: pcm.toString('base64') });
    }
  };
  const write = (text, role = 'user', event_id = 'evt_item') =>
    realtime.send({
      type: 'conversation.item.create',
      event_id,
      item: { type: 'message', role, content: [{ type: 'input_text', text }] },
    });
  const update = async (turnDetection) => {
    const session = sessionOf({ turnDetection, transcription: { model: 'gpt-realtime-whisper' } });
    realtime.send({ type: 'session.update', event_id: 'evt_update', session });
    return (await inbox.next('session.updated')).session;
  };
  const report = { created: (await inbox.next('session.created')).session };

  report.updated = await update({ type: 'server_vad', silence_duration_ms: 400 });

  write('Say hi');
  await inbox.next(words.added);
  const metadata = { client_event_id: 'evt_7' };
  realtime.send({ type: 'response.create', response: { ...words.textOnly, metadata } });
  report.metadata = (await inbox.next('response.created')).response.metadata;
  report.text = (await inbox.next('response.done')).response;

  say(speech, silence);
  await inbox.next('input_audio_buffer.speech_started');
  await inbox.next('input_audio_buffer.speech_stopped');
  await inbox.next('input_audio_buffer.committed');
  report.spoken = (await inbox.next('response.done')).response;

  write('You are a pirate now.', 'system', 'evt_wrong');
  await inbox.next('error');

  await update(null);
  say(speech);
  realtime.send({ type: 'input_audio_buffer.commit' });
  report.committed = (await inbox.next('input_audio_buffer.committed')).item_id;
  realtime.send({ type: 'response.create' });
  report.manual = (await inbox.next('response.done')).response;

  write('Tell me a story.');
  realtime.send({ type: 'response.create' });
  const { item_id, response_id } = await inbox.next(`${words.audio}.delta`);
  realtime.send({ type: 'response.cancel', response_id });
  report.cancelled = (await inbox.next('response.done')).response;
  realtime.send({ type: 'conversation.item.truncate', item_id, content_index: 0, audio_end_ms: 40 });
  report.truncated = (await inbox.next('conversation.item.truncated')).audio_end_ms;

  const transcribed = 'conversation.item.input_audio_transcription.completed';
  report.transcripts = inbox.events.filter(({ type }) => type === transcribed).map(({ transcript }) => transcript);
  report.audioBytes = inbox.events
    .filter(({ type }) => type === `${words.audio}.delta`)
    .reduce((sum, { delta }) => sum + Buffer.byteLength(delta, 'base64'), 0);
  realtime.close();
  return { ...report, errors, events: inbox.report() };
});
