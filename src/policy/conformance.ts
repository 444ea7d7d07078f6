/** Whether a session is still as the profile made it, where a client can change it without asking the relay. */

import type { Json, JsonObject } from '../protocol/event.js';
import { checkField } from './configuration.js';

import type { Imposed } from './locks.js';
import type { SessionField } from './profile.js';
import { fieldOf, isObject, setAt, valueAt } from './shape.js';

/** Holds a session against the profile. */
export interface Watch {
  /** The session object to impose, without which it could not be told what is right. */
  readonly imposed: JsonObject;
  /** The fields of the session object of a `session.updated` that are not as they have to be. */
  drifted(session: JsonObject): readonly string[];
  /** The session object of the `session.update` that puts these fields back. */
  remedy(fields: readonly string[]): JsonObject;
}

/** What a `session.update` can change, but for the formats: a call negotiates those itself. */
const watched = [
  'instructions',
  'tools',
  'tool_choice',
  'max_output_tokens',
  'parallel_tool_calls',
  'reasoning',
  'tracing',
  'truncation',
  'prompt',
  'include',
  'output_modalities',
  'audio.input.transcription',
  'audio.input.turn_detection',
  'audio.input.noise_reduction',
  'audio.output.voice',
  'audio.output.speed',
] as const;

/**
 * What a session is that nobody has set, where upstream did not say so; the first stands for all of a row. A browser may
 * have set what is seen first. Source: the Realtime API's reference and sessions of Azure and OpenAI as they began.
 */
const defaults: Readonly<Record<(typeof watched)[number], readonly Json[]>> = {
  // The vendor's own are a text that changes with the model.
  instructions: ['You are a helpful assistant.'],
  tools: [[]],
  tool_choice: ['auto'],
  max_output_tokens: ['inf'],
  parallel_tool_calls: [null],
  reasoning: [null],
  tracing: [null],
  truncation: ['auto'],
  prompt: [null],
  include: [null],
  output_modalities: [['audio']],
  'audio.input.transcription': [null],
  'audio.input.turn_detection': [{ type: 'server_vad', create_response: true, interrupt_response: true }],
  'audio.input.noise_reduction': [null],
  'audio.output.voice': ['alloy', 'marin'],
  'audio.output.speed': [1],
};
/** What a stored prompt may bring along, so that only upstream knows it. */
const ofPrompt: readonly string[] = ['instructions', 'tools', 'tool_choice'];

/**
 * Makes the watch over one session. `rules` is what is imposed on it, `echoed` what upstream made of that before any client
 * could reach it; what is in neither has to be as the protocol has it by default.
 */
export function createWatch(rules: Imposed, echoed: JsonObject): Watch {
  const { session } = rules;
  const trusted = rules.profile.client.trust === 'trusted';
  const guarded = () => watched.filter((path) => !trusted || rules.locks.isLocked(path));
  const hasPrompt = isObject(fieldOf(session, 'prompt'));
  const expected = new Map<string, readonly Json[]>();
  let imposed = session;
  for (const path of guarded()) {
    const value = valueAt(echoed, path.split('.')) ?? valueAt(session, path.split('.'));
    if (value !== undefined) expected.set(path, [value]);
    else if (!hasPrompt || !ofPrompt.includes(path)) {
      expected.set(path, defaults[path]);
      if (path === 'instructions') imposed = { ...session, [path]: defaults[path][0] as Json };
    }
  }

  /** What the server has set since counts for more than what was seen at the beginning. */
  function wantedAt(path: string): readonly Json[] | undefined {
    return rules.patched.has(path) ? [valueAt(rules.session, path.split('.')) ?? null] : expected.get(path);
  }

  function isRight(path: string, actual: Json): boolean {
    const wanted = wantedAt(path);
    if (wanted === undefined) {
      expected.set(path, [actual]);
      return true;
    }
    if (wanted.some((one) => holds(actual, one))) return true;
    const mayUpdate: readonly string[] = rules.locks.mayUpdate;
    return mayUpdate.includes(path) && 'value' in checkField(path as SessionField, actual, 'session');
  }

  return {
    imposed,
    drifted(now) {
      const shown = rules.silence.shown(now);
      return guarded().filter((path) => !isRight(path, valueAt(shown, path.split('.')) ?? null));
    },
    remedy(fields) {
      const update: JsonObject = { type: session.type ?? 'realtime' };
      for (const field of fields) {
        const path = field.split('.');
        const own = rules.patched.has(field) ? undefined : valueAt(imposed, path);
        setAt(update, path, own ?? wantedAt(field)?.[0] ?? null);
      }
      return rules.silence.muted(update);
    },
  };
}

/** Whether upstream's word contains what is wanted: it may fill in what nobody set. Nothing, null and emptiness are one. */
export function holds(actual: Json | undefined, wanted: Json | undefined): boolean {
  if (isEmpty(wanted)) return isEmpty(actual);
  if (Array.isArray(wanted)) {
    return (
      Array.isArray(actual) &&
      actual.length === wanted.length &&
      wanted.every((element, index) => holds(actual[index], element))
    );
  }
  if (isObject(wanted)) {
    return isObject(actual) && Object.keys(wanted).every((key) => holds(fieldOf(actual, key), fieldOf(wanted, key)));
  }
  return actual === wanted;
}

function isEmpty(value: Json | undefined): boolean {
  return value === undefined || value === null || value === '' || (Array.isArray(value) && value.length === 0);
}
