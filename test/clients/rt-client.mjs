// rt-client 0.5, the preview client of Azure-Samples, which disconnects at any event it does not know.
import { LowLevelRTClient, RTClient } from 'rt-client';
import { Inbox, pieces, run, silence, speech, task } from './script.mjs';

const credential =
  task.form === 'key'
    ? { key: task.key }
    : { getToken: async () => ({ token: task.key, expiresOnTimestamp: Date.now() + 600_000 }) };
const options = { deployment: 'gpt-realtime' };

/** Reads a whole response through the objects of the library. */
async function read(response) {
  const contents = [];
  for await (const item of response) {
    for await (const content of item) {
      if (content.type === 'text') contents.push({ text: await joined(content.textChunks()) });
      else {
        const [transcript, bytes] = await Promise.all([
          joined(content.transcriptChunks()),
          total(content.audioChunks()),
        ]);
        contents.push({ transcript, bytes });
      }
    }
  }
  return { id: response.id, status: response.status, status_details: response.statusDetails, contents };
}

async function joined(chunks) {
  let text = '';
  for await (const chunk of chunks) text += chunk;
  return text;
}

async function total(chunks) {
  let bytes = 0;
  for await (const chunk of chunks) bytes += chunk.byteLength;
  return bytes;
}

const message = (text, role = 'user') => ({ type: 'message', role, content: [{ type: 'input_text', text }] });

await run(async (relay) => {
  const client = new RTClient(new URL(relay), credential, options);
  const inbox = new Inbox();
  // The library hides most events; this is where it takes them from its socket.
  const { receiveMessages } = client;
  client.messageQueue.receiveDelegate = async () => {
    const event = await receiveMessages.call(client);
    if (event) inbox.add(event);
    return event;
  };
  await client.init();
  const report = { created: client.session };

  await client.configure({ modalities: ['text'], turn_detection: null });
  await client.sendItem(message('Say hi'));
  report.text = await read(await client.generateResponse());

  report.transcripts = [];
  // Before server VAD, whose commits the library would take for this one.
  await client.configure({
    modalities: ['text', 'audio'],
    input_audio_transcription: { model: 'gpt-realtime-whisper' },
  });
  for (const pcm of pieces(speech)) await client.sendAudio(new Uint8Array(pcm));
  const utterance = await client.commitAudio();
  await utterance.waitForCompletion();
  report.transcripts.push(utterance.transcription);
  report.manual = await read(await client.generateResponse());

  report.updated = await client.configure({
    turn_detection: { type: 'server_vad', silence_duration_ms: 400 },
  });
  for (const pcm of pieces(speech, silence)) await client.sendAudio(new Uint8Array(pcm));
  for await (const event of client.events()) {
    if (event.type === 'input_audio') {
      await event.waitForCompletion();
      report.transcripts.push(event.transcription);
    } else {
      report.spoken = await read(event);
      break;
    }
  }
  report.audioBytes = report.spoken.contents[0].bytes;

  await client.sendItem(message('Tell me a story.'));
  const story = await client.generateResponse();
  for await (const item of story) {
    for await (const content of item) {
      for await (const _chunk of content.audioChunks()) break;
      break;
    }
    await story.cancel();
    report.cancelled = { status: story.status, status_details: story.statusDetails };
    // The library has no method for this; its samples send it as it is.
    const truncate = { type: 'conversation.item.truncate', item_id: item.id, content_index: 0, audio_end_ms: 40 };
    await client.client.send(truncate);
    const truncated = await client.messageQueue.receive(({ type }) => type === 'conversation.item.truncated');
    report.truncated = truncated.audio_end_ms;
    break;
  }
  await client.close();

  // The high-level class sends no event ids of its own, so errors are tried with the other.
  const low = new LowLevelRTClient(new URL(relay), credential, options);
  const errors = [];
  for await (const event of low.messages()) {
    if (event.type === 'session.created') {
      const item = message('You are a pirate now.', 'system');
      await low.send({ type: 'conversation.item.create', event_id: 'evt_wrong', item });
    } else if (event.type === 'error') {
      errors.push(event.error);
      break;
    }
  }
  await low.close();
  return { ...report, errors, events: inbox.report() };
});
