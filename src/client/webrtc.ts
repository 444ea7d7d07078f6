/** WebRTC: sound as media, events on a data channel, and one HTTP request to the relay to set both up. */

import { doorOf, eventOf, notARelay, type OpenTransport, type Transport, type TransportEnd } from './transport.js';

/** Candidates that are found later than this are not waited for; the relay's side is reachable by the first ones. */
const gatherMs = 250;

// No exit of a relay has this code: asking again would change nothing.
const notOffered: TransportEnd = { code: 1002, reason: 'webrtc_not_offered' };
const nothing: Transport = { carriesAudio: true, bufferedBytes: 0, send: () => undefined, close: () => undefined };

/**
 * A call: `POST …/v1/realtime/calls` with the SDP offer; the answer's `Location` names the call. The label of the data
 * channel is the one that OpenAI's own samples use.
 */
export const openCall: OpenTransport = (address, token, handlers) => {
  const url = doorOf(address, 'v1/realtime/calls', 'http');
  if (!globalThis.RTCPeerConnection) {
    handlers.ended({ ...notOffered, message: 'This browser has no WebRTC; use WebSocket.' });
    return nothing;
  }
  const peer = new RTCPeerConnection();
  const audio = peer.addTransceiver('audio', { direction: 'sendrecv' });
  const channel = peer.createDataChannel('oai-events');
  const stopped = new AbortController();
  let isOver = false;
  let lastState = '';

  function finish(end: TransportEnd): void {
    if (isOver) return;
    isOver = true;
    stopped.abort();
    channel.close();
    peer.close();
    handlers.ended(end);
  }

  // A relay's calls come filtered (`webrtcfilter=on` of Azure): nothing says that the session has begun but the channel.
  channel.addEventListener('open', () => handlers.opened?.());
  channel.addEventListener('message', ({ data }) => {
    if (isOver) return;
    const event = eventOf(data);
    if (event) handlers.received(event);
    else finish(notARelay);
  });
  for (const end of ['close', 'error']) channel.addEventListener(end, () => finish({ code: 1006, reason: '' }));
  peer.addEventListener('track', ({ streams, track }) => {
    track.addEventListener('ended', () => {
      if (!isOver) handlers.troubled?.('no_sound', 'The voice of the model has ended.');
    });
    handlers.heard?.(streams[0] ?? new MediaStream([track]));
  });
  // Older Firefox knows the state of ICE alone.
  peer.addEventListener('iceconnectionstatechange', () => follow(peer.connectionState ?? peer.iceConnectionState));
  peer.addEventListener('connectionstatechange', () => follow(peer.connectionState));

  function follow(state: RTCPeerConnectionState | RTCIceConnectionState): void {
    if (state === lastState) return;
    lastState = state;
    if (state === 'disconnected')
      handlers.troubled?.('call_interrupted', 'Nothing comes through; the call is kept for a while.');
    if (state === 'failed') finish({ code: 1006, reason: '', message: 'No network path for WebRTC was found.' });
  }

  async function dial(): Promise<void> {
    await peer.setLocalDescription();
    await gathered(peer);
    const answer = await fetch(url, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/sdp' },
      body: peer.localDescription?.sdp ?? '',
      signal: stopped.signal,
    });
    if (!answer.ok) {
      finish(await refusalOf(answer));
      return;
    }
    await peer.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
  }

  dial().catch((error: unknown) => finish({ code: 1006, reason: '', message: String(error) }));
  return {
    carriesAudio: true,
    get bufferedBytes() {
      return channel.bufferedAmount;
    },
    send(event) {
      if (channel.readyState !== 'open') return;
      try {
        channel.send(JSON.stringify(event));
      } catch (error) {
        handlers.troubled?.('not_sent', `${event.type} could not be sent: ${String(error)}`);
      }
    },
    setMicrophone: (track) => {
      audio.sender.replaceTrack(track).catch((error: unknown) => {
        if (!isOver) finish({ code: 1006, reason: '', message: String(error) });
      });
    },
    close: () => finish({ code: 1000, reason: 'normal' }),
  };
};

async function gathered(peer: RTCPeerConnection): Promise<void> {
  if (peer.iceGatheringState === 'complete') return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, gatherMs);
    peer.addEventListener('icegatheringstatechange', () => {
      if (peer.iceGatheringState !== 'complete') return;
      clearTimeout(timer);
      resolve();
    });
  });
}

/** A refusal over HTTP carries the same ids as a close frame; a relay without this door answers 404, 405 or 501. */
async function refusalOf(answer: Response): Promise<TransportEnd> {
  if ([404, 405, 501].includes(answer.status)) {
    return { ...notOffered, message: 'This relay does not offer WebRTC; use WebSocket.' };
  }
  const body = (await answer.json().catch(() => ({}))) as {
    error?: { code?: string; message?: string; retry_after_ms?: number };
  };
  const { code = '', message, retry_after_ms } = body.error ?? {};
  return {
    code: 1006,
    reason: code,
    ...(message !== undefined && { message }),
    ...(retry_after_ms !== undefined && { retryAfterMs: retry_after_ms }),
  };
}
