/** One session's runner with tools that end when a test says so; what it says and wants is written down. */

import { onTestFinished, vi } from 'vitest';
import { createClock } from '../../src/clock.js';
import { Bounded } from '../../src/policy/bounded.js';
import { type ProfileTool, toolSchema } from '../../src/policy/tools.js';
import { eventOf, type JsonObject } from '../../src/protocol/event.js';
import type { CallReport } from '../../src/tools/calls.js';
import { createRunner } from '../../src/tools/runner.js';
import type { ClientResult, Tool, ToolCall, ToolResult } from '../../src/tools/tool.js';

/** A call that runs until the test ends it. */
interface Running {
  readonly call: ToolCall;
  readonly signal: AbortSignal;
  end(result?: Partial<ToolResult>): Promise<void>;
  break(): Promise<void>;
}

interface StageOptions {
  readonly tools?: readonly (Record<string, unknown> & { name: string })[];
  readonly trusted?: boolean;
  readonly perResponse?: number;
  readonly atOnce?: number;
  /** Places of the instance. */
  readonly places?: number;
  /** Calls that the user's rate allows. */
  readonly calls?: number;
  /** Whether a backend follows that may decide. */
  readonly followed?: boolean;
}

const http = { runs: 'http', http: { url: 'https://tools.test/' } };

/** Sets the stage, with fake time; the tools are HTTP tools unless they say otherwise. */
export function setStage(options: StageOptions = {}) {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  onTestFinished(() => void vi.useRealTimers());
  const { trusted = false, perResponse = 8, atOnce = 4, places = 1024, calls = 1000, followed = false } = options;
  const running: Running[] = [];
  const outputs: JsonObject[] = [];
  const wants: { kind: string; after: string; response?: JsonObject; state: string; ended(how: string): void }[] = [];
  const kept: boolean[] = [];
  const reports: CallReport[] = [];
  const results: ClientResult[] = [];
  const refusals: unknown[] = [];
  const waits: number[] = [];
  let taken = 0;
  let counted = 0;

  function toolOf(given: Record<string, unknown> & { name: string }): [string, Tool] {
    const configured: ProfileTool = toolSchema.parse('runs' in given ? given : { ...http, ...given });
    const run: Tool['run'] = (call, signal) =>
      new Promise((resolve, reject) => {
        if (call.arguments === 'break') throw new Error('broken at once');
        const end = async (result: Partial<ToolResult> = {}) => {
          resolve({ outcome: 'ok', output: `${call.callId} is done`, bytes: 1, ...result });
          await settled();
        };
        const broken = async () => {
          reject(new Error('broken'));
          await settled();
        };
        running.push({ call, signal, end, break: broken });
      });
    const isOthers = configured.runs === 'client' || configured.runs === 'backend';
    const judge: Tool['judge'] = (args) => (args === 'wrong' ? { problem: 'it is wrong' } : { arguments: {} });
    return [configured.name, { configured, judge, run: isOthers ? null : run }];
  }

  const runner = createRunner(
    {
      tools: new Map((options.tools ?? [{ name: 'look' }]).map(toolOf)),
      trusted,
      limits: { tool_calls_per_response: perResponse, tools_at_once: atOnce },
      caller: {
        session: { id: 'sess_1', citable: new Bounded(200) },
        requestId: 'request',
        principal: { issuer: 'i', tenant: null, subject: 'alice', claims: {} },
      },
    },
    {
      clock: createClock(),
      mayBeApproved: () => followed,
      answering: {
        want({ kind, after, response, ended }) {
          const want = {
            kind,
            after,
            ...(response && { response }),
            state: 'wanted',
            ended: ended ?? (() => undefined),
          };
          wants.push(want);
          return {
            acknowledged() {
              want.state = 'acknowledged';
            },
            drop() {
              want.state = 'dropped';
            },
          };
        },
        keep() {
          kept.push(true);
          const at = kept.length - 1;
          return () => {
            kept[at] = false;
          };
        },
      },
      say: (body) => outputs.push(body),
      toSay: (text) => `Be kind.\n\n${text}`,
      take() {
        if (taken >= places) return null;
        taken++;
        return () => {
          taken--;
        };
      },
      count: () => counted++ < calls,
      called: (report) => reports.push(report),
      result: (told) => results.push(told),
      outputRefused: (callId, code) => refusals.push([callId, code]),
      waited: (ms) => waits.push(Math.round(ms)),
    },
  );
  onTestFinished(() => runner.close());

  const hear = (type: string, body: JsonObject = {}) => {
    const event = eventOf({ type, ...body });
    // It sees and never changes.
    if (runner.down(event) !== event) throw new Error('the event was changed');
  };
  const callOf = (callId: string, name = 'look', rest: JsonObject = {}): JsonObject => ({
    ...{ id: `item_${callId}`, type: 'function_call', status: 'completed', call_id: callId, name, arguments: '{}' },
    ...rest,
  });

  return {
    ...{ runner, running, outputs, wants, kept, reports, results, refusals, waits, hear, callOf },
    get taken() {
      return taken;
    },
    client: (body: JsonObject) => void runner.up(eventOf(body)),
    begin: (id = 'resp_1', rest: JsonObject = {}) =>
      hear('response.created', { response: { id, conversation_id: 'conv', ...rest } }),
    /** A call of a response is complete, unless its item says otherwise. */
    call: (callId: string, name = 'look', rest: JsonObject = {}, responseId = 'resp_1') =>
      hear('response.output_item.done', { response_id: responseId, item: callOf(callId, name, rest) }),
    done: (id = 'resp_1', status = 'completed', output: JsonObject[] = []) =>
      hear('response.done', { response: { id, status, output } }),
    /** Upstream takes every item that was sent so far. */
    acknowledge() {
      for (const { item } of outputs) hear('conversation.item.added', { item: item as JsonObject });
    },
    /** The output of a call, or nothing when there is none. */
    outputOf: (callId: string) =>
      outputs.map(({ item }) => item as JsonObject).find(({ call_id }) => call_id === callId)?.output,
    outcomes: () => reports.map(({ callId, result }) => `${callId} ${result.outcome}`),
    pass: (ms: number) => vi.advanceTimersByTimeAsync(ms),
  };
}

/** What the assistant says in a response. */
export const speech: JsonObject = {
  type: 'message',
  role: 'assistant',
  content: [{ type: 'output_audio', transcript: 'One moment.' }],
};

/** Lets promises that are settled have their say. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await Promise.resolve();
}
