/** Everything that can be made to go wrong, and the list of what is armed. */
import { newId } from './ids.js';
import { type Refusal, refusals } from './refusals.js';

/**
 * When a fault strikes: at the handshake (or when a key is asked for), once the socket is open, at a `session.update`, at an
 * item that comes with an id of its own, at a
 * response, when an MCP server is asked for its tools, or at a search; for calls also when a key is to transcribe, at the SDP offer, and when it is hung up.
 */
type Moment = 'handshake' | 'open' | 'update' | 'item' | 'tools' | 'response' | 'search' | 'mint' | 'offer' | 'hangup';

const broken = {
  redirect: 'handshake',
  hang: 'handshake',
  reset: 'handshake',
  not_http: 'handshake',
  bad_accept: 'handshake',
  silent: 'open',
  expire_early: 'open',
  stop_reading: 'open',
  reject_update: 'update',
  ignore_update: 'update',
  refuse_item_id: 'item',
  mcp_list_failed: 'tools',
  mute: 'response',
  busy: 'response',
  text_after_replay: 'response',
  die_mid_response: 'response',
  close_mid_response: 'response',
  slow: 'response',
  flood: 'response',
  garbage: 'response',
  binary: 'response',
  array: 'response',
  huge: 'response',
  unknown_event: 'response',
  mint_transcription: 'mint',
  offer: 'offer',
  hangup: 'hangup',
  search_206: 'search',
  search_402: 'search',
  search_403: 'search',
  search_429: 'search',
  search_503: 'search',
  search_slow: 'search',
  search_html: 'search',
  search_big: 'search',
} as const satisfies Record<string, Moment>;

/**
 * A way to fail. `refuse_…` answer the upgrade with the HTTP status and body of that name; the others are:
 * `redirect` 307 · `hang` never answer the upgrade · `reset` drop TCP · `not_http` answer something else ·
 * `bad_accept` a wrong Sec-WebSocket-Accept · `silent` 101 and then nothing · `expire_early` session_expired after `delayMs` ·
 * `stop_reading` read nothing more once a `session.update` was acknowledged (or after `delayMs`) ·
 * `reject_update` error · `ignore_update` no ack · `mcp_list_failed` an MCP server does not tell its tools · `mute` no answer ·
 * `refuse_item_id` an item may not have the id it comes with · `text_after_replay` an answer in writing where words of the model
 * were brought in and it has not spoken yet ·
 * `busy` no answer, but the error that a response is active, with no `event_id` · `die_mid_response` drop TCP after some deltas ·
 * `close_mid_response` 1011 after some deltas · `slow` first audio after `delayMs` · `flood` `bytes` of audio as fast as
 * they are read · `garbage` text that is not JSON · `binary` a binary frame · `array` a JSON array ·
 * `huge` a text frame of `bytes` · `unknown_event` an event nobody knows that carries configuration ·
 * `mint_transcription` 500 for a key whose session transcribes · `offer` and `hangup` 500 for these requests ·
 * `search_206` results that are not ranked · `search_402`, `search_403`, `search_429`, `search_503` these statuses ·
 * `search_slow` an answer after `delayMs` · `search_html` a page · `search_big` an answer of `bytes`.
 */
export type FaultName = keyof typeof broken | `refuse_${keyof typeof refusals}`;

/** A fault with its parameters. */
export interface Fault {
  readonly fault: FaultName;
  /** How many handshakes, updates or responses it strikes; 1 when left out. */
  readonly count?: number;
  /** For `expire_early` (default 100), `slow` (default 2000), `search_slow` (default 10,000) and `stop_reading`: milliseconds. */
  readonly delayMs?: number;
  /** What Retry-After says: for `refuse_429`, default 1; for `search_429` and `search_503`, which have none when left out. */
  readonly retryAfterSeconds?: number;
  /** For `huge` (default 33 MB), `flood` (default 64 MiB) and `search_big` (default 5 MB): how much. */
  readonly bytes?: number;
  /** For `die_mid_response` and `close_mid_response`: how many deltas come first; default 2. */
  readonly afterDeltas?: number;
  /** For `redirect`: where to. */
  readonly location?: string;
}

/** Every fault name, for messages and documentation. */
export const faultNames = [
  ...Object.keys(broken),
  ...Object.keys(refusals).map((name) => `refuse_${name}`),
] as FaultName[];

/** Whether there is a fault of this name. */
export function isFaultName(name: unknown): name is FaultName {
  return faultNames.includes(name as FaultName);
}

function momentOf(name: FaultName): Moment {
  return Object.hasOwn(broken, name) ? broken[name as keyof typeof broken] : 'handshake';
}

/** The HTTP refusal a `refuse_…` fault stands for, or null. */
export function refusalOf(fault: Fault): Refusal | null {
  const name = fault.fault.replace(/^refuse_/, '');
  if (!Object.hasOwn(refusals, name)) return null;
  const refusal = refusals[name as keyof typeof refusals];
  if (name !== '429') return refusal;
  const seconds = fault.retryAfterSeconds ?? 1;
  const message = refusal.message.replace('after 1 seconds', `after ${seconds} seconds`);
  return { ...refusal, message, headers: { 'retry-after': String(seconds) } };
}

/** What a fault of malformed data sends. */
export function badFrame({ fault, bytes }: Fault): string | Buffer {
  switch (fault) {
    case 'garbage':
      return '{"type":"response.output_audio.delta", this is not JSON';
    case 'binary':
      return Buffer.from([0, 1, 2, 253, 254, 255]);
    case 'array':
      return '[{"type":"session.created"}]';
    case 'huge':
      return huge(bytes ?? 33 * 1000 * 1000);
    default:
      // What a future service might send: whoever forwards it blindly leaks the canary.
      return JSON.stringify({
        type: 'session.debug_snapshot',
        event_id: newId('event'),
        session: { instructions: 'CANARY-INSTRUCTIONS', tools: [{ type: 'function', name: 'CANARY_TOOL' }] },
      });
  }
}

/** A well-formed event of a size no relay should buffer, made without building it from parts. */
function huge(bytes: number): Buffer {
  const head = Buffer.from(`{"type":"response.output_audio.delta","event_id":"${newId('event')}","delta":"`);
  const tail = Buffer.from('"}');
  const frame = Buffer.alloc(Math.max(bytes, head.length + tail.length), 'A');
  head.copy(frame);
  tail.copy(frame, frame.length - tail.length);
  return frame;
}

/** A list of armed faults: each strikes `count` times and is gone. */
export class FaultList {
  #armed: { fault: Fault; left: number }[] = [];

  /** Throws a RangeError for a name that does not exist. */
  arm(fault: Fault): void {
    if (!isFaultName(fault.fault)) {
      throw new RangeError(`unknown fault '${String(fault.fault)}'; known are: ${faultNames.join(', ')}`);
    }
    if (this.#armed.length >= 1000) throw new RangeError('more than 1000 faults are armed');
    this.#armed.push({ fault, left: fault.count ?? 1 });
  }

  clear(): void {
    this.#armed = [];
  }

  /** What is still armed, with the remaining counts. */
  list(): Fault[] {
    return this.#armed.map(({ fault, left }) => ({ ...fault, count: left }));
  }

  /** Uses up one strike of the first fault for this moment. */
  take(moment: Moment): Fault | null {
    const index = this.#armed.findIndex(({ fault }) => momentOf(fault.fault) === moment);
    const found = this.#armed[index];
    if (!found) return null;
    found.left -= 1;
    if (found.left <= 0) this.#armed.splice(index, 1);
    return found.fault;
  }
}
