/** Sends a recording as a microphone would: in small pieces, in real time, and then silence. */

import type { SoundFormat } from '../audio/formats.js';

const pieceSeconds = 0.04;
// After the machine slept, the sound of the missed time goes out over several ticks and not as one flood.
const piecesPerTick = 50;

/** What a microphone needs; the times are those of the sound, not of the clock. */
export interface MicrophoneOptions {
  /** Mono, at the rate of `format`. */
  readonly samples: Int16Array;
  readonly format: SoundFormat;
  /** Pace of sending; 1 is real time. */
  readonly speed: number;
  /** Takes one piece; false means that the network has fallen behind, and the piece is offered again. */
  readonly send: (bytes: Uint8Array) => boolean;
  /** Called after the last piece of the recording, and then after each piece of silence. */
  readonly silence: (seconds: number) => void;
}

/** Starts sending; the result ends it. */
export function startMicrophone({ samples, format, speed, send, silence }: MicrophoneOptions): () => void {
  const pieceLength = Math.round(format.rate * pieceSeconds);
  const recordingPieces = Math.ceil(samples.length / pieceLength);
  const quiet = format.encode(new Int16Array(pieceLength));
  const startedAt = performance.now();
  let sent = 0;
  let stopped = false;

  const piece = (index: number) => {
    if (index >= recordingPieces) return quiet;
    const part = new Int16Array(pieceLength);
    part.set(samples.subarray(index * pieceLength, (index + 1) * pieceLength));
    return format.encode(part);
  };

  const tick = () => {
    const elapsedSeconds = (performance.now() - startedAt) / 1000;
    const due = Math.min(Math.floor((elapsedSeconds * speed) / pieceSeconds) + 1, sent + piecesPerTick);
    while (!stopped && sent < due && send(piece(sent))) {
      sent++;
      if (sent >= recordingPieces) silence((sent - recordingPieces) * pieceSeconds);
    }
  };

  const timer = setInterval(tick, Math.max(1, (1000 * pieceSeconds) / speed));
  return () => {
    stopped = true;
    clearInterval(timer);
  };
}
