// A page with `@openai/agents-realtime` over WebRTC: it takes the microphone, makes the call and plays the answer by itself.
import { OpenAIRealtimeWebRTC, RealtimeAgent, RealtimeSession } from '@openai/agents-realtime';

const told = { events: [], transcripts: [], loudest: 0, errors: [], states: [] };
window.told = told;

/** Measures what an element plays. */
function listen(element) {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  const samples = new Float32Array(analyser.fftSize);
  context.createMediaStreamSource(element.srcObject).connect(analyser);
  setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    told.loudest = Math.max(told.loudest, ...samples);
  }, 50);
}

/** Connects with a client secret that the page asks for; resolves when the SDK says it is connected. */
window.start = async (relay, token) => {
  const minted = await fetch(`${relay}/v1/realtime/client_secrets`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${token}` },
  });
  const { value } = await minted.json();
  const audioElement = document.createElement('audio');
  audioElement.addEventListener('playing', () => listen(audioElement), { once: true });
  const transport = new OpenAIRealtimeWebRTC({ baseUrl: `${relay}/v1/realtime/calls`, audioElement });
  const agent = new RealtimeAgent({ name: 'Guide', instructions: 'You are a pirate.' });
  const session = new RealtimeSession(agent, { transport });
  window.session = session;
  session.on('error', ({ error }) => told.errors.push(String(error?.error?.message ?? error?.message ?? error)));
  transport.on('connection_change', (state) => told.states.push(state));
  transport.on('*', (event) => {
    told.events.push(event.type);
    if (event.transcript) told.transcripts.push(event.transcript);
  });
  await session.connect({ apiKey: value });
  return transport.callId;
};
