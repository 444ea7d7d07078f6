/** Who asks at a door, known by the headers alone: nobody's body is read before. */

import express, { type Request, type RequestHandler, type Response } from 'express';
import { type AdmissionServices, authenticate, type Guest } from '../session/admission.js';

/** Lets in who has a credential for this purpose; everybody else is refused with their body unread. */
export function identify(admission: AdmissionServices, purpose: 'session' | 'mint'): RequestHandler {
  return async (request, response, next) => {
    response.locals.guest = await authenticate({ message: request, url: urlOf(request) }, admission, purpose);
    next();
  };
}

/** Who was let in. */
export function guestOf(response: Response): Guest {
  return response.locals.guest as Guest;
}

/** The address that was asked for, also behind a router. */
export function urlOf(request: Request): URL {
  return new URL(request.originalUrl, 'http://relay');
}

/** Reads a body of JSON, whatever type it claims to be. */
export function jsonBody(bytes: number): RequestHandler {
  return express.json({ limit: bytes, strict: true, type: () => true });
}
