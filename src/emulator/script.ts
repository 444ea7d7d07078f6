/** Scripts: how coming responses shall turn out, each of the next ones or all that answer certain words. */
import type { Json, JsonObject } from '../protocol/event.js';
import { anyObject, array, boolean, type Complaint, number, object, oneOf, string } from './schema.js';

/** How one coming response shall turn out. Fields that are left out keep the default behaviour. */
export interface Script {
  /** Words of the user, in any case: the script then stays, and holds for every response to a turn that has them. */
  readonly when?: string;
  /** What the model says, as text or as the transcript of its speech. */
  readonly text?: string;
  /** The model calls a function, or several in one response: after `text` or `speech` where one is given, else at once. */
  readonly functionCall?: ScriptedCall | readonly ScriptedCall[];
  /** Calls come before the words. */
  readonly callsFirst?: boolean;
  /** The call begins before the words before it have ended, as with newer models, which do so by themselves. */
  readonly overlapping?: boolean;
  /** The service calls a tool of an MCP server, or several. */
  readonly mcp?: ScriptedMcp | readonly ScriptedMcp[];
  /** The service asks whether it may call a tool of an MCP server. */
  readonly mcpApproval?: McpCall;
  /** Speak (true) or write (false), whatever the session's modality is. */
  readonly audio?: boolean;
  /** A bundled recording by name, such as `answer-story`. */
  readonly speech?: string;
  /** The response does not complete: its last item stops half way, or it fails before it says anything. */
  readonly status?: 'incomplete' | 'cancelled' | 'failed';
  /**
   * With `incomplete`: `max_output_tokens` or `content_filter` (the default). With `cancelled`: `turn_detected` (the
   * default) or `client_cancelled`. With `failed`: the error code.
   */
  readonly reason?: string;
  /** A system message that appears in the conversation before the response, as a server would insert one. */
  readonly systemItem?: string;
  /** Any item that appears in the conversation before the response. */
  readonly serverInsertedItem?: JsonObject;
}

interface ScriptedCall {
  readonly name: string;
  /** A JSON text, sent as it is even when it is broken, or a value to serialise. */
  readonly arguments?: Json;
  /** How long its arguments take to come, in milliseconds of the clock; a few by default. */
  readonly ms?: number;
}

export interface McpCall {
  readonly server_label: string;
  readonly name: string;
  readonly arguments?: Json;
}

export interface ScriptedMcp extends McpCall {
  readonly output?: string;
  /** A text, or the whole error object; the call then fails. */
  readonly error?: string | JsonObject;
  /** How long the call takes, in milliseconds of the clock; default 0. */
  readonly ms?: number;
  /** `response.done` comes while the call still runs. */
  readonly done_first?: boolean;
}

const text = string();
const anything = () => null;
const milliseconds = number(0, 600_000);
const callShape = object({ name: text, arguments: anything, ms: milliseconds }, ['name']);
const approvalShape = object({ server_label: text, name: text, arguments: anything }, ['server_label', 'name']);
const mcpShape = object(
  {
    server_label: text,
    name: text,
    arguments: anything,
    output: text,
    error: (value, path) => (typeof value === 'string' ? null : anyObject(value, path)),
    ms: milliseconds,
    done_first: boolean,
  },
  ['server_label', 'name'],
);
const scriptShape = object({
  when: string({ pattern: /\S/ }),
  text,
  functionCall: (value, path) => (Array.isArray(value) ? array(callShape) : callShape)(value, path),
  callsFirst: boolean,
  mcp: (value, path) => (Array.isArray(value) ? array(mcpShape) : mcpShape)(value, path),
  mcpApproval: approvalShape,
  audio: boolean,
  overlapping: boolean,
  speech: text,
  status: oneOf('incomplete', 'cancelled', 'failed'),
  reason: text,
  systemItem: text,
  serverInsertedItem: anyObject,
});

const maxScripts = 1000;

/** The scripts that wait: those for the next responses, in order, and those that stay. */
export class ScriptList {
  readonly #next: Script[] = [];
  readonly #standing: Script[] = [];

  /** Throws a RangeError when one is malformed, or when too many wait; none of them is added then. */
  add(scripts: readonly Script[]): void {
    if (this.#next.length + this.#standing.length + scripts.length > maxScripts) {
      throw new RangeError(`more than ${maxScripts} scripts are waiting`);
    }
    for (const script of scripts) insist(scriptShape(script as JsonObject, 'script'));
    for (const script of scripts) (script.when === undefined ? this.#next : this.#standing).push(script);
  }

  clear(): void {
    this.#next.length = 0;
    this.#standing.length = 0;
  }

  /** The script for a response to these words of the user: the newest that stays for them, else the next in order. */
  take(said: string | null): Script {
    const words = plain(said ?? '');
    const standing =
      said === null ? undefined : this.#standing.findLast(({ when = '' }) => words.includes(plain(when)));
    return standing ?? this.#next.shift() ?? {};
  }
}

function plain(words: string): string {
  return words.toLowerCase().replaceAll(/\s+/g, ' ').trim();
}

function insist(found: Complaint | null): void {
  if (found) throw new RangeError(found.message);
}
