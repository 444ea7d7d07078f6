/** The bodies of the emulator's plain HTTP requests. */

import type { IncomingMessage } from 'node:http';

const maxBodyBytes = 1024 * 1024;

/** The whole body as text; rejects with a RangeError when it is over `maxBytes`, 1 MiB when left out. */
export async function readBody(request: IncomingMessage, maxBytes = maxBodyBytes): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) throw new RangeError(`the body is over ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
