/** What an upstream says instead of opening a WebSocket. */

import type { IncomingMessage } from 'node:http';

const bodyBytes = 64 * 1024;
const bodyMs = 2000;

/** The first 64 KiB, or what came of it in two seconds: a refusal must not become a hang. */
export function readBody(answer: IncomingMessage): Promise<string> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const done = () => {
      clearTimeout(timer);
      answer.removeAllListeners('data');
      resolve(Buffer.concat(chunks).subarray(0, bodyBytes).toString('utf8'));
    };
    const timer = setTimeout(done, bodyMs);
    answer.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length >= bodyBytes) done();
    });
    answer.once('end', done);
    answer.once('close', done);
    answer.on('error', done);
  });
}
