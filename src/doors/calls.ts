/** The doors for WebRTC: an SDP offer in, an SDP answer out; and the owner's way to hang up. */

import type { Express, RequestHandler } from 'express';
import type { AdmissionServices } from '../admission/candidate.js';
import { profileOf } from '../admission/judging.js';
import type { Peers } from '../control/peers.js';
import { notServed } from '../errors.js';
import type { Calls } from '../session/calls.js';
import { guestOf, identify, urlOf } from './guest.js';
import { hasOffer, offerBody, offerOf } from './offer.js';

export const callPaths = ['/v1/realtime/calls', '/openai/v1/realtime/calls'];

/** Where OpenAI took offers at first, beside WebSockets. */
const olderPaths = ['/v1/realtime', '/openai/v1/realtime'];

interface CallServices {
  readonly admission: AdmissionServices;
  readonly calls: Calls;
  readonly peers: Peers;
}

/** Adds the routes; `cors` goes before them and lets pages of allowed origins in. */
export function callRoutes(app: Express, { admission, calls, peers }: CallServices, cors: RequestHandler): void {
  app.use(callPaths, cors);
  const calling = [identify(admission, 'session'), knock(admission), ...offerBody, create(calls)];
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

function create(calls: Calls): RequestHandler {
  return async (request, response) => {
    const offer = offerOf(request);
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const { requestId } = response.locals as { requestId: string };
    const asked = { message: request, url: urlOf(request) };
    const { id, answer } = await calls.open(asked, requestId, guestOf(response), offer, gone.signal);
    if (gone.signal.aborted) return;
    response.status(201).set({
      'Content-Type': 'application/sdp',
      'Cache-Control': 'no-store',
      Location: `${callPaths[0]}/${id}`,
      'Access-Control-Expose-Headers': 'Location, x-request-id',
    });
    // Not `send`, which would name a charset.
    response.end(answer);
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
