/** What upstream owes at a moment: answers that run or were asked for, transcripts, the ack of a commit. */

import type { JsonObject } from '../protocol/event.js';

/** The open turns of one session. */
export interface Turns {
  /** Takes note of the session as upstream runs it. */
  configured(session: JsonObject): void;
  /** Takes note of a parsed event on its way upstream, the relay's own included. */
  up(body: JsonObject): void;
  /** Takes note of a parsed event of upstream. */
  down(type: string, body: JsonObject): void;
  /** The responses that run. */
  readonly running: ReadonlySet<string>;
  /** Whether an answer runs or is to come. */
  isBusy(): boolean;
  /** Whether upstream cannot be silent for long: an answer or an ack is due, and no tool of its own is at work. */
  isOwed(): boolean;
  /** Whether upstream has yet to report what something costs. */
  isUnsettled(): boolean;
}

/** More than an honest session has open at a time. */
const most = 64;

/** Makes the record of a session without open turns. */
export function createTurns(): Turns {
  const running = new Set<string>();
  /** By the `event_id` of the `response.create`. */
  const asked = new Set<string>();
  /** Items of upstream's own tools, which may take their time. */
  const working = new Set<string>();
  const transcribing = new Set<string>();
  /** The user has spoken, and upstream answers by itself. */
  let spoken = false;
  let committing = false;
  let answersSpeech = true;
  let detectsTurns = false;
  let transcribes = false;

  const add = (set: Set<string>, id: unknown): void => {
    if (typeof id === 'string' && set.size < most) set.add(id);
  };
  const isBusy = () => running.size > 0 || asked.size > 0 || spoken;

  const refused = (error: JsonObject): void => {
    const id = error.event_id;
    if (typeof id === 'string' && asked.delete(id)) return;
    // Upstream does not always say what it refused; it is not silent, at least.
    if (typeof id !== 'string') asked.clear();
    spoken = false;
    committing = false;
  };

  const onDown: Readonly<Record<string, (body: JsonObject) => void>> = {
    'response.created': ({ response }) => {
      spoken = false;
      const [first] = asked;
      if (first !== undefined) asked.delete(first);
      add(running, object(response).id);
    },
    'response.done': ({ response }) => {
      running.delete(String(object(response).id));
      if (running.size === 0) working.clear();
    },
    // Whoever goes on speaking is answered when they are done.
    'input_audio_buffer.speech_started': () => {
      spoken = false;
    },
    'input_audio_buffer.speech_stopped': () => {
      if (answersSpeech && running.size === 0) spoken = true;
    },
    'input_audio_buffer.timeout_triggered': () => {
      if (answersSpeech && running.size === 0) spoken = true;
    },
    'input_audio_buffer.committed': ({ item_id }) => {
      committing = false;
      if (transcribes) add(transcribing, item_id);
    },
    'input_audio_buffer.cleared': () => {
      committing = false;
    },
    'conversation.item.input_audio_transcription.completed': ({ item_id }) => void transcribing.delete(String(item_id)),
    'conversation.item.input_audio_transcription.failed': ({ item_id }) => void transcribing.delete(String(item_id)),
    'response.mcp_call.in_progress': ({ item_id }) => add(working, item_id),
    'response.mcp_call.completed': ({ item_id }) => void working.delete(String(item_id)),
    'response.mcp_call.failed': ({ item_id }) => void working.delete(String(item_id)),
    'mcp_list_tools.in_progress': ({ item_id }) => add(working, item_id),
    'mcp_list_tools.completed': ({ item_id }) => void working.delete(String(item_id)),
    'mcp_list_tools.failed': ({ item_id }) => void working.delete(String(item_id)),
    error: ({ error }) => refused(object(error)),
  };

  return {
    configured(session) {
      const input = object(object(session.audio).input);
      transcribes = isObject(input.transcription);
      detectsTurns = isObject(input.turn_detection);
      answersSpeech = session.type !== 'transcription' && object(input.turn_detection).create_response !== false;
    },
    up({ type, event_id }) {
      if (type === 'response.create') add(asked, event_id);
      else if (type === 'input_audio_buffer.commit') committing = detectsTurns && answersSpeech;
      else if (type === 'input_audio_buffer.clear' || type === 'response.cancel') spoken = false;
    },
    down(type, body) {
      if (Object.hasOwn(onDown, type)) onDown[type]?.(body);
    },
    running,
    isBusy,
    isOwed: () => (isBusy() || committing) && working.size === 0,
    isUnsettled: () => isBusy() || transcribing.size > 0,
  };
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function object(value: unknown): JsonObject {
  return isObject(value) ? value : {};
}
