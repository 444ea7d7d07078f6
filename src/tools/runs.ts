/** The open calls of one session: each has its time, few run at once, and the others wait in order. */

import type { Cancel, Clock } from '../clock.js';
import type { ServedTool } from '../policy/tools.js';
import { didFail, givenUp, timedOut, tooMany } from './texts.js';
import type { Tool, ToolCall, ToolResult } from './tool.js';

/** A call to be run. */
interface Job {
  readonly tool: Tool;
  readonly configured: ServedTool;
  readonly call: ToolCall;
  /** Called once; `hasRun` is false for a call that never left the relay. */
  ended(result: ToolResult, hasRun: boolean): void;
}

/** Where calls are run. */
export interface Runs {
  /** The calls that have begun and not ended, whether they run or wait. */
  readonly size: number;
  start(job: Job): void;
  /** Somebody else has brought the result of an open call; false when there is none. */
  bring(callId: string, result: (tool: ServedTool) => ToolResult): boolean;
  /** The tool of an open call. */
  toolOf(callId: string): ServedTool | null;
  /** Gives up the calls that are meant. */
  giveUp(why: 'interrupted' | 'ended', isMeant: (job: Job) => boolean): void;
}

/** What the calls of a session share. */
interface Places {
  readonly clock: Clock;
  /** How many of the session run at once. */
  readonly atOnce: number;
  /** A place among all calls of the instance, as what gives it back; null when there is none. */
  take(): (() => void) | null;
}

interface Open {
  readonly job: Job;
  readonly abort: AbortController;
  readonly startedAt: number;
  cancel: Cancel;
  hasRun: boolean;
  leave: (() => void) | null;
}

/** Makes the place where the calls of one session are run. */
export function createRuns({ clock, atOnce, take }: Places): Runs {
  const open = new Set<Open>();
  const waiting: Open[] = [];
  let running = 0;

  function run(one: Open): void {
    const { job, abort, startedAt } = one;
    // Whoever answers for it takes no place of ours.
    if (job.tool.run === null) return;
    one.leave = take();
    if (one.leave === null) {
      end(one, tooMany('Too many calls of tools run on this instance, or for this tenant.'));
      return;
    }
    running++;
    one.hasRun = true;
    const leftMs = job.configured.timeout_seconds * 1000 - (performance.now() - startedAt);
    const failed = () => didFail('body', 'The tool itself broke.');
    invoked(job.tool.run, { ...job.call, leftMs }, abort.signal)
      .catch(failed)
      .then((result) => end(one, result))
      // Thrown where the session catches it.
      .catch((error: unknown) => clock.at(0, () => raise(error)));
  }

  function end(one: Open, result: ToolResult): void {
    if (!open.delete(one)) return;
    one.cancel();
    const at = waiting.indexOf(one);
    if (at >= 0) waiting.splice(at, 1);
    if (one.leave) {
      running--;
      one.leave();
      one.abort.abort();
    }
    one.job.ended(result, one.hasRun);
    next();
  }

  function next(): void {
    while (running < atOnce) {
      const one = waiting.shift();
      if (one === undefined) return;
      run(one);
    }
  }

  const openOf = (callId: string) => [...open].find(({ job }) => job.call.callId === callId);

  return {
    get size() {
      return open.size;
    },
    start(job) {
      const seconds = job.configured.timeout_seconds;
      const startedAt = performance.now();
      const one: Open = { job, abort: new AbortController(), startedAt, cancel: none, hasRun: false, leave: null };
      open.add(one);
      one.cancel = clock.at(seconds * 1000, () => end(one, timedOut(`There was no result within ${seconds} s.`)));
      if (job.tool.run !== null && running >= atOnce) waiting.push(one);
      else run(one);
    },
    toolOf: (callId) => openOf(callId)?.job.configured ?? null,
    bring(callId, result) {
      const one = openOf(callId);
      if (!one) return false;
      one.hasRun = true;
      end(one, result(one.job.configured));
      return true;
    },
    giveUp(why, isMeant) {
      const meant = [...open].filter(({ job }) => isMeant(job));
      // None of them gets the place of another.
      for (const one of meant) {
        const at = waiting.indexOf(one);
        if (at >= 0) waiting.splice(at, 1);
      }
      const message = why === 'ended' ? 'The session ended.' : 'The user interrupted.';
      for (const one of meant) end(one, givenUp(why, message));
    },
  };
}

/** A rejection whatever it throws, and whenever. */
async function invoked(run: NonNullable<Tool['run']>, call: ToolCall, signal: AbortSignal): Promise<ToolResult> {
  return run(call, signal);
}

function raise(error: unknown): never {
  throw error;
}

function none(): void {}
