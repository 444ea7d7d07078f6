/** Ports for commands that run everything on one machine. */

import { createServer } from 'node:net';

/** The port itself when nobody has it, else 0, which is any that is free. */
export async function freePort(wanted: number): Promise<number> {
  const isFree = await new Promise<boolean>((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(wanted, '127.0.0.1', () => probe.close(() => resolve(true)));
  });
  return isFree ? wanted : 0;
}
