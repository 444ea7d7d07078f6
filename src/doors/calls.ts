/** The doors for WebRTC: an SDP offer in, an SDP answer out; and the owner's way to hang up. */

import type { Express, RequestHandler } from 'express';
import { type Admission, admit } from '../admission/admission.js';
import type { AdmissionServices, Wishes } from '../admission/candidate.js';
import { checkWebrtc, profileOf } from '../admission/judging.js';
import type { Request as Asked } from '../admission/recognise.js';
import { sdkOf } from '../admission/sdk.js';
import type { Peers } from '../control/peers.js';
import { notServed } from '../errors.js';
import type { Reaches } from '../session/reach.js';
import type { SessionRegistry } from '../session/registry.js';
import { Session, type SessionServices } from '../session/session.js';
import type { Metrics } from '../telemetry/metrics.js';
import { publicId } from '../uuid.js';
import { guestOf, identify, urlOf } from './guest.js';
import { hasOffer, offerBody, offerOf } from './offer.js';

export const callPaths = ['/v1/realtime/calls', '/openai/v1/realtime/calls'];

/** Where OpenAI took offers at first, beside WebSockets. */
const olderPaths = ['/v1/realtime', '/openai/v1/realtime'];

/** What calls are made of. */
export interface CallServices {
  readonly admission: AdmissionServices;
  readonly session: Omit<SessionServices, 'ended'>;
  readonly reaches: Pick<Reaches, 'byOffer'>;
  readonly registry: SessionRegistry;
  readonly metrics: Metrics;
  readonly peers: Peers;
}

/** Adds the routes; `cors` goes before them and lets pages of allowed origins in. */
export function callRoutes(app: Express, services: CallServices, cors: RequestHandler): void {
  const { admission, peers } = services;
  app.use(callPaths, cors);
  const calling = [identify(admission, 'session'), knock(admission), ...offerBody, create(services)];
  app.post(callPaths, calling);
  app.post(olderPaths, offersOnly, cors, calling);
  app.post(
    callPaths.map((path) => `${path}/:id/hangup`),
    identify(admission, 'mint'),
    knock(admission),
    hangUp(peers),
  );
}

/** Who comes too often is refused with their body unread, too. */
function knock(admission: AdmissionServices): RequestHandler {
  return (_request, response, next) => {
    const { principal } = guestOf(response);
    admission.connects.knock(principal, profileOf(principal, admission.settings().profiles));
    next();
  };
}

/** Leaves whatever else is posted to those who say what the path is for. */
const offersOnly: RequestHandler = (request, _response, next) => next(hasOffer(request) ? undefined : 'route');

function create(services: CallServices): RequestHandler {
  return async (request, response) => {
    const offer = offerOf(request);
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const { requestId } = response.locals as { requestId: string };
    const guest = guestOf(response);
    const asked = { message: request, url: urlOf(request) };
    checkWebrtc(profileOf(guest.principal, services.admission.settings().profiles));
    const admission = await admit(asked, { requestId, ...wishesOf(asked) }, services.admission, guest);
    const { call, answered } = begin(services, admission, asked, offer);
    const leave = () => call.end('normal', 'client', { message: 'The client did not wait for the answer.' });
    gone.signal.addEventListener('abort', leave, { once: true });
    if (gone.signal.aborted) leave();
    void call.open();
    const answer = await answered.finally(() => gone.signal.removeEventListener('abort', leave));
    if (gone.signal.aborted) {
      leave();
      return;
    }
    response.status(201).set({
      'Content-Type': 'application/sdp',
      'Cache-Control': 'no-store',
      Location: `${callPaths[0]}/${call.callId}`,
      'Access-Control-Expose-Headers': 'Location, x-request-id',
    });
    // Not `send`, which would name a charset.
    response.end(answer);
  };
}

/** Makes the call; whatever goes wrong before it stands in the registry, nothing of its admission stays behind. */
function begin(
  { session, reaches, registry, metrics }: CallServices,
  admission: Admission,
  { message, url }: Asked,
  offer: string,
): { readonly call: Session; readonly answered: Promise<string> } {
  try {
    metrics.clientAdmitted(admission.dialect, sdkOf(message.headers, url.searchParams));
    const [answered, answer, refuse] = promised<string>();
    const reach = reaches.byOffer(offer, answer);
    const callId = publicId('call', admission.requestId);
    const call = new Session(
      admission,
      { client: null, reach, callId, transport: 'webrtc' },
      {
        ...session,
        ended(ended, why) {
          refuse(why);
          registry.remove(ended);
        },
      },
    );
    registry.add(call);
    admission.seated();
    return { call, answered };
  } catch (error) {
    admission.release();
    throw error;
  }
}

/** A promise, and what settles it. Whoever waits for it hears of it; nobody has to. */
function promised<T>(): [Promise<T>, (value: T) => void, (error: unknown) => void] {
  let settle: [(value: T) => void, (error: unknown) => void] | null = null;
  const promise = new Promise<T>((resolve, reject) => {
    settle = [resolve, reject];
  });
  promise.catch(() => undefined);
  return [promise, ...(settle as unknown as [(value: T) => void, (error: unknown) => void])];
}

function wishesOf({ message: { headers } }: Asked): Omit<Wishes, 'requestId'> {
  const { traceparent } = headers;
  return {
    dialect: 'ga',
    apiVersion: null,
    relayEvents: false,
    traceparent: typeof traceparent === 'string' ? traceparent : undefined,
  };
}

function hangUp(peers: Peers): RequestHandler {
  return async (request, response) => {
    const { issuer, tenant, subject } = guestOf(response).principal;
    const owner = { issuer, tenant, subject };
    const found = await peers.ask({ verb: 'hang_up', id: String(request.params.id), owner });
    if (found) response.status(200).end();
    else {
      // The same for a call of somebody else: who asks must not learn that it exists.
      const { status, body } = notServed(404, 'No call of yours has this id.');
      response.status(status).json(body);
    }
  };
}
