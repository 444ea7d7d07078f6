// openai 7 in a session that only transcribes, which earlier versions have no class for.
import { OpenAI } from 'openai-v7';
import { OpenAIRealtimeWS } from 'openai-v7/realtime/ws';
import { Inbox, pieces, run, silence, speech, task } from './script.mjs';

await run(async ({ origin }) => {
  const inbox = new Inbox();
  const client = new OpenAI({ baseURL: `${origin}/v1`, apiKey: task.key });
  const realtime = new OpenAIRealtimeWS({ intent: 'transcription' }, client);
  realtime.on('event', (event) => inbox.add(event));
  realtime.on('error', (error) => {
    throw error;
  });
  const report = { created: (await inbox.next('session.created')).session };
  const audio = { input: { turn_detection: { type: 'server_vad', silence_duration_ms: 400 } } };
  realtime.send({ type: 'session.update', session: { type: 'transcription', audio } });
  report.updated = (await inbox.next('session.updated')).session;
  for (const pcm of pieces(speech, silence)) {
    realtime.send({ type: 'input_audio_buffer.append', audio: pcm.toString('base64') });
  }
  const { transcript } = await inbox.next('conversation.item.input_audio_transcription.completed');
  realtime.close();
  return { ...report, transcript };
});
