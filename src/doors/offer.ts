/** The SDP offer in a request, in whichever spelling it comes: as the body, or as the part of a form. */

import type { IncomingMessage } from 'node:http';
import express, { type Request, type RequestHandler } from 'express';
import { RelayError } from '../errors.js';
import { fieldOf } from './form.js';

const offerBytes = 64 * 1024;
/** The multipart form also carries a session, which is read past. */
const formBytes = 4 * offerBytes;

/** Reads the body that an offer is in. */
export const offerBody: readonly RequestHandler[] = [
  express.raw({ limit: offerBytes, type: (request) => !isForm(request) }),
  express.raw({ limit: formBytes, type: isForm }),
];

/** Whether a request says that its body is, or has in it, an offer. */
export function hasOffer(message: IncomingMessage): boolean {
  return isForm(message) || /^application\/sdp\b/i.test(message.headers['content-type'] ?? '');
}

function isForm({ headers }: IncomingMessage): boolean {
  return /^multipart\/form-data\b/i.test(headers['content-type'] ?? '');
}

/**
 * The offer of either form of the request, with the line end that RFC 8866 asks for behind each line. The session that the
 * form may carry is the profile's matter.
 */
export function offerOf(request: Request): string {
  const type = request.headers['content-type'] ?? '';
  const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  const given = isForm(request) ? fieldOf(body, type, 'sdp') : body.toString('utf8');
  if (given === null) throw new RelayError('bad_event', 'The form has no part "sdp".');
  // An editor or a template leaves a byte order mark or blank lines before it, and `trim` takes its last line end.
  const offer = given.replace(/^\uFEFF?[\r\n]*/, '').replace(/[\r\n]*$/, given.includes('\r') ? '\r\n' : '\n');
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
  if (offer.trim() === '') return 'it is empty';
  if (lines[0] !== 'v=0') return 'it does not begin with v=0';
  if (!lines.every((line) => line === '' || /^[a-z]=[^\p{Cc}]*$/u.test(line)))
    return 'a line of it is not "letter=text"';
  if (!lines.some((line) => /^m=(audio|application) /.test(line))) return 'it offers neither audio nor a data channel';
  if (!lines.some((line) => line.startsWith('a=fingerprint:'))) return 'it has no fingerprint';
  return lines.some((line) => line.startsWith('a=ice-ufrag:')) ? null : 'it has no ICE credentials';
}
