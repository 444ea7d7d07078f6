/** What the relay itself wants to be answered, whoever it is that wants it. */

import { type JsonObject, objectOf } from '../protocol/event.js';
import type { WantEnd } from '../tools/answering.js';

/** A response that is wanted beside those that the client asks for and those that upstream begins by itself. */
export interface Want {
  readonly kind: 'follow-up' | 'filler' | 'backend' | 'again';
  /** The response whose turn this one goes on with, or begins anew: it is asked for as that one was. */
  readonly after?: string;
  /** What is asked for; nothing: what the session says. */
  readonly response?: JsonObject;
  /** Told when it goes upstream, with what is sent. */
  asked?(body: JsonObject): void;
  /** Told once what has become of it; of what is answered, with the response. */
  ended?(how: WantEnd, response?: JsonObject): void;
}

/** What of a client's `response.create` holds for the rest of its turn. */
export function wishOf(response: unknown): JsonObject {
  const { output_modalities, max_output_tokens } = objectOf(response);
  return { output_modalities, max_output_tokens };
}
