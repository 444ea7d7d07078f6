/** What those who ask for answers need of a session. */

import type { Clock } from '../clock.js';
import type { JsonObject, RealtimeEvent } from '../protocol/event.js';

/** What asks need of theirs. */
export interface AskPorts {
  readonly clock: Clock;
  /** Follow-ups in a row, without anything new of the user's. */
  readonly mostRounds: number;
  /** Whether only backends are answered. */
  isSilent(): boolean;
  /** A response begins while only backends are answered, and is for none of them. */
  hush(response: JsonObject): void;
  /** Speaks upstream and gives what was sent, with its id and its tag; `after` names the response that a follow-up goes on with. */
  say(body: JsonObject, after: string | null): JsonObject;
  /** Sends an event of the client's that was kept on its way. */
  pass(event: RealtimeEvent): void;
  /** Whether nothing is to be asked for at the moment; `look` is called when that is over. */
  isQuiet?(): boolean;
  /** An event of the client's that was kept, by its id upstream, will never be sent: the client does not want it any more, or is refused it. */
  withdrawn(eventId: string, isRefused: boolean): void;
}
