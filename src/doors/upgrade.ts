/** The door for WebSocket clients: from the upgrade request to a session, or to a refusal that costs no upstream. */

import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type ServerOptions, WebSocketServer } from 'ws';
import { type Admission, admit } from '../admission/admission.js';
import { originsOfAll } from '../admission/anonymous.js';
import type { AdmissionServices } from '../admission/candidate.js';
import { checkOrigin, isListedLiterally } from '../admission/origin.js';
import { type Request, signOf, whoOf } from '../admission/recognise.js';
import { sdkOf } from '../admission/sdk.js';
import { offeredProtocols } from '../auth/credentials.js';
import type { Peers } from '../control/peers.js';
import type { Resuming } from '../control/resuming.js';
import { errorBody, httpRefusal, RelayError } from '../errors.js';
import { clientLeg, refusedLeg } from '../legs/client.js';
import { ClientSocket } from '../legs/client-socket.js';
import { eventBytesOf } from '../legs/readers.js';
import { eventOf } from '../protocol/event.js';
import type { Reaches } from '../session/reach.js';
import type { SessionRegistry } from '../session/registry.js';
import { Session, type SessionServices } from '../session/session.js';
import { surely } from '../session/surely.js';
import type { Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import { logRepeated } from '../telemetry/repeats.js';
import { mostPendingPongs } from '../upstream/dial.js';
import { orderedUuid } from '../uuid.js';
import { carriedBy } from './carrying.js';
import { dialectOf, isDoor, noSuchPath, targetOf } from './paths.js';
import { answerPlainly } from './plain.js';
import { canResume, type ResumeWish, Returns, resumeWishOf } from './returns.js';
import { followedBy, type Sidebands, sidebandBytes, type Visit } from './sidebands.js';

/** One upgrade request, as the HTTP server hands it over, and the id it is known by from here on. */
interface Upgrade {
  readonly message: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
  readonly requestId: string;
  /** What admission looks at, once that is known. */
  request?: Request;
}

/** What the gateway needs. */
export interface GatewayServices {
  readonly admission: AdmissionServices;
  readonly session: Omit<SessionServices, 'ended'>;
  readonly reaches: Pick<Reaches, 'bySocket'>;
  readonly registry: SessionRegistry;
  readonly sidebands: Sidebands;
  readonly resuming: Resuming;
  readonly peers: Pick<Peers, 'resume'>;
  readonly metrics: Metrics;
  readonly log: Log;
}

/** Options that the type definitions of `ws` do not know. */
interface UntypedOptions {
  readonly closeTimeout: number;
  readonly maxPendingAutoPongs: number;
}

/** Time a client has to answer the relay's close frame before its socket is cut. */
const closeTimeoutMs = 5000;
const maxFragments = 1024;
const requestIdHeader = 'x-request-id';
/** The one subprotocol that is ever selected. */
const protocol = 'realtime';
/** What a refused browser may still send before it reads the reason. */
const refusedBytes = 16 * 1024;

/** Makes the handler of the HTTP server's `upgrade` event. */
export function createGateway(services: GatewayServices) {
  const { registry, metrics, log } = services;
  const returns = new Returns(services);
  const forSessions = {
    ...services.session,
    ended(ended: Session, why: RelayError) {
      registry.remove(ended);
      services.resuming.comebacks.ended(ended, why);
    },
  };
  /** One server object for each size limit: `ws` knows only one limit a server. */
  const servers = new Map<number, WebSocketServer>();
  const serverFor = (maxPayload: number): WebSocketServer => {
    let server = servers.get(maxPayload);
    if (!server) {
      const options: ServerOptions<typeof ClientSocket> & UntypedOptions = {
        noServer: true,
        clientTracking: false,
        perMessageDeflate: false,
        maxPayload,
        maxFragments,
        closeTimeout: closeTimeoutMs,
        maxPendingAutoPongs: mostPendingPongs,
        WebSocket: ClientSocket,
      };
      server = new WebSocketServer(options);
      servers.set(maxPayload, server);
    }
    return server;
  };

  /** Completes the handshake; null when the client has gone meanwhile. */
  function upgrade({ message, socket, head, requestId }: Upgrade, maxPayload: number): ClientSocket | null {
    let upgraded: ClientSocket | null = null;
    const server = serverFor(maxPayload);
    // Read already: `ws` would refuse a list with an empty or a repeated name, in words of its own and without a trace.
    const offered = offeredProtocols(message.headers);
    if (offered.includes(protocol)) message.headers['sec-websocket-protocol'] = protocol;
    else delete message.headers['sec-websocket-protocol'];
    const identify = (headers: string[]) => void headers.push(`${requestIdHeader}: ${requestId}`);
    // `ws` answers before it returns, so that no other handshake can get this id.
    server.on('headers', identify);
    server.handleUpgrade(message, socket, head, (ws) => {
      upgraded = ws as ClientSocket;
    });
    server.off('headers', identify);
    return upgraded;
  }

  /** Makes the session; whatever goes wrong before it stands in the registry, nothing of its admission stays behind. */
  function open(admission: Admission, url: URL, asked: Upgrade, wish: ResumeWish | null): void {
    const { message, socket } = asked;
    let ws: ClientSocket | null = null;
    let session: Session | null = null;
    try {
      metrics.clientAdmitted(admission.dialect, sdkOf(message.headers, url.searchParams));
      ws = socket.writable ? upgrade(asked, eventBytesOf(admission.profile)) : null;
      if (!ws) {
        admission.release();
        return;
      }
      const legs = clientLeg(ws, socket, admission, metrics.slowPath, wish !== null && canResume(admission));
      session = new Session(admission, { ...legs, reach: services.reaches.bySocket }, forSessions);
      registry.add(session);
      admission.seated();
    } catch (error) {
      admission.release();
      if (!ws) throw error;
      const [refusal, opened] = [RelayError.from(error), ws];
      surely(
        () => note(refusal, asked),
        () => tell(opened, socket, refusal),
      );
      return;
    }
    void session.open();
  }

  function note(error: RelayError, asked: Upgrade): void {
    metrics.refused(error.id);
    const { id, message: detail, cause } = error;
    const { requestId } = asked;
    const path = pathOf(asked.message);
    const { about, fields } = whoOf(asked.request ?? { message: asked.message }, services.admission);
    const own = { requestId, detail, path, ...(cause ? { error: cause } : {}) };
    const line = { about: `${id} ${about}`, common: { reason: id, ...fields }, own };
    logRepeated(log, id === 'internal' ? 'error' : 'warn', line, 'session.refused');
  }

  function refuse(error: RelayError, browser: boolean, asked: Upgrade, isNoted = false): void {
    surely(
      () => (isNoted ? undefined : note(error, asked)),
      () => {
        // A page cannot read the status of a failed handshake, so it learns the reason on an open socket.
        const ws = browser ? upgrade(asked, refusedBytes) : null;
        if (ws) tell(ws, asked.socket, error);
        else if (!browser) answerPlainly(asked.socket, httpRefusal(error), { [requestIdHeader]: asked.requestId });
      },
    );
  }

  // A connection that came in elsewhere is upgraded here, where its session is.
  services.resuming.accept = ({ key, hasProtocol, requestId }, join, { admission }) => {
    const stream = carriedBy(join());
    const headers = {
      ...{ upgrade: 'websocket', connection: 'Upgrade', 'sec-websocket-version': '13', 'sec-websocket-key': key },
      ...(hasProtocol && { 'sec-websocket-protocol': protocol }),
    };
    const message = { method: 'GET', headers } as unknown as IncomingMessage;
    const asked = { message, socket: stream, head: Buffer.alloc(0), requestId };
    const socket = upgrade(asked, eventBytesOf(admission.profile));
    return socket && { socket, stream };
  };

  return async function gateway(message: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    // From the first line on: a client that vanishes now must not take the process with it.
    socket.on('error', destroyed);
    const asked: Upgrade = { message, socket, head, requestId: orderedUuid() };
    const slow = setTimeout(() => {
      refuse(new RelayError('idle_timeout', 'The handshake took too long; try again.'), false, asked);
    }, services.admission.settings().limits.handshake_seconds * 1000);
    let browser = false;
    let visit: Visit | null = null;
    try {
      const { admission } = services;
      const url = targetOf(message);
      checkHandshake(message);
      browser = checkOrigin(message, originsOfAll(admission.origins, admission.settings().profiles)) !== null;
      const followed = url && followedBy(url, isDoor(url.pathname));
      if (url && followed) {
        visit = { message, url, socket, requestId: asked.requestId };
        asked.request = visit;
        await services.sidebands.attach(visit, followed, () => upgrade(asked, sidebandBytes));
        return;
      }
      if (!url || !isDoor(url.pathname)) {
        throw new RelayError('not_found', noSuchPath);
      }
      // With a call's id it is somebody who observes, and says who.
      const mayBeAnonymous = !url.searchParams.has('call_id');
      const request: Request = { message, url, cookie: cookieFor(message, url, admission), mayBeAnonymous };
      asked.request = request;
      const { traceparent } = message.headers;
      const wishes = {
        requestId: asked.requestId,
        traceparent: typeof traceparent === 'string' ? traceparent : undefined,
        dialect: dialectOf(message, url, signOf(request, admission) !== 'own'),
        apiVersion: url.searchParams.get('api-version'),
        relayEvents: url.searchParams.get('relay_events') === 'on',
      };
      const wish = resumeWishOf(message, url);
      const guest = wish?.shown
        ? await returns.attend({
            ...{ request, wishes, socket, head, shown: wish.shown, isRequired: wish.isRequired },
            upgrade: (bytes) => upgrade(asked, bytes),
          })
        : undefined;
      if (guest === null) return;
      open(await admit(request, wishes, admission, guest), url, asked, wish);
    } catch (error) {
      if (socket.writable) refuse(RelayError.from(error), browser, asked, visit?.isOnAccount);
    } finally {
      clearTimeout(slow);
    }
  };
}

/** Says why on an open socket, and closes it. */
function tell(ws: ClientSocket, stream: Duplex, error: RelayError): void {
  const event = eventOf({ type: 'error', event_id: 'event_rly_0', error: { ...errorBody(error), event_id: null } });
  refusedLeg(ws, stream, refusedBytes).close({ id: error.id, event });
}

/** Made here, where it can see nothing: it lives as long as the session, and would keep the request and its headers. */
function destroyed(this: Duplex): void {
  this.destroy();
}

/**
 * The cookie that may hold a credential: browsers send it whichever page asks, so only for a page that the operator has
 * named, and for a session of its own.
 */
function cookieFor(message: IncomingMessage, url: URL, { cookie, origins }: AdmissionServices): string | null {
  return cookie && !url.searchParams.has('call_id') && isListedLiterally(message, origins) ? cookie : null;
}

function pathOf(message: IncomingMessage): string {
  return (message.url ?? '').split('?', 1)[0]?.slice(0, 100) ?? '';
}

/** What RFC 6455 section 4.2.1 asks of a client; checked before anything costs more than this. */
function checkHandshake({ method, httpVersion, headers }: IncomingMessage): void {
  const wrong =
    method !== 'GET'
      ? 'the method must be GET'
      : httpVersion !== '1.1'
        ? 'HTTP/1.1 is needed'
        : headers.upgrade?.toLowerCase() !== 'websocket'
          ? 'the Upgrade header must be "websocket"'
          : headers['sec-websocket-version'] !== '13'
            ? 'Sec-WebSocket-Version must be 13'
            : !/^[+/0-9A-Za-z]{22}==$/.test(headers['sec-websocket-key'] ?? '')
              ? 'Sec-WebSocket-Key must be 16 bytes in base64'
              : headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0
                ? 'it has a body'
                : null;
  if (wrong) throw new RelayError('bad_event', `This is not a WebSocket handshake: ${wrong}.`);
}
