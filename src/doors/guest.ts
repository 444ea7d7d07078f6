/** Who asks at a door, known by the headers alone: nobody's body is read before. */

import type { Request, RequestHandler, Response } from 'express';
import { type Request as Asked, authenticate, type Guest, type Recognition } from '../admission/recognise.js';

/** Lets in who has a credential for this purpose; everybody else is refused with their body unread. */
export function identify(admission: Recognition, purpose: 'session' | 'mint'): RequestHandler {
  return async (request, response, next) => {
    const asked: Asked = { message: request, url: urlOf(request) };
    response.locals.asked = asked;
    response.locals.guest = await authenticate(asked, admission, purpose);
    next();
  };
}

/** Who was let in. */
export function guestOf(response: Response): Guest {
  return response.locals.guest as Guest;
}

/** The request as it was recognised; null before anybody looked at it. */
export function askedOf(response: Response): Asked | null {
  return (response.locals.asked as Asked | undefined) ?? null;
}

/** The address that was asked for, also behind a router. */
export function urlOf(request: Request): URL {
  return new URL(request.originalUrl, 'http://relay');
}
