/** A sideband of a live session, as the command line opens one. */

import { WebSocket } from 'ws';

/** Where it is, and who asks. */
export interface SidebandOptions {
  readonly url: URL;
  readonly token: string;
  /** Whether any certificate will do. */
  readonly insecure: boolean;
}

/** What comes of it: it is opened and then closed, or refused, or it fails. */
export interface SidebandEvents {
  opened(): void;
  message(text: string): void;
  closed(code: number, reason: string): void;
  /** The handshake was answered otherwise. */
  refused(status: number, body: string): void;
  failed(error: Error): void;
}

const timeoutMs = 15_000;
const mostCharacters = 1024 * 1024;

/** Opens one; gives what closes it. */
export function openSideband({ url, token, insecure }: SidebandOptions, on: SidebandEvents): () => void {
  const socket = new WebSocket(url.href.replace(/^http/, 'ws'), {
    headers: { authorization: `Bearer ${token}` },
    rejectUnauthorized: !insecure,
    handshakeTimeout: timeoutMs,
  });
  let isOpen = false;
  socket.on('open', () => {
    isOpen = true;
    on.opened();
  });
  socket.on('message', (data) => on.message(String(data)));
  // Why it never was open is told by what refused it.
  socket.on('close', (code, reason) => isOpen && on.closed(code, String(reason)));
  socket.on('error', (error) => {
    if (!isOpen) on.failed(error);
  });
  socket.on('unexpected-response', (_request, answer) => {
    let text = '';
    answer.setEncoding('utf8');
    answer.on('data', (chunk: string) => {
      if (text.length < mostCharacters) text += chunk;
    });
    answer.on('end', () => {
      on.refused(answer.statusCode ?? 0, text);
      socket.terminate();
    });
  });
  return () => socket.close();
}
