/** Calls of functions that the server answers for: each is judged, run once, and written down. */

import type { Clock } from '../clock.js';
import { Bounded } from '../policy/bounded.js';
import { isServed, replyOf, type ServedTool } from '../policy/tools.js';
import type { JsonObject } from '../protocol/event.js';
import type { Reply, Round } from './round.js';
import { brought } from './running.js';
import { createRuns } from './runs.js';
import { notAllowed, tooMany, wrongArguments } from './texts.js';
import type { Tool, ToolCall, ToolResult } from './tool.js';

/** What calls are made with. */
export interface CallSetup {
  /** The tools of the profile by name, those that clients run among them. */
  readonly tools: Pick<ReadonlyMap<string, Tool>, 'get'>;
  /** Whether a function that the profile does not list is the client's, and the tools that upstream runs are. */
  readonly trusted: boolean;
  readonly limits: { readonly tool_calls_per_response: number; readonly tools_at_once: number };
  /** What all calls of the session have in common. */
  readonly caller: Omit<ToolCall, 'name' | 'callId' | 'arguments'>;
}

/** What calls need of their session. */
export interface CallPorts {
  readonly clock: Clock;
  /** A place among all calls of the instance, as what gives it back; null when there is none. */
  take(): (() => void) | null;
  /** One more call of this user; false over the rate. */
  count(): boolean;
  /** A call is over. */
  called(report: CallReport): void;
}

/** A call that is over. */
export interface CallReport {
  /** As it is configured; null for a function that the profile does not list. */
  readonly tool: ServedTool | null;
  readonly callId: string;
  /** The item of the call. */
  readonly itemId: string | null;
  readonly result: ToolResult;
  /** From the completed item on. */
  readonly ms: number;
  /** Whether it was run at all. */
  readonly hasRun: boolean;
}

/** The calls of one session. */
export interface Calls {
  /** Those that have begun and not ended. */
  readonly open: number;
  /** Takes note of a call whose arguments are still to come: some upstreams say its name only there. */
  announced(item: JsonObject): void;
  /** Begins the call of a completed item, unless it has begun before; whoever else runs it is noted in the round. */
  begin(round: Round, item: JsonObject): void;
  /** Whether a `call_id` is that of a call the server answers for. */
  knows(callId: unknown): boolean;
  /** Whether a call is for a backend to answer, and open. */
  isBackends(callId: string): boolean;
  /** A backend has answered a call that is its own; says what its tool wishes to follow. */
  answer(callId: string, output: string): Reply | null;
  /** The user has interrupted: what is not to go on then is given up. */
  interrupt(): void;
  /** Gives up all that run. */
  close(): void;
}

const mostOpen = 32;
/** That are remembered, so that none is run twice. */
const mostKnown = 1024;
const mostNames = 64;

/** Makes the calls of a session that begins; `over` is told of each one after the books. */
export function createCalls(
  setup: CallSetup,
  ports: CallPorts,
  over: (round: Round, report: CallReport) => void,
): Calls {
  const { tools, trusted, limits, caller } = setup;
  const runs = createRuns({ clock: ports.clock, atOnce: limits.tools_at_once, take: ports.take });
  const known = new Bounded<true>(mostKnown);
  const names = new Bounded<string>(mostNames);
  const served = new Bounded<true>(mostKnown);

  /** Whether a function is for the client to run. */
  const isOthers = (tool: Tool | undefined) => (tool ? !isServed(tool.configured) : trusted);

  /** Why a call is not to be run, if so. */
  function refusal(
    round: Round,
    tool: Tool | undefined,
    configured: ServedTool | null,
    args: string,
  ): ToolResult | null {
    const { tool_calls_per_response: perResponse } = limits;
    if (round.calls > perResponse) return tooMany(`A response may make ${perResponse} calls.`);
    if (runs.size >= mostOpen) return tooMany(`A session may have ${mostOpen} calls open.`);
    if (!ports.count()) return tooMany('The calls of this user come too fast.');
    if (!tool || !configured) return notAllowed('unknown', 'The profile lists no function of that name.');
    if (configured.after === 'user' && round.isUnprompted) {
      return notAllowed('limit', 'It was called after the output of a tool, without new words of the user.');
    }
    const judged = tool.run === null && tool.judge(args);
    return judged && 'problem' in judged ? wrongArguments(judged.problem) : null;
  }

  return {
    get open() {
      return runs.size;
    },
    announced({ id, name, call_id: callId }) {
      if (typeof id !== 'string' || typeof name !== 'string') return;
      names.set(id, name);
      if (typeof callId === 'string' && !isOthers(tools.get(name))) served.set(callId, true);
    },
    begin(round, { id, call_id: callId, name: given, arguments: written }) {
      if (typeof callId !== 'string' || callId === '' || known.has(callId)) return;
      const name = typeof given === 'string' ? given : names.get(String(id));
      names.delete(String(id));
      const tool = tools.get(name ?? '');
      if (isOthers(tool)) {
        round.hasClientCalls = true;
        return;
      }
      const configured = tool && isServed(tool.configured) ? tool.configured : null;
      known.set(callId, true);
      served.set(callId, true);
      const beganAt = performance.now();
      if (round.calls++ === 0) round.startedAt = beganAt;
      const itemId = typeof id === 'string' ? id : null;
      const ended = (result: ToolResult, hasRun: boolean) => {
        const report = { tool: configured, callId, itemId, result, ms: performance.now() - beganAt, hasRun };
        round.open.delete(callId);
        ports.called(report);
        over(round, report);
      };
      const args = typeof written === 'string' ? written : '';
      const refused = refusal(round, tool, configured, args);
      if (refused || !tool || !configured) {
        if (refused) ended(refused, false);
        return;
      }
      round.open.set(callId, configured);
      runs.start({ tool, configured, call: { ...caller, name: configured.name, callId, arguments: args }, ended });
    },
    isBackends: (callId) => runs.toolOf(callId)?.runs === 'backend',
    answer(callId, output) {
      const tool = runs.toolOf(callId);
      if (tool?.runs !== 'backend') return null;
      runs.bring(callId, () => brought(tool, output, { bytes: Buffer.byteLength(output) }));
      return replyOf(tool);
    },
    knows: (callId) => typeof callId === 'string' && served.has(callId),
    interrupt: () => runs.giveUp('interrupted', ({ configured }) => configured.on_interrupt === 'abort'),
    close: () => runs.giveUp('ended', () => true),
  };
}
