/** An operator's smoke test: says a recording to a relay, keeps the answer and tells in one line what went wrong. */

import { writeFile } from 'node:fs/promises';
import { resample } from '../audio/resample.js';
import { writeWav } from '../audio/wav.js';
import { isReadableByOthers, shown } from './address.js';
import { explainError } from './failures.js';
import { openLine } from './line.js';
import { makePlan, type Plan, type Recording, recordingRate, type TalkOptions } from './plan.js';
import { startMicrophone } from './playing.js';
import { Question, type SessionSound } from './question.js';

const defaultTimeoutSeconds = 60;
const noSpeechMs = 3000;
const transcriptWaitMs = { no: 0, perhaps: 500, yes: 2000 } as const;

export interface TalkResult {
  /** Whether the answer came, whole, and was saved where it is spoken; or all words, where the session only transcribes. */
  readonly ok: boolean;
  /** One line on what failed and what to do; it has been printed. */
  readonly reason?: string;
  /** What the relay says the user said; empty when it does not transcribe. */
  readonly heard: string;
  readonly answer: string;
  readonly answerSeconds: number;
  /** From the end of the user's speech as the relay reports it (else the commit, or the text) to the first sound. */
  readonly firstAudioMs: number | null;
  readonly sessionId: string | null;
  /** Where the answer was written; null when there is none. */
  readonly out: string | null;
}

/** Says a recording or a text to a relay and waits for the spoken answer. Does not reject for what a peer or a file does. */
export async function talk(options: TalkOptions): Promise<TalkResult> {
  const result = await attempt(options);
  if (result.reason !== undefined) options.print(`failed: ${result.reason}`);
  return result;
}

async function attempt(options: TalkOptions): Promise<TalkResult> {
  let plan: Plan;
  try {
    plan = await makePlan(options);
  } catch (error) {
    return {
      ok: false,
      reason: (error as Error).message,
      heard: '',
      answer: '',
      answerSeconds: 0,
      firstAudioMs: null,
      sessionId: null,
      out: null,
    };
  }
  const { reason: failure, conversation } = await converse(options, plan);
  const { audio, rate, ...heard } = conversation.result();
  const answerSeconds = audio.length / rate;
  let reason = failure;
  let out: string | null = null;
  if (audio.length > 0) {
    try {
      await writeFile(plan.out, writeWav(audio, rate));
      out = plan.out;
      options.print(`saved ${answerSeconds.toFixed(2)} s of answer to ${out}`);
    } catch (error) {
      reason ??= `The answer came but cannot be saved: ${(error as Error).message}`;
    }
  }
  return { ok: reason === null, ...(reason === null ? {} : { reason }), ...heard, answerSeconds, out };
}

interface Outcome {
  /** Why there is no answer, or not all of it. */
  readonly reason: string | null;
  readonly conversation: Question;
}

/** Talks until there is an answer or a reason why there is none; by then everything is closed. */
function converse(options: TalkOptions, { url, speed, recording }: Plan): Promise<Outcome> {
  const { print, signal } = options;
  const place = shown(url);
  const recordingSeconds = (recording?.samples.length ?? 0) / recordingRate / speed;
  const limitSeconds = (options.timeoutSeconds ?? defaultTimeoutSeconds) + recordingSeconds;

  return new Promise((done) => {
    const timers: NodeJS.Timeout[] = [];
    let stopMicrophone = () => {};
    let isAnswered = false;
    let isOver = false;

    const after = (ms: number, action: () => void) => void timers.push(setTimeout(action, ms));
    const end = (reason: string | null) => {
      if (isOver) return;
      isOver = true;
      stopMicrophone();
      for (const timer of timers) clearTimeout(timer);
      signal?.removeEventListener('abort', stopped);
      void line.close().then(() => done({ reason, conversation }));
    };
    const stopped = () => end(isAnswered ? null : 'Stopped before the answer was complete.');
    const tooLate = () => {
      const { lastError, waitsFor } = conversation;
      const why = line.isOpen ? waitsFor : `There was no reply from ${place}.`;
      const said = lastError ? ` The last error was: ${explainError(lastError)}` : '';
      end(isAnswered ? null : `No answer within ${Number(limitSeconds.toFixed(2))} s. ${why}${said}`);
    };

    const conversation = new Question({
      text: recording ? undefined : options.text,
      print,
      now: () => performance.now(),
      send: (event) => line.send(event),
      ready: (sound) => {
        if (recording) stopMicrophone = say(recording, sound);
      },
      settled: (reason) => {
        if (reason !== null) return end(reason);
        isAnswered = true;
        after(transcriptWaitMs[conversation.transcriptDue], () => end(null));
      },
    });

    const say = ({ name, samples, isSilent }: Recording, sound: SessionSound) => {
      print(`saying ${name} (${(samples.length / recordingRate).toFixed(1)} s)`);
      return startMicrophone({
        samples: resample(samples, recordingRate, sound.input.rate),
        format: sound.input,
        speed,
        send: (bytes) => line.sendAudio(bytes),
        silence: (seconds) => {
          conversation.silence(seconds);
          if (seconds === 0) after(noSpeechMs, () => checkSpeech(isSilent));
          if (!conversation.needsSilence) stopMicrophone();
        },
      });
    };
    const checkSpeech = (isSilent: boolean) => {
      if (conversation.heardSpeech) return;
      const why = isSilent
        ? 'it is silent; record it again.'
        : 'is it speech, and loud enough? Or has turn_detection in the profile a high threshold?';
      end(`No speech was detected in the recording: ${why}`);
    };

    const line = openLine({
      url,
      place,
      token: options.token,
      insecure: options.insecure ?? false,
      opened: (ms) => print(`connected to ${place} in ${ms} ms`),
      event: (event) => {
        conversation.take(event);
        if (isAnswered && conversation.transcriptDue === 'no') end(null);
      },
      ended: (explain) => end(isAnswered ? null : explain(conversation.lastError)),
    });
    if (isReadableByOthers(url))
      print('note: the connection is not encrypted; others can read the token and the sound');
    after(limitSeconds * 1000, tooLate);
    signal?.addEventListener('abort', stopped, { once: true });
    if (signal?.aborted) stopped();
  });
}
