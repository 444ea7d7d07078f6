/** What is to be said, to whom and where the answer goes: checked before anything is dialed. */

import { constants } from 'node:fs';
import { access, readFile, stat } from 'node:fs/promises';
import { basename, dirname, extname, resolve } from 'node:path';
import { resample } from '../audio/resample.js';
import { mixToMono, readWav } from '../audio/wav.js';
import { realtimeUrl } from './address.js';

const maxRecordingBytes = 100 * 1024 * 1024;
// Azure ends a session after 30 minutes.
const maxRecordingSeconds = 30 * 60;
// Below this the samples are the noise of a microphone that was off.
const quietestPeak = 100;

/** The rate of the protocol's PCM, and enough for its other formats. */
export const recordingRate = 24_000;

/** What is to be said, to which relay, and how. */
export interface TalkOptions {
  /** Base URL of the relay or its full realtime URL; http(s) or ws(s). */
  readonly url: string;
  /** The credential, sent as `Authorization: Bearer`. */
  readonly token: string;
  /** Path of the recording to say: any PCM WAV file. */
  readonly wav?: string | undefined;
  /** Path for the answer; `<name>.answer.wav` in the current directory when left out. */
  readonly out?: string | undefined;
  /** Sent as a text turn, in place of `wav`. */
  readonly text?: string | undefined;
  /** Pace of sending, 0.1 to 1000; 1 is real time, and relays limit what is much faster. */
  readonly speed?: number | undefined;
  /** How long to wait for everything, not counting the time it takes to send the recording; 60 when left out. */
  readonly timeoutSeconds?: number | undefined;
  /** Accepts any TLS certificate. */
  readonly insecure?: boolean | undefined;
  /** Takes each line of the conversation as it happens; the last one says why it failed, if it did. */
  readonly print: (line: string) => void;
  /** Ends the conversation cleanly; what was heard by then is kept. */
  readonly signal?: AbortSignal | undefined;
}

/** Mono sound at `recordingRate`. */
export interface Recording {
  readonly name: string;
  readonly samples: Int16Array;
  readonly isSilent: boolean;
}

/** Options that hold together. */
export interface Plan {
  readonly url: URL;
  readonly out: string;
  readonly speed: number;
  /** Null for a text turn. */
  readonly recording: Recording | null;
}

/** Checks the options and reads the recording. Throws an Error that says which of them is wrong and what would be right. */
export async function makePlan({ url, token, wav, out, text, speed = 1, timeoutSeconds }: TalkOptions): Promise<Plan> {
  const target = realtimeUrl(url);
  if (!token) throw new Error('There is no token; `realtime-relay token` makes one.');
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new Error('The token holds characters that no token has; was it pasted with a space or a line break?');
  }
  if (!(speed >= 0.1 && speed <= 1000)) throw new Error('The speed has to be 0.1 to 1000; 1 is real time.');
  if (timeoutSeconds !== undefined && !(timeoutSeconds > 0 && timeoutSeconds <= 86_400)) {
    throw new Error('The time limit has to be over 0 s and at most a day.');
  }
  if (!wav && !text) throw new Error('There is nothing to say; give a WAV file or a text.');
  const recording = wav && !text ? await record(wav) : null;

  const file = out ?? `${recording ? basename(recording.name, extname(recording.name)) : 'talk'}.answer.wav`;
  if (wav && resolve(wav) === resolve(file)) {
    throw new Error(`The answer would overwrite the recording ${wav}; name another file for it.`);
  }
  await access(dirname(resolve(file)), constants.W_OK).catch((error: Error) => {
    throw new Error(`The answer cannot be written to ${file}: ${error.message}`);
  });
  return { url: target, out: file, speed, recording };
}

async function record(path: string): Promise<Recording> {
  try {
    const file = await stat(path);
    if (!file.isFile()) throw new Error('it is not a file.');
    if (file.size > maxRecordingBytes) throw new Error('it is over 100 MiB; use a shorter one.');
    const { samples, channels, sampleRate } = readWav(await readFile(path));
    const seconds = samples.length / channels / sampleRate;
    if (seconds === 0) throw new Error('it holds no sound.');
    if (seconds > maxRecordingSeconds) throw new Error('it is longer than a session of 30 minutes; use a shorter one.');
    const mono = resample(mixToMono(samples, channels), sampleRate, recordingRate);
    const peak = mono.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
    return { name: basename(path), samples: mono, isSilent: peak < quietestPeak };
  } catch (error) {
    throw new Error(`Cannot read the recording ${path}: ${(error as Error).message}`);
  }
}
