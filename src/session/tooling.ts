/** Calls of tools in one session: its runner, and what the session does for it. */

import type { Admission } from '../admission/admission.js';
import type { Buckets } from '../admission/buckets.js';
import type { Shares } from '../admission/shares.js';
import { userKey } from '../auth/principal.js';
import type { Clock } from '../clock.js';
import { Bounded } from '../policy/bounded.js';
import type { Imposed } from '../policy/locks.js';
import type { Profile } from '../policy/profile.js';
import { renderText } from '../policy/render.js';
import { toolSchema } from '../policy/tools.js';
import { isObject, type Json, type JsonObject, objectOf } from '../protocol/event.js';
import { createLater } from '../tools/later.js';
import { createRunner, type Runner } from '../tools/runner.js';
import type { Tool } from '../tools/tool.js';
import type { Attachment } from './attachment.js';
import type { Chronicle } from './chronicle.js';
import type { Course } from './course.js';
import type { Front } from './front.js';
import type { Taps } from './taps.js';

/** What the instance has for tools. */
export interface Tooling {
  /** The tools of a profile, ready to be called. */
  of(profile: Profile): ReadonlyMap<string, Tool>;
  /** Places for calls that run. */
  readonly places: Shares;
  /** How fast users make calls. */
  readonly rates: Buckets;
}

/** What tools need of their session. */
interface ToolParts {
  readonly admission: Admission;
  readonly tooling: Tooling;
  readonly clock: Clock;
  readonly chronicle: Pick<Chronicle, 'called' | 'outputRefused' | 'traceparent'>;
  readonly course: Pick<Course, 'waited'>;
  readonly front: Pick<Front, 'imposed' | 'tell'>;
  readonly taps: Pick<Taps, 'isDecided'>;
  /** There is one whenever something was called. */
  attachment(): Attachment | null;
}

/** Hits of searches that may be cited. */
const mostCitable = 200;
/** For a backend to answer a call of a function that it has added, so that the model never waits for ever. */
const addedSeconds = 30;
const nothing = { acknowledged: () => undefined, drop: () => undefined };

/** Makes the runner of a session; where the model knows of no function it comes to be when a backend has added some. */
export function createTools(parts: ToolParts): Runner {
  const { imposed } = parts.front;
  const knowsSome = Array.isArray(imposed.session.tools) || isObject(imposed.session.prompt);
  return knowsSome
    ? runnerOf(parts)
    : createLater(
        () => imposed.added.size > 0 || hasRemote(imposed.session),
        () => runnerOf(parts),
      );
}

function runnerOf({ admission, tooling, clock, chronicle, course, front, taps, attachment }: ToolParts): Runner {
  const { id, requestId, profile } = admission;
  const { limits, client } = profile;
  const { imposed } = front;
  const perMinute = limits.tool_calls_per_minute;
  const rate = { perSecond: perMinute / 60, burst: perMinute };
  const user = userKey(admission.principal);
  const caller = {
    session: { id, citable: new Bounded<true>(mostCitable) },
    requestId,
    // Looked at by each call: the user may have another token by then.
    get principal() {
      return admission.principal;
    },
    traceparent: chronicle.traceparent,
  };
  return createRunner(
    { tools: withAdded(tooling.of(profile), imposed), trusted: client.trust === 'trusted', limits, caller },
    {
      clock,
      answering: {
        want: (want) => attachment()?.asks.want(want) ?? nothing,
        keep: () => attachment()?.asks.keep() ?? nothing.drop,
      },
      mayBeApproved: () => taps.isDecided,
      say: (body) => attachment()?.say(body),
      take: () => tooling.places.take(admission.principal, limits.tools_at_once),
      count: () => tooling.rates.add(user, rate) === 0,
      toSay: (text) => saying(imposed.session.instructions, renderText(text, admission.principal.claims)),
      called: (report) => chronicle.called(report),
      outputRefused: (callId, code) => chronicle.outputRefused(callId, code),
      waited: (ms) => course.waited(ms),
      result({ tool, itemId, result }) {
        front.tell('relay.tool_result', { tool, result });
        if (client.tool_results !== 'voicerag' || !hasSources(result)) return;
        // As the front end of the sample reads it.
        const fields = { previous_item_id: itemId, tool_name: tool, tool_result: JSON.stringify(result) };
        front.tell('extension.middle_tier_tool_response', fields);
      },
    },
  );
}

/** Whether a backend has given the model tools that upstream runs. */
function hasRemote({ tools }: JsonObject): boolean {
  return Array.isArray(tools) && tools.some((tool) => objectOf(tool).type === 'mcp');
}

/** The tools of a profile with those that backends have added, who answer for them. */
function withAdded(tools: ReadonlyMap<string, Tool>, imposed: Pick<Imposed, 'added'>): Pick<typeof tools, 'get'> {
  return { get: (name) => tools.get(name) ?? (imposed.added.has(name) ? addedTool(name) : undefined) };
}

function addedTool(name: string): Tool {
  const configured = toolSchema.parse({ name, runs: 'backend', timeout_seconds: addedSeconds });
  // Whoever added it judges what it is called with.
  return { configured, judge: () => ({ arguments: {} }), run: null };
}

/** Instructions of one response replace those of the session, so they begin with them. */
function saying(instructions: Json | undefined, text: string): string {
  const own = typeof instructions === 'string' && instructions !== '' ? `${instructions}\n\n` : '';
  return `${own}Say only this, in the language of the conversation, and nothing else: ${text}`;
}

/** That front end throws on anything else. */
function hasSources(result: Json): boolean {
  return isObject(result) && Array.isArray(result.sources);
}
