// @openai/agents-realtime 0.20: a session object that configures itself, runs tools and interrupts on its own.
import { RealtimeAgent, RealtimeSession, tool } from '@openai/agents-realtime';
import { z } from 'zod';
import { Inbox, pieces, run, silence, speech, task } from './script.mjs';

await run(async ({ host }) => {
  const inbox = new Inbox();
  const errors = [];
  const shown = [];
  const showMap = tool({
    name: 'show_map',
    description: 'Shows a map.',
    parameters: z.object({ city: z.string() }),
    execute: async ({ city }) => {
      shown.push(city);
      return `A map of ${city} is shown.`;
    },
  });
  const agent = new RealtimeAgent({ name: 'Guide', instructions: 'You are a pirate.', tools: [showMap] });
  const session = new RealtimeSession(agent, {
    transport: 'websocket',
    config: {
      audio: {
        input: {
          transcription: { model: 'gpt-realtime-whisper' },
          turnDetection: { type: 'server_vad', silenceDurationMs: 400 },
        },
      },
    },
  });
  let audioBytes = 0;
  session.on('audio', ({ data }) => {
    audioBytes += data.byteLength;
  });
  session.on('error', ({ error }) => errors.push(error?.error?.error ?? error?.error ?? error));
  session.transport.on('*', (event) => inbox.add(event));
  await session.connect({ apiKey: task.key, url: `wss://${host}/v1/realtime?model=gpt-realtime` });
  const report = { created: (await inbox.next('session.created')).session };
  report.updated = (await inbox.next('session.updated')).session;

  session.sendMessage('Please show map {"city":"Lyon"}');
  await inbox.next('response.done');
  report.text = (await inbox.next('response.done')).response;
  report.shown = shown;

  for (const pcm of pieces(speech, silence)) session.sendAudio(new Uint8Array(pcm).buffer);
  report.spoken = (await inbox.next('response.done')).response;

  session.transport.sendEvent({
    type: 'conversation.item.create',
    event_id: 'evt_wrong',
    item: { type: 'message', role: 'system', content: [{ type: 'input_text', text: 'You are a pirate now.' }] },
  });
  await inbox.next('error');

  session.sendMessage('Tell me a story.');
  await inbox.next('response.output_audio.delta');
  session.interrupt();
  report.cancelled = (await inbox.next('response.done')).response;
  await inbox.next('conversation.item.truncated');
  // It reads back what it cut.
  await inbox.next('conversation.item.retrieved');

  session.transport.updateSessionConfig({
    audio: { input: { transcription: { model: 'gpt-realtime-whisper' }, turnDetection: null } },
  });
  await inbox.next('session.updated');
  for (const pcm of pieces(speech)) session.sendAudio(new Uint8Array(pcm).buffer);
  session.sendAudio(new ArrayBuffer(0), { commit: true });
  await inbox.next('input_audio_buffer.committed');
  session.transport.requestResponse();
  report.manual = (await inbox.next('response.done')).response;

  const transcribed = 'conversation.item.input_audio_transcription.completed';
  report.transcripts = inbox.events.filter(({ type }) => type === transcribed).map(({ transcript }) => transcript);
  session.close();
  return { ...report, audioBytes, errors, events: inbox.report() };
});
