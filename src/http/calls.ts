/** The doors for WebRTC: an SDP offer in, an SDP answer out; and the owner's way to hang up. */

import type { IncomingMessage } from 'node:http';
import express, { type Express, type Request as HttpRequest, type RequestHandler } from 'express';
import { notServed, RelayError } from '../errors.js';
import type { AdmissionServices } from '../session/admission.js';
import type { Calls } from '../session/calls.js';
import { guestOf, identify, urlOf } from './guest.js';

export const callPaths = ['/v1/realtime/calls', '/openai/v1/realtime/calls'];

const offerBytes = 64 * 1024;
/** The multipart form also carries a session, which is read past. */
const formBytes = 4 * offerBytes;
const mostParts = 8;

/** Adds the routes; `cors` goes before them and lets pages of allowed origins in. */
export function callRoutes(app: Express, calls: Calls, admission: AdmissionServices, cors: RequestHandler): void {
  app.use(callPaths, cors);
  const offer = express.raw({ limit: offerBytes, type: (request) => !isForm(request) });
  const form = express.raw({ limit: formBytes, type: isForm });
  app.post(callPaths, identify(admission, 'session'), offer, form, create(calls));
  app.post(
    callPaths.map((path) => `${path}/:id/hangup`),
    identify(admission, 'mint'),
    hangUp(calls),
  );
}

function isForm({ headers }: IncomingMessage): boolean {
  return /^multipart\/form-data\b/i.test(headers['content-type'] ?? '');
}

function create(calls: Calls): RequestHandler {
  return async (request, response) => {
    const offer = await offerOf(request);
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
async function offerOf(request: HttpRequest): Promise<string> {
  const type = request.headers['content-type'] ?? '';
  const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  const offer = isForm(request) ? await partOf(body, type) : body.toString('utf8');
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

async function partOf(body: Buffer, type: string): Promise<string> {
  // Each part costs the parser much more than its bytes do.
  if (hasMoreParts(body, type)) {
    throw new RelayError('too_big', `The form has over ${mostParts} parts; "sdp" and "session" are enough.`);
  }
  try {
    const form = await new Response(new Uint8Array(body), { headers: { 'content-type': type } }).formData();
    const part = form.get('sdp');
    return typeof part === 'string' ? part : ((await part?.text()) ?? '');
  } catch (error) {
    throw new RelayError('bad_event', 'The form could not be read.', { cause: error });
  }
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

/** Whether a form has more parts than the door needs; the last boundary ends the form (RFC 2046 section 5.1.1). */
function hasMoreParts(body: Buffer, type: string): boolean {
  const [, quoted, plain] = /;\s*boundary=(?:"([^"]+)"|([^\s;]+))/i.exec(type) ?? [];
  const boundary = `--${quoted ?? plain ?? ''}`;
  let count = 0;
  for (let at = body.indexOf(boundary); at !== -1; at = body.indexOf(boundary, at + boundary.length)) {
    if (++count > mostParts + 1) return true;
  }
  return false;
}
