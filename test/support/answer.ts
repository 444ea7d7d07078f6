/** A spoken answer as an upstream in the hands of a test says it. */

import { onTestFinished } from 'vitest';
import type { WebSocket } from 'ws';

/** Of the speech that models make: 24,000 samples a second, in base64. */
const speechBytesPerSecond = 64_000;
const deltaMs = 100;
const delta = Buffer.alloc((speechBytesPerSecond * deltaMs) / 1000, 'A').toString('latin1');
/** What every event of the answer's one item carries. */
export const at = { event_id: 'event_x', item_id: 'item_1', output_index: 0, content_index: 0 };
/** Begins a response with one item. */
export function begin(ws: WebSocket, id: string): void {
  const response = { object: 'realtime.response', id, status: 'in_progress', output: [], metadata: null };
  ws.send(JSON.stringify({ type: 'response.created', event_id: 'event_r', response }));
  const item = { id: 'item_1', type: 'message', role: 'assistant', status: 'in_progress', content: [] };
  ws.send(
    JSON.stringify({ type: 'response.output_item.added', event_id: 'event_i', response_id: id, output_index: 0, item }),
  );
}

/** Ends the response. */
export function finish(ws: WebSocket, id: string, status: string): void {
  const response = { object: 'realtime.response', id, status, output: [], metadata: null };
  ws.send(JSON.stringify({ type: 'response.done', event_id: 'event_d', response }));
}

/** Says so many pieces of speech of 100 ms each. */
export function speak(ws: WebSocket, id: string, count = 1): void {
  const text = JSON.stringify({ type: 'response.output_audio.delta', ...at, response_id: id, delta });
  for (let i = 0; i < count; i++) ws.send(text);
}

/** Speaks at so many times the pace of speech until all is said or it is stopped. */
export function speakAt(
  ws: WebSocket,
  id: string,
  factor: number,
  seconds: number,
): { stop(): void; done: Promise<void> } {
  let left = (seconds * 1000) / deltaMs;
  let stop = () => undefined as undefined;
  const done = new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      const now = Math.min(left, factor);
      left -= now;
      speak(ws, id, now);
      if (left <= 0) stop();
    }, deltaMs);
    stop = () => {
      clearInterval(timer);
      resolve();
      return undefined;
    };
    onTestFinished(() => void stop());
  });
  return { stop, done };
}
