/** Runs in the page: listens to what comes out of the loudspeaker while the client talks. */

import type { RelayClient } from '../../src/client/relay-client.js';

/** What the page's window holds. */
export interface Recording {
  relay: RelayClient;
  recording: {
    loudest: number;
    /** When the answer that was interrupted became audible, in the page's milliseconds. */
    loudFrom: number;
    /** When something was audible last, before the next answer. */
    loudUntil: number;
    speechStartedAt: number;
    truncated: { audio_end_ms: number };
    /** Enough time has passed after the interruption to be sure. */
    isSettled: boolean;
  };
}

/** Starts to listen, until 600 ms after the first interruption. */
export function record(): void {
  const audible = 0.002;
  const page = window as unknown as Recording;
  const { relay } = page;
  const made = { loudest: 0, loudFrom: 0, loudUntil: 0, speechStartedAt: 0, truncated: { audio_end_ms: 0 } };
  page.recording = { ...made, isSettled: false };
  const { recording } = page;
  relay.on('event', ({ event }) => {
    // Of a call only the loudspeaker knows whether the model speaks.
    const isSpeaking = relay.isSpeaking || (relay.carriesAudio && recording.loudUntil > performance.now() - 100);
    if (event.type === 'input_audio_buffer.speech_started' && isSpeaking && !recording.speechStartedAt) {
      recording.speechStartedAt = performance.now();
    }
    if (event.type === 'conversation.item.truncate') {
      recording.truncated = { audio_end_ms: Number(event.audio_end_ms) };
    }
  });
  const timer = setInterval(() => {
    const { model } = relay.levels;
    const now = performance.now();
    recording.loudest = Math.max(recording.loudest, model);
    if (model > audible) {
      recording.loudFrom ||= now;
      recording.loudUntil = now;
    }
    if (!recording.speechStartedAt || now - recording.speechStartedAt < 600) return;
    recording.isSettled = true;
    clearInterval(timer);
  }, 5);
}

/** What was recorded. */
export function recording(): Recording['recording'] {
  return (window as unknown as Recording).recording;
}
