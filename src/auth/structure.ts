/** What a token must look like before any cryptography is spent on it. */

import { RelayError } from '../errors.js';
import type { JsonObject } from '../protocol/event.js';
import { parseStrict } from '../protocol/json.js';
import { maxCredentialBytes } from './credentials.js';

/** The fields of a JOSE header that the relay reads; `jwk`, `jku`, `x5u` and `x5c` are never looked at. */
export interface TokenHeader {
  readonly alg: string;
  readonly kid: string | null;
}

// RFC 7519 section 5.1 and RFC 9068 section 2.1. Other types, such as logout tokens, are for another purpose.
const tokenType = /^(?:application\/)?(?:at\+)?jwt$/i;

/** What a claim may say is judged by its name, in words that have it. */
const rules = { depth: 16, keys: 512, allows: 'any' } as const;

/**
 * Takes a JWT in compact form apart (RFC 7515 section 7.1) without trusting it. Throws `unauthorized` for whatever is not
 * exactly that: other parts, another alphabet, JSON that can be read in two ways, extensions that must be understood.
 */
export function readToken(token: string): { header: TokenHeader; claims: JsonObject } {
  if (token.length > maxCredentialBytes) throw refusal('The token is over 16 KB.');
  // One more than wanted, so that a token of dots alone costs nothing.
  const parts = token.split('.', 4);
  const [header, claims, signature] = parts.map(decode);
  if (parts.length !== 3 || !header?.length || !claims?.length || !signature) {
    throw refusal('The credential is not a JWT: three base64url parts joined by dots are expected.');
  }
  if (signature.length === 0) throw refusal('The token is not signed.');
  return { header: readHeader(object(header, 'header')), claims: object(claims, 'claims') };
}

function readHeader(header: JsonObject): TokenHeader {
  const { alg, kid, typ } = header;
  // RFC 7515 section 4.1.11: refuse what names extensions that are not understood, and this relay understands none.
  if (header.crit !== undefined)
    throw refusal('The token uses header extensions (crit), which this relay does not know.');
  if (typeof alg !== 'string' || alg === '') throw refusal('The token does not say how it is signed (alg).');
  // Some libraries write what they do not set as null.
  if (typ !== undefined && typ !== null && !(typeof typ === 'string' && tokenType.test(typ))) {
    throw refusal("The token's type (typ) is not one for access: JWT or at+jwt is expected.");
  }
  if (kid !== undefined && kid !== null && !(typeof kid === 'string' && kid !== '' && kid.length <= 256)) {
    throw refusal("The token's key id (kid) must be a string of 1 to 256 characters.");
  }
  return { alg, kid: kid ?? null };
}

/** The bytes of a base64url part, or null. Encoding anew proves the alphabet, and that no other text means the same. */
function decode(part: string): Buffer | null {
  const bytes = Buffer.from(part, 'base64url');
  return bytes.toString('base64url') === part ? bytes : null;
}

function object(bytes: Buffer, name: string): JsonObject {
  try {
    return parseStrict(bytes, rules);
  } catch (cause) {
    const why = cause instanceof TypeError ? `: ${cause.message}` : '';
    throw new RelayError('unauthorized', `The token's ${name} must be an unambiguous JSON object${why}.`, { cause });
  }
}

function refusal(message: string): RelayError {
  return new RelayError('unauthorized', message);
}
