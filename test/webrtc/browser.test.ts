import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { noBrowser, shareBrowser } from '../support/browser.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';

/** What the page of an app does, on an origin of its own; it tells of itself in `window.told`. */
const page = `<!doctype html><title>app</title><script type="module">
  const told = (window.told = { events: [], loudest: 0, answer: null, closed: false });
  window.start = async (url, token) => {
    const peer = (window.peer = new RTCPeerConnection());
    const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
    peer.addTrack(microphone.getTracks()[0], microphone);
    peer.ontrack = ({ streams: [stream] }) => {
      const sound = new Audio();
      sound.srcObject = stream;
      void sound.play();
      const context = new AudioContext();
      const analyser = context.createAnalyser();
      context.createMediaStreamSource(stream).connect(analyser);
      const samples = new Float32Array(analyser.fftSize);
      setInterval(() => {
        analyser.getFloatTimeDomainData(samples);
        told.loudest = Math.max(told.loudest, ...samples);
      }, 50);
    };
    const channel = (window.channel = peer.createDataChannel('oai-events'));
    channel.onmessage = ({ data }) => told.events.push(JSON.parse(data).type);
    channel.onclose = () => { told.closed = true; };
    await peer.setLocalDescription();
    const answer = await fetch(url, {
      method: 'POST',
      body: peer.localDescription.sdp,
      headers: { Authorization: 'Bearer ' + token, 'Content-Type': 'application/sdp' },
    });
    told.answer = { status: answer.status, location: answer.headers.get('Location') };
    await peer.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
  };
</script>`;

interface Told {
  events: string[];
  loudest: number;
  answer: { status: number; location: string | null } | null;
  closed: boolean;
}
declare const window: { told: Told; start(url: string, token: string): Promise<void> };

const shared = shareBrowser('question-order', 3);

/** A tab of the page, on an origin that a relay allows, which has begun to call with a voice that asks for its order. */
async function callingTab() {
  const server = createServer((_request, response) => response.setHeader('content-type', 'text/html').end(page));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const emulator = await startTestEmulator();
  const relay = await startTestRelay({ upstream: emulator.url, env: { RELAY_ALLOWED_ORIGINS: origin } });
  const browser = shared();
  const tab = await browser.open(origin);

  const url = `${relay.relay.url}/v1/realtime/calls`;
  await tab.evaluate(([to, token]) => window.start(to as string, token as string), [url, relay.token()]);
  return { emulator, relay, browser, tab };
}

describe.skipIf(noBrowser)('a page on an allowed origin', () => {
  it('speaks and is answered through a call, which ends when its owner hangs up', { timeout: 60_000 }, async () => {
    const { emulator, relay, browser, tab } = await callingTab();
    await tab.waitForFunction(() => window.told.events.includes('output_audio_buffer.started'));
    await tab.waitForFunction(() => window.told.loudest > 0.01);
    const { events, answer } = await tab.evaluate(() => window.told);
    expect(events).toContain('input_audio_buffer.speech_stopped');
    expect(answer).toEqual({
      status: 201,
      location: expect.stringMatching(/^\/v1\/realtime\/calls\/call_[0-9a-f]{32}$/),
    });
    expect(await relay.logged('session.opened')).toMatchObject({ transport: 'webrtc' });

    const hangUp = `${relay.relay.url}${answer?.location}/hangup`;
    const hungUp = await fetch(hangUp, { method: 'POST', headers: { authorization: `Bearer ${relay.token()}` } });
    expect(hungUp.status).toBe(200);
    await tab.waitForFunction(() => window.told.closed);
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'normal', initiator: 'client' });
    expect(browser.requests.filter((asked) => asked.startsWith(emulator.url))).toEqual([]);
    expect(browser.complaints.filter((text) => !text.includes('favicon'))).toEqual([]);
  });

  it('of a closed tab leaves no call behind', { timeout: 60_000 }, async () => {
    const { emulator, relay, tab } = await callingTab();
    await relay.logged('session.opened');
    await tab.goto('about:blank');
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'normal', initiator: 'upstream' });
    expect(emulator.control.calls.records.open).toEqual([]);
  });
});
