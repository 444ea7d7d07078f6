/** Opens a session on an upstream and lets go of it at once, to see whether one could be opened. */

import type { WebSocket } from 'ws';
import { objectOf } from '../protocol/event.js';
import { untilAborted } from './abort.js';
import { type DialOptions, departure, dial } from './dial.js';
import { DialFailure, exitOf, failureOfEvent, failureOfPatience } from './failure.js';
import type { UpstreamTarget } from './target.js';

const greetingBytes = 1024 * 1024;

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
