import type { Shown } from '../../src/client/thread.js';
import type { OpenTransport, RealtimeEvent, Transport, TransportHandlers } from '../../src/client/transport.js';
import { type ExitId, errorBody, exits, RelayError } from '../../src/errors.js';

/** A transport in the hands of the test: every connection that was opened, in order. */
export function fakeTransport(extra: Partial<Transport> = {}) {
  interface Opened {
    readonly token: string;
    readonly handlers: TransportHandlers;
    /** What a session was to be gone on with. */
    readonly shown: Shown | null;
    readonly sent: RealtimeEvent[];
    isClosed: boolean;
    isAbandoned: boolean;
  }
  const opened: Opened[] = [];
  const open: OpenTransport = (_address, token, handlers, shown = null) => {
    const one: Opened = { token, handlers, shown, sent: [], isClosed: false, isAbandoned: false };
    opened.push(one);
    const transport: Transport = {
      carriesAudio: false,
      bufferedBytes: 0,
      send: (event) => void one.sent.push(event),
      close: () => {
        one.isClosed = true;
      },
      abandon: () => {
        one.isAbandoned = true;
      },
    };
    return Object.defineProperties(transport, Object.getOwnPropertyDescriptors(extra));
  };
  const last = () => {
    const one = opened.at(-1);
    if (!one) throw new Error('nothing was opened');
    return one;
  };
  /** Ends the connection as the relay does: the announcement, where there is one, and the close frame. */
  const endWith = (id: ExitId, retryAfterMs?: number) => {
    const { handlers } = last();
    const error = new RelayError(id, 'said by the test', { retryAfterMs });
    if (exits[id].announced) handlers.received({ type: 'error', error: { ...errorBody(error), event_id: null } });
    handlers.ended({ code: exits[id].close, reason: id });
  };
  return { open, opened, last, endWith };
}
