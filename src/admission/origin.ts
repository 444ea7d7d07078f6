/** Which web pages may connect. A browser names the page's origin; what is no browser names none. */

import type { IncomingMessage } from 'node:http';
import { RelayError } from '../errors.js';

/** Exact origins, `https://*.example.com` for those with one label in place of the star; or `*`, which is all. */
export type Origins = readonly string[] | '*';

/**
 * The page's origin when a browser sent the request, null when it was not a browser.
 * @throws RelayError `forbidden` for an origin that is not on the list
 */
export function checkOrigin(message: IncomingMessage, origins: Origins): string | null {
  const sent = originsIn(message);
  const { origin } = message.headers;
  if (sent === 0 || origin === undefined) return null;
  if (sent > 1) throw new RelayError('forbidden', 'The header Origin was sent more than once.');
  if (origins === '*' || origins.some((listed) => covers(listed, origin))) return origin;
  // What is quoted is what the sender itself wrote; a header has no line breaks.
  const named = JSON.stringify(origin.slice(0, 200));
  throw new RelayError(
    'forbidden',
    `The origin ${named} may not connect: it is not in RELAY_ALLOWED_ORIGINS of this relay.`,
  );
}

/** Whether exactly one origin was sent, and stands on the list as it is. */
export function isListedLiterally(message: IncomingMessage, origins: Origins): boolean {
  const origin = originOf(message);
  return origin !== null && !origin.includes('*') && origins !== '*' && origins.includes(origin);
}

/** The origin that was sent, where it was sent once. */
export function originOf(message: IncomingMessage): string | null {
  return originsIn(message) === 1 ? (message.headers.origin ?? null) : null;
}

/** Node joins or drops repeated lines; only the raw ones tell. */
function originsIn({ rawHeaders }: IncomingMessage): number {
  return rawHeaders.filter((text, index) => index % 2 === 0 && text.toLowerCase() === 'origin').length;
}

function covers(listed: string, origin: string): boolean {
  const [before, after] = listed.split('*.');
  if (before === undefined || after === undefined) return listed === origin;
  if (!origin.startsWith(before) || !origin.endsWith(`.${after}`)) return false;
  return /^[a-z0-9_-]{1,63}$/.test(origin.slice(before.length, origin.length - after.length - 1));
}
