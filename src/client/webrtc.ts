/** WebRTC: sound as media, events on a data channel, and one HTTP request to the relay to set both up. */

import type { OpenTransport, RealtimeEvent, TransportEnd } from './transport.js';

/** Candidates that are found later than this are not waited for; the relay's side is reachable by the first ones. */
const gatherMs = 250;

/**
 * A call: `POST …/v1/realtime/calls` with the SDP offer; the answer's `Location` names the call. The label of the data
 * channel is the one that OpenAI's own samples use.
 */
export const openCall: OpenTransport = (address, token, handlers) => {
  const peer = new RTCPeerConnection();
  const audio = peer.addTransceiver('audio', { direction: 'sendrecv' });
  const channel = peer.createDataChannel('oai-events');
  const stopped = new AbortController();
  let isOver = false;

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
  channel.addEventListener('message', ({ data }) => handlers.received(JSON.parse(String(data)) as RealtimeEvent));
  channel.addEventListener('close', () => finish({ code: 1006, reason: '' }));
  peer.addEventListener('track', ({ streams, track }) => handlers.heard?.(streams[0] ?? new MediaStream([track])));
  peer.addEventListener('connectionstatechange', () => {
    if (peer.connectionState === 'failed') {
      finish({ code: 1006, reason: '', message: 'No network path for WebRTC was found.' });
    }
  });

  async function dial(): Promise<void> {
    await peer.setLocalDescription();
    await gathered(peer);
    const answer = await fetch(new URL('v1/realtime/calls', address.endsWith('/') ? address : `${address}/`), {
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
      if (channel.readyState === 'open') channel.send(JSON.stringify(event));
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
    return { code: 1008, reason: 'webrtc_not_offered', message: 'This relay does not offer WebRTC; use WebSocket.' };
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
