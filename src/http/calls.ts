/** The doors for WebRTC: an SDP offer in, an SDP answer out; and the owner's way to hang up. */

import type { IncomingMessage } from 'node:http';
import express, { type Express, type Request as HttpRequest, type RequestHandler } from 'express';
import { notServed, RelayError } from '../errors.js';
import { type AdmissionServices, profileOf } from '../session/admission.js';
import type { Calls } from '../session/calls.js';
import { fieldOf } from './form.js';
import { guestOf, identify, urlOf } from './guest.js';

export const callPaths = ['/v1/realtime/calls', '/openai/v1/realtime/calls'];

const offerBytes = 64 * 1024;
/** The multipart form also carries a session, which is read past. */
const formBytes = 4 * offerBytes;

/** Adds the routes; `cors` goes before them and lets pages of allowed origins in. */
export function callRoutes(app: Express, calls: Calls, admission: AdmissionServices, cors: RequestHandler): void {
  app.use(callPaths, cors);
  const offer = express.raw({ limit: offerBytes, type: (request) => !isForm(request) });
  const form = express.raw({ limit: formBytes, type: isForm });
  app.post(callPaths, identify(admission, 'session'), knock(admission), offer, form, create(calls));
  app.post(
    callPaths.map((path) => `${path}/:id/hangup`),
    identify(admission, 'mint'),
    knock(admission),
    hangUp(calls),
  );
}

/** Who comes too often is refused with their body unread, too. */
function knock(admission: AdmissionServices): RequestHandler {
  return (_request, response, next) => {
    const { principal } = guestOf(response);
    admission.connects.knock(principal, profileOf(principal, admission.profiles));
    next();
  };
}

function isForm({ headers }: IncomingMessage): boolean {
  return /^multipart\/form-data\b/i.test(headers['content-type'] ?? '');
}

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

function hangUp(calls: Calls): RequestHandler {
  return async (request, response) => {
    const found = await calls.hangUp(guestOf(response), String(request.params.id));
    if (found) response.status(200).end();
    else {
      // The same for a call of somebody else: who asks must not learn that it exists.
      const { status, body } = notServed(404, 'No call of yours has this id.');
      response.status(status).json(body);
    }
  };
}

/** The offer of either form of the request. The session that the form may carry is the profile's matter. */
function offerOf(request: HttpRequest): string {
  const type = request.headers['content-type'] ?? '';
  const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  const offer = isForm(request) ? (fieldOf(body, type, 'sdp') ?? '') : body.toString('utf8');
  if (Buffer.byteLength(offer) > offerBytes) {
    throw new RelayError('too_big', `The SDP offer is over ${offerBytes} bytes.`);
  }
  const fault = faultOf(offer);
  if (fault) {
    throw new RelayError(
      'bad_event',
      `This is not an SDP offer for WebRTC: ${fault}. Send it as application/sdp, or as the part "sdp" of a form.`,
    );
  }
  return offer;
}

/** What an offer lacks (RFC 8866; RFC 8829 section 5.2), or null. Upstream judges the rest. */
function faultOf(offer: string): string | null {
  const lines = offer.split(/\r?\n/);
  if (lines[0] !== 'v=0') return 'it does not begin with v=0';
  if (!lines.every((line) => line === '' || /^[a-z]=[^\p{Cc}]*$/u.test(line)))
    return 'a line of it is not "letter=text"';
  if (!lines.some((line) => /^m=(audio|application) /.test(line))) return 'it offers neither audio nor a data channel';
  if (!lines.some((line) => line.startsWith('a=fingerprint:'))) return 'it has no fingerprint';
  return lines.some((line) => line.startsWith('a=ice-ufrag:')) ? null : 'it has no ICE credentials';
}
