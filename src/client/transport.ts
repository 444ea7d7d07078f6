/** How events travel between the page and the relay; the WebSocket is here, WebRTC in its own file. */

import type { Shown } from './thread.js';

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
  /** Something is wrong, and the connection goes on. */
  troubled?(code: string, message: string): void;
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
  /** Lets go of a connection whose session is gone on with over another one; nothing follows. Left out: there is no such thing. */
  abandon?(): void;
}

/**
 * Opens a connection with a credential; `shown` is what a session from before is to be gone on with. Throws for an address that cannot be one, and where the browser cannot connect at
 * all; what goes wrong later is told by `ended`.
 */
export type OpenTransport = (
  address: string,
  token: string,
  handlers: TransportHandlers,
  shown?: Shown | null,
) => Transport;

/** Base64url and dots: what app tokens (RFC 7515) and the relay's client secrets are made of. */
const credential = /^[A-Za-z0-9._~-]+$/;

/** Why a text cannot be a credential, or null. */
export function problemOf(token: string): string | null {
  if (token === '') return 'There is no token.';
  return credential.test(token) ? null : 'This is not a token: it has characters that no token has.';
}

const localName = /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\])$/;

/**
 * The URL of one of the relay's doors, such as `v1/realtime`, for what people give as its address: with or without a path,
 * of http or ws. Throws an Error that says what is wrong with it.
 */
export function doorOf(address: string, path: string, scheme: 'ws' | 'http'): URL {
  const url = URL.canParse(address) ? new URL(address) : null;
  if (!url || !/^(ws|http)s?:$/.test(url.protocol)) {
    throw new Error(`"${address}" is not the address of a relay; give it like https://relay.example.`);
  }
  if (url.username || url.password) {
    throw new Error(
      'The address of the relay holds a user name or password; leave them out, the token says who you are.',
    );
  }
  const isSecure = /^(ws|http)s:$/.test(url.protocol);
  if (!isSecure && globalThis.location?.protocol === 'https:' && !localName.test(url.hostname)) {
    throw new Error(`A page of https:// cannot connect to ${url.origin}; the relay needs https:// as well.`);
  }
  url.protocol = scheme + (isSecure ? 's:' : ':');
  url.pathname = `${url.pathname.replace(/(\/v1(\/realtime)?)?\/*$/, '')}/${path}`;
  url.hash = '';
  return url;
}

/** The event of a message, or null: what is none is not of a relay. */
export function eventOf(data: unknown): RealtimeEvent | null {
  try {
    const event: unknown = typeof data === 'string' ? JSON.parse(data) : null;
    return typeof (event as RealtimeEvent | null)?.type === 'string' ? (event as RealtimeEvent) : null;
  } catch {
    // It is not JSON, and said to be no event.
    return null;
  }
}

/** The end of a connection to something that speaks, but not as a relay does. */
export const notARelay: TransportEnd = {
  code: 1002,
  reason: '',
  message: 'What answers at this address sends messages that no relay sends.',
};

/**
 * A WebSocket on the OpenAI path. Pages cannot set headers, so the token goes as a subprotocol, which keeps it out of
 * addresses and therefore out of access logs.
 */
export const openWebSocket: OpenTransport = (address, token, handlers, shown = null) => {
  const url = doorOf(address, 'v1/realtime', 'ws');
  url.searchParams.set('relay_events', 'on');
  url.searchParams.set('resume', 'on');
  const protocols = ['realtime', `openai-insecure-api-key.${token}`];
  if (shown) protocols.push(`realtime-relay-resume.${shown.token}.${shown.received}`);
  const socket = new WebSocket(url, protocols);
  let isOver = false;

  function finish(end: TransportEnd): void {
    if (isOver) return;
    isOver = true;
    socket.close();
    handlers.ended(end);
  }

  socket.addEventListener('message', ({ data }) => {
    if (isOver) return;
    const event = eventOf(data);
    if (event) handlers.received(event);
    else finish(notARelay);
  });
  // An `error` event says nothing, and `close` follows it.
  socket.addEventListener('close', ({ code, reason }) => finish({ code, reason }));
  return {
    carriesAudio: false,
    get bufferedBytes() {
      return socket.bufferedAmount;
    },
    send(event) {
      if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(event));
    },
    close: () => socket.close(1000, 'normal'),
    abandon() {
      isOver = true;
      // Another code than that of a client that has finished.
      socket.close(3001, 'resuming');
    },
  };
};
