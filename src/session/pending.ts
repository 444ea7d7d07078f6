/** What upstream owes at a moment: answers that run or were asked for, transcripts, the ack of a commit. */

import { isObject, type JsonObject, objectOf } from '../protocol/event.js';
import { family } from '../protocol/family.js';

/** The open turns of one session. */
export interface Turns {
  /** Takes note of the session as upstream runs it. */
  configured(session: JsonObject): void;
  /** Takes note of a parsed event on its way upstream, the relay's own included. */
  up(body: JsonObject): void;
  /** Takes note of a parsed event of upstream. */
  down(type: string, body: JsonObject): void;
  /** What was asked for and has not begun, by the `event_id` of the `response.create`. */
  readonly asked: readonly string[];
  /** The responses that run. */
  readonly running: ReadonlySet<string>;
  /** Whether an answer runs or is to come. */
  isBusy(): boolean;
  /** Whether upstream cannot be silent for long: an answer or an ack is due, and no tool of its own is at work. */
  isOwed(): boolean;
  /** Whether upstream has yet to report what something costs. */
  isUnsettled(): boolean;
  /** Whether an answer that was given is still heard, where upstream says so: beside a call. */
  isPlaying(): boolean;
  /** Whether the user is in the middle of a sentence, as far as upstream says so. */
  isSpeaking(): boolean;
  /** Whether an answer is due to what the user has said, which upstream begins by itself. */
  readonly isAnswerDue: boolean;
  /** Whether a tool of upstream's own is at work. */
  readonly isWorking: boolean;
  /** What waits for the client to ask for an answer: its user's speech, or the output of its tool. */
  readonly unasked: 'speech' | 'tool' | null;
  /** Set with each event of speech. */
  isRecording: boolean;
  /** What there is of a sentence that only the client can end, and whether some of it has come since the last call. */
  takeRecording(): 'none' | 'some' | 'more';
}

/** More than an honest session has open at a time. */
const most = 64;

/**
 * Makes the record of a session without open turns.
 * @param isServed whether the call with this `call_id` is the server's to answer
 */
export function createTurns(isServed: (callId: unknown) => boolean = () => false): Turns {
  return new OpenTurns(isServed);
}

class OpenTurns implements Turns {
  readonly isServed: (callId: unknown) => boolean;
  readonly running = new Set<string>();
  readonly asked: string[] = [];
  /** Items of upstream's own tools, which may take their time. */
  readonly working: string[] = [];
  readonly transcribing: string[] = [];
  /** The user has spoken, and upstream answers by itself. */
  spoken = false;
  committing = false;
  unasked: Turns['unasked'] = null;
  isRecording = false;
  recorded = false;
  speaking = false;
  playing = false;
  converses = true;
  answersSpeech = true;
  detectsTurns = false;
  transcribes = false;

  constructor(isServed: (callId: unknown) => boolean) {
    this.isServed = isServed;
  }

  configured(session: JsonObject): void {
    const input = objectOf(objectOf(session.audio).input);
    this.transcribes = isObject(input.transcription);
    this.detectsTurns = isObject(input.turn_detection);
    this.converses = session.type !== 'transcription';
    this.answersSpeech = this.converses && objectOf(input.turn_detection).create_response !== false;
  }

  up({ type, event_id }: JsonObject): void {
    if (type === family.up.ask) {
      add(this.asked, event_id);
      this.unasked = null;
    } else if (type === family.up.commit) {
      this.committing = this.detectsTurns && this.answersSpeech;
      this.said();
    } else if (type === family.up.clear || type === family.up.cancel) {
      this.spoken = false;
      if (type === family.up.clear) this.isRecording = this.recorded = this.speaking = false;
    }
  }

  /** The user has finished a sentence: who answers it? */
  said(): void {
    this.speaking = false;
    this.isRecording = false;
    this.recorded = false;
    if (this.converses && !(this.detectsTurns && this.answersSpeech)) this.unasked ??= 'speech';
  }

  down(type: string, body: JsonObject): void {
    onDown.get(type)?.(this, body);
  }

  isBusy(): boolean {
    return this.running.size > 0 || this.asked.length > 0 || this.spoken;
  }

