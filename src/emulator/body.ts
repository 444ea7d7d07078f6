/** The bodies of the emulator's plain HTTP requests. */

import type { IncomingMessage } from 'node:http';

const maxBodyBytes = 1024 * 1024;

/** The whole body as text; rejects with a RangeError when it is over 1 MiB. */
export async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBodyBytes) throw new RangeError(`the body is over ${maxBodyBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
