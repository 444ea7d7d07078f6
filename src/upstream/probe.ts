/** Opens a session on an upstream and lets go of it at once, to see whether one could be opened. */

import { randomUUID } from 'node:crypto';
import type { WebSocket } from 'ws';
import { untilAborted } from '../outbound/abort.js';
import { objectOf } from '../protocol/event.js';
import { type DialOptions, departure, dial } from './dial.js';
import { DialFailure, exitOf, failureOfEvent, failureOfPatience } from './failure.js';
import type { OpenOptions } from './pool.js';
import type { UpstreamTarget } from './target.js';

const greetingBytes = 1024 * 1024;

/** What a probe needs to know of the settings; those of a relay hold more. */
interface ProbedSettings {
  readonly limits: { readonly dial_seconds: number; readonly second_dial_ms: number };
  readonly profiles: ReadonlyMap<string, { readonly session: { readonly type: string } }>;
}

/** A session as it takes the least: where all profiles only transcribe, the deployment may be able to do nothing else. */
export function probeOptions({ limits, profiles }: ProbedSettings, signal: AbortSignal): OpenOptions {
  const transcribes = [...profiles.values()].every(({ session }) => session.type === 'transcription');
  return {
    requestId: randomUUID(),
    signal,
    dialSeconds: limits.dial_seconds,
    secondDialMs: limits.second_dial_ms,
    ...(transcribes && { intent: 'transcription' }),
  };
}

/** Resolves when the upstream has said `session.created`. Rejects as a dial does. */
export async function probe(target: UpstreamTarget, options: DialOptions): Promise<void> {
  const late = AbortSignal.timeout(Math.ceil(options.timeoutSeconds * 1000));
  const { socket } = await dial(target, { ...options, maxPayload: greetingBytes });
  try {
    await untilAborted(greeting(socket), AbortSignal.any([options.signal, late]));
  } catch (error) {
    if (options.signal.aborted) throw departure(options.signal, 'greeting');
    throw late.aborted ? exitOf(failureOfPatience('It began no session in time', 'greeting')) : error;
  } finally {
    socket.close(1000);
  }
}

function greeting(socket: WebSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('message', (data: Buffer) => {
      const { type, error } = read(data);
      if (type === 'session.created') resolve();
      else reject(exitOf(failureOfEvent(type === 'error' ? error : undefined)));
    });
    socket.once('close', (code) => {
      reject(
        exitOf(
          new DialFailure('no_session', `It closed the connection with ${code} (greeting)`, { phase: 'greeting' }),
        ),
      );
    });
    socket.resume();
  });
}

function read(data: Buffer): { type?: unknown; error?: unknown } {
  try {
    return objectOf(JSON.parse(data.toString()));
  } catch {
    return {};
  }
}
