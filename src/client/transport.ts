/** How events travel between the page and the relay; the WebSocket is here, WebRTC in its own file. */

/** An event of the Realtime protocol, as it comes from the relay or goes to it. */
export interface RealtimeEvent {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** How a connection ended, in the words of a close frame. */
export interface TransportEnd {
  /** Close code of RFC 6455 section 7.4; 1006 when the connection just broke or never came to be. */
  readonly code: number;
  /** The id of the exit, or empty. */
  readonly reason: string;
  /** For people, when the transport knows more than code and reason tell. */
  readonly message?: string;
  /** How long to wait before the next attempt, when the relay said so. */
  readonly retryAfterMs?: number;
}

/** What a transport tells its owner. `ended` comes once, and nothing comes after it. */
export interface TransportHandlers {
  received(event: RealtimeEvent): void;
  /** Events can be sent, where that does not wait for `session.created`. */
  opened?(): void;
  ended(end: TransportEnd): void;
  /** The model's voice, where the transport carries it as a media stream. */
  heard?(stream: MediaStream): void;
}

/** One connection to the relay. */
export interface Transport {
  /** Whether sound travels beside the events, so that nobody has to append or play it. */
  readonly carriesAudio: boolean;
  /** Bytes that wait to be sent. */
  readonly bufferedBytes: number;
  send(event: RealtimeEvent): void;
  /** Gives the user's microphone to a transport that carries audio; null takes it away. */
  setMicrophone?(track: MediaStreamTrack | null): void;
  /** Ends the connection; `ended` follows. */
  close(): void;
}

/** Opens a connection with a credential. Never throws: what goes wrong is told by `ended`. */
export type OpenTransport = (address: string, token: string, handlers: TransportHandlers) => Transport;

/** Base64url and dots: what app tokens (RFC 7515) and the relay's client secrets are made of. */
const credential = /^[A-Za-z0-9._~-]+$/;

/** Why a text cannot be a credential, or null. */
export function problemOf(token: string): string | null {
  if (token === '') return 'There is no token.';
  return credential.test(token) ? null : 'This is not a token: it has characters that no token has.';
}

/**
 * A WebSocket on the OpenAI path. Pages cannot set headers, so the token goes as a subprotocol, which keeps it out of
 * addresses and therefore out of access logs.
 */
export const openWebSocket: OpenTransport = (address, token, handlers) => {
  const url = new URL('v1/realtime?relay_events=on', address.endsWith('/') ? address : `${address}/`);
  url.protocol = url.protocol.replace('http', 'ws');
  const socket = new WebSocket(url, ['realtime', `openai-insecure-api-key.${token}`]);
  socket.addEventListener('message', ({ data }) => handlers.received(JSON.parse(String(data)) as RealtimeEvent));
  socket.addEventListener('close', ({ code, reason }) => handlers.ended({ code, reason }), { once: true });
  return {
    carriesAudio: false,
    get bufferedBytes() {
      return socket.bufferedAmount;
    },
    send(event) {
      if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(event));
    },
    close: () => socket.close(1000, 'normal'),
  };
};
