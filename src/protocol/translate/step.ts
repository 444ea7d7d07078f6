/**
 * What both translations between the dialects are made of: rules by event type, the renames, and refusals. GA is what policy,
 * profiles and tools see; a side that speaks preview gets a pair of steps from `client.ts` or `upstream.ts`, a side that speaks
 * GA gets none. Source: the GA and preview event references of the Azure OpenAI Realtime API.
 */

import { audioDown } from '../catalogue.js';
import { eventOf, type Json, type JsonObject, type Refusal, type Step } from '../event.js';
import { spliceType } from '../read.js';
import { idOf } from './seen.js';
import type { Unsupported } from './unsupported.js';

/** What a translation needs from its session. */
export interface TranslationPorts {
  /**
   * Hears of an event that the other dialect cannot say. `param` is in the words of its sender, whom an `error` event made
   * of this reaches on the way of any other.
   */
  refuse(refusal: Refusal): void;
  /** A fresh `event_id` for an event that the other dialect has and this one does not. */
  eventId(): string;
}

/** What becomes of one parsed event: another, several in order, or nothing. Must not change what it is given. */
export type Rule = (body: JsonObject) => JsonObject | readonly JsonObject[] | null;
/** Rules by event type. */
export type Rules = Readonly<Record<string, Rule>>;

/** Of events that the other dialect does not have, also where they are not parsed. */
export const dropped: Rule = () => null;

const renames = [
  ['response.output_text.delta', 'response.text.delta'],
  ['response.output_text.done', 'response.text.done'],
  [audioDown.ga, audioDown.preview],
  ['response.output_audio.done', 'response.audio.done'],
  ['response.output_audio_transcript.delta', 'response.audio_transcript.delta'],
  ['response.output_audio_transcript.done', 'response.audio_transcript.done'],
] as const;
/** Preview names of server events, by their GA names. */
export const previewNames = new Map<string, string>(renames);

/** GA names of server events, by their preview names. */
export const gaNames = new Map<string, string>(renames.map(([ga, preview]) => [preview, ga]));

/** Makes a step of renames and rules by event type; an event that neither names passes untouched. */
export function stepOf(rules: Rules, names?: ReadonlyMap<string, string>): Step {
  // The type is the peer's text, so it is looked up in maps only.
  const byType = new Map(Object.entries(rules));
  return (event) => {
    const name = names?.get(event.type);
    if (name !== undefined) return spliceType(event, name);
    const rule = byType.get(event.type);
    if (event.body === null) return rule === dropped ? null : event;
    if (rule === undefined) return event;
    const result = rule(event.body);
    if (result === null) return null;
    if (isList(result)) return result.length === 0 ? null : result.map(eventOf);
    return result === event.body ? event : eventOf(result);
  };
}

function isList(result: JsonObject | readonly JsonObject[]): result is readonly JsonObject[] {
  return Array.isArray(result);
}

/** The event with its item converted, if it has one. */
export function withItem(body: JsonObject, convert: (item: Json) => Json): JsonObject {
  return body.item === undefined ? body : { ...body, item: convert(body.item) };
}

/** The refusal of a client event for something the other dialect cannot say. */
export function refusalOf(body: JsonObject, found: Unsupported): Refusal {
  return {
    code: 'unsupported_by_upstream',
    message: messageOf(found),
    param: found.param,
    eventId: idOf(body.event_id),
  };
}

/** Names the field and the reason, for a person. */
function messageOf({ param, why }: Unsupported): string {
  return `The upstream of this session does not support '${param}': ${why}.`;
}