  isOwed(): boolean {
    return (this.isBusy() || this.committing) && this.working.length === 0;
  }

  isUnsettled(): boolean {
    return this.isBusy() || this.transcribing.length > 0;
  }

  get isAnswerDue(): boolean {
    return this.spoken;
  }

  get isWorking(): boolean {
    return this.working.length > 0;
  }

  isPlaying(): boolean {
    return this.playing;
  }

  isSpeaking(): boolean {
    return this.speaking;
  }

  takeRecording(): 'none' | 'some' | 'more' {
    if (this.detectsTurns) return 'none';
    const { isRecording } = this;
    this.isRecording = false;
    this.recorded ||= isRecording;
    return isRecording ? 'more' : this.recorded ? 'some' : 'none';
  }
}

function begin(turns: OpenTurns, { response }: JsonObject): void {
  turns.spoken = false;
  turns.unasked = null;
  turns.asked.shift();
  const { id } = objectOf(response);
  if (typeof id === 'string' && turns.running.size < most) turns.running.add(id);
}

function finish(turns: OpenTurns, { response }: JsonObject): void {
  const { id, status, output } = objectOf(response);
  turns.running.delete(String(id));
  if (turns.running.size === 0) turns.working.length = 0;
  const calls = Array.isArray(output) ? output.map(objectOf).filter(({ type }) => type === 'function_call') : [];
  if (calls.some(({ call_id: id }) => !turns.isServed(id)) && status === 'completed') turns.unasked ??= 'tool';
}

function hear(turns: OpenTurns): void {
  turns.said();
  if (turns.answersSpeech && turns.running.size === 0) turns.spoken = true;
}

function refuse(turns: OpenTurns, { error }: JsonObject): void {
  const id = objectOf(error).event_id;
  if (typeof id === 'string' && remove(turns.asked, id)) return;
  // Upstream does not always say what it refused; it is not silent, at least.
  if (typeof id !== 'string') turns.asked.length = 0;
  turns.spoken = false;
  turns.committing = false;
}

function transcribed(turns: OpenTurns, { item_id }: JsonObject): void {
  remove(turns.transcribing, item_id);
}

function work(turns: OpenTurns, { item_id }: JsonObject): void {
  add(turns.working, item_id);
}

function rest(turns: OpenTurns, { item_id }: JsonObject): void {
  remove(turns.working, item_id);
}

function play(goesOn: boolean): (turns: OpenTurns) => void {
  return (turns) => {
    turns.playing = goesOn;
  };
}

const onDown: ReadonlyMap<string, (turns: OpenTurns, body: JsonObject) => void> = new Map([
  [family.down.answerBegun, begin],
  [family.down.answerEnded, finish],
  [
    family.down.speechBegun,
    // Whoever goes on speaking is answered when they are done.
    (turns: OpenTurns) => {
      turns.spoken = false;
      turns.speaking = true;
    },
  ],
  [family.down.speechEnded, hear],
  [family.down.silence, hear],
  [
    family.down.committed,
    (turns: OpenTurns, { item_id }: JsonObject) => {
      turns.committing = false;
      turns.speaking = false;
      // Of a call, whose client's own events are not seen.
      if (turns.asked.length + turns.running.size === 0) turns.said();
      if (turns.transcribes) add(turns.transcribing, item_id);
    },
  ],
  [
    family.down.cleared,
    (turns: OpenTurns) => {
      turns.committing = false;
      turns.speaking = false;
    },
  ],
  [family.down.transcribed, transcribed],
  [family.down.untranscribed, transcribed],
  ...family.down.toolBegun.map((type) => [type, work] as const),
  ...family.down.toolEnded.map((type) => [type, rest] as const),
  [family.down.playingBegun, play(true)],
  ...family.down.playingEnded.map((type) => [type, play(false)] as const),
  [family.down.error, refuse],
]);

function add(ids: string[], id: unknown): void {
  if (typeof id === 'string' && ids.length < most && !ids.includes(id)) ids.push(id);
}

/** Returns whether it was there. */
function remove(ids: string[], id: unknown): boolean {
  const at = ids.indexOf(String(id));
  if (at >= 0) ids.splice(at, 1);
  return at >= 0;
}
