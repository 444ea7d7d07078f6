// A page with the official `openai` package: its class for browsers, which dials wss:// with the key as a subprotocol.
import OpenAI from 'openai';
import { OpenAIRealtimeWebSocket } from 'openai/realtime/websocket';

const piece = 4800;

/** The user's speech, and the silence after which it is over, in pieces of 100 ms as base64. */
async function* pieces() {
  const file = new Uint8Array(await (await fetch('/speech.wav')).arrayBuffer());
  const pcm = new Uint8Array(file.length - 44 + 48_000);
  pcm.set(file.subarray(44));
  for (let at = 0; at < pcm.length; at += piece) yield btoa(String.fromCharCode(...pcm.subarray(at, at + piece)));
}

/** A client secret, asked for by the page itself. */
window.mint = async (relay, token) => {
  const answer = await fetch(`${relay}/v1/realtime/client_secrets`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${token}` },
  });
  return (await answer.json()).value;
};

/** Speaks once; resolves to what came of it, or to the error that ended it. */
window.speak = (relay, key) => {
  const client = new OpenAI({ baseURL: `${relay}/v1`, apiKey: key, dangerouslyAllowBrowser: true });
  const realtime = new OpenAIRealtimeWebSocket({ model: 'gpt-realtime' }, client);
  const told = {
    url: realtime.url.href,
    opened: false,
    types: [],
    transcript: '',
    audioBytes: 0,
    error: null,
    close: null,
  };
  return new Promise((resolve) => {
    const end = () => {
      realtime.close();
      resolve(told);
    };
    realtime.socket.addEventListener('open', () => {
      told.opened = true;
    });
    realtime.socket.addEventListener('close', ({ code, reason }) => {
      told.close = { code, reason };
      resolve(told);
    });
    realtime.on('error', (error) => {
      told.error = { message: error.message, code: error.error?.code ?? null };
      // A refusal is followed by its close frame.
      if (!told.opened) end();
    });
    realtime.on('event', ({ type }) => told.types.push(type));
    realtime.on('session.created', async () => {
      for await (const audio of pieces()) realtime.send({ type: 'input_audio_buffer.append', audio });
    });
    realtime.on('response.output_audio.delta', ({ delta }) => {
      told.audioBytes += atob(delta).length;
    });
    realtime.on('response.output_audio_transcript.done', ({ transcript }) => {
      told.transcript = transcript;
    });
    realtime.on('response.done', end);
  });
};
