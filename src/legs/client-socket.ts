/** The server's side of a connection with a client, as `ws` makes it. */

import { WebSocket } from 'ws';

/**
 * A server-side socket that can say why it closes. `ws` closes by itself when a peer breaks the protocol (RFC 6455) or
 * its size limit, and only then reports it; this is the one moment at which an `error` event and a reason still fit.
 */
export class ClientSocket extends WebSocket {
  /** Called with the close code just before; returns the reason to put into the close frame. Set by the leg. */
  violated: ((code: number) => string) | null = null;

  override close(code?: number, reason?: string | Buffer): void {
    const own = code !== undefined && reason === undefined && this.readyState === WebSocket.OPEN;
    super.close(code, own ? this.violated?.(code) : reason);
  }
}
