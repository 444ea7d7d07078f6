/** What the policy of one session remembers, and the questions both directions ask of it. */

import { relayPrefix } from '../protocol/catalogue.js';
import type { Json, JsonObject } from '../protocol/event.js';
import { Bounded } from './bounded.js';
import type { Imposed } from './locks.js';
import type { Profile } from './profile.js';
import { Responses } from './responses.js';
import type { Seeds } from './seeds.js';
import { fieldOf } from './shape.js';
import { isServed } from './tools.js';
import { Updates } from './updates.js';
import { Visibility } from './visibility.js';

/** An event that was sent upstream, kept in case upstream refuses it. */
export interface Sent {
  readonly by: 'client' | 'relay';
  /** The client's own `event_id`, or null when it gave none. */
  readonly clientId: string | null;
  /** Of a `response.create`: what tells its answer from others. */
  readonly tag?: string | undefined;
  /** Takes back what was assumed when it was sent. */
  undo(): void;
}

/** The state of one session's policy. */
export interface Memory {
  readonly profile: Profile;
  readonly trusted: boolean;
  readonly imposed: Imposed;
  readonly items: Visibility;
  readonly responses: Responses;
  readonly updates: Updates;
  /** By the `event_id` they went upstream with. */
  readonly sent: Bounded<Sent>;
  /** Calls of client-side tools shown to this client, by `call_id`: whether it has answered. */
  readonly calls: Bounded<boolean>;
  /** Items the client asked to see again. */
  readonly retrieving: Bounded<true>;
  /** Calls that the server answers for, by `call_id`, where the client is shown them. */
  readonly served: Bounded<true>;
  /** Names of the tools that run on the client. */
  readonly clientTools: ReadonlySet<string>;
  /** Names of the tools that the server answers for. */
  readonly servedTools: ReadonlySet<string>;
  /** Items the client has created, and those of them that upstream has yet to name. */
  created: number;
  unnamed: number;
  readonly seeds: Seeds;
}

const maxSent = 1024;
const maxCalls = 4096;
const maxRetrievals = 256;

/** Makes the memory of a session that begins. */
export function createMemory(imposed: Imposed): Memory {
  const { profile } = imposed;
  return {
    profile,
    trusted: profile.client.trust === 'trusted',
    imposed,
    items: new Visibility(),
    responses: new Responses(),
    updates: new Updates(),
    sent: new Bounded(maxSent),
    calls: new Bounded(maxCalls),
    retrieving: new Bounded(maxRetrievals),
    served: new Bounded(maxCalls),
    ...toolsOf(profile),
    created: 0,
    unnamed: 0,
    seeds: { bytes: 0, refused: false },
  };
}

type ToolNames = Pick<Memory, 'clientTools' | 'servedTools'>;

const toolNames = new WeakMap<Profile, ToolNames>();

/** Worked out once for each profile. */
function toolsOf(profile: Profile): ToolNames {
  let names = toolNames.get(profile);
  if (names === undefined) {
    const namesOf = (isServers: boolean) =>
      new Set(profile.tools.filter((tool) => isServed(tool) === isServers).map(({ name }) => name));
    names = { clientTools: namesOf(false), servedTools: namesOf(true) };
    toolNames.set(profile, names);
  }
  return names;
}

/**
 * Decides what an item is to the client and remembers it, wherever the item was found. `previous` is the id of the item
 * before it, where that is known. An item once hidden stays hidden.
 */
export function judgeItem(memory: Memory, item: JsonObject, kind: string, previous?: Json): boolean {
  return judge(memory, item, kind, previous, true);
}

/** The same of an item that a response brings forth, which is no client's. */
export function judgeOutput(memory: Memory, item: JsonObject, kind: string): boolean {
  return judge(memory, item, kind, undefined, false);
}

function judge(memory: Memory, item: JsonObject, kind: string, previous: Json | undefined, mayEcho: boolean): boolean {
  const id = fieldOf(item, 'id');
  if (typeof id !== 'string' || id === '') return false;
  if (memory.items.isHidden(id) || !isPermitted(memory, item, id, kind)) {
    memory.items.hide(id, previous);
    return false;
  }
  // A message that nothing announced is the echo of one the client created without an id.
  const isWords = kind === 'user' || kind === 'assistant';
  const isEcho = mayEcho && isWords && memory.unnamed > 0 && !memory.items.knows(id);
  if (isEcho) memory.unnamed--;
  const byClient = isEcho || kind === 'function_call_output';
  const callId = fieldOf(item, 'call_id');
  if (kind === 'function_call' && typeof callId === 'string' && !memory.calls.has(callId)) {
    const name = String(fieldOf(item, 'name'));
    if (memory.servedTools.has(name) || memory.imposed.added.has(name)) memory.served.set(callId, true);
    memory.calls.set(callId, false);
  }
  return memory.items.show(id, { kind, byClient }, previous);
}

function isPermitted(memory: Memory, item: JsonObject, id: string, kind: string): boolean {
  const byRelay = id.startsWith(relayPrefix);
  if (memory.trusted) return !byRelay || fieldOf(item, 'type') !== 'message';
  if (byRelay) return false;
  switch (kind) {
    case 'user':
    case 'assistant':
      return fieldOf(item, 'type') === 'message';
    case 'function_call': {
      const name = fieldOf(item, 'name');
      return typeof name === 'string' && memory.clientTools.has(name);
    }
    case 'function_call_output': {
      const callId = fieldOf(item, 'call_id');
      return typeof callId === 'string' && memory.calls.get(callId) === true;
    }
    default:
      return false;
  }
}
