/** Whether a signature is that of the key, for the algorithms of RFC 7518 section 3 that the relay knows; `none` is not one of them. */

import { constants, createHmac, type KeyObject, timingSafeEqual, verify } from 'node:crypto';
import type { Algorithm } from 'jsonwebtoken';

/**
 * Checks the last part of a token in compact form against the others. The key must be fit for the algorithm, and the
 * algorithm chosen by the key, never by the token.
 */
export function isSignedBy(key: KeyObject, algorithm: Algorithm, token: string): boolean {
  const end = token.lastIndexOf('.');
  const signed = Buffer.from(token.slice(0, end), 'latin1');
  const signature = Buffer.from(token.slice(end + 1), 'base64url');
  const digest = `sha${algorithm.slice(2)}`;
  switch (algorithm.slice(0, 2)) {
    case 'HS': {
      const right = createHmac(digest, key).update(signed).digest();
      return signature.length === right.length && timingSafeEqual(signature, right);
    }
    case 'RS':
      return verify(digest, signed, { key, padding: constants.RSA_PKCS1_PADDING }, signature);
    case 'PS': {
      const padding = constants.RSA_PKCS1_PSS_PADDING;
      return verify(digest, signed, { key, padding, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }, signature);
    }
    case 'ES':
      // Section 3.4: both numbers in full length, one behind the other.
      return verify(digest, signed, { key, dsaEncoding: 'ieee-p1363' }, signature);
    default:
      return false;
  }
}
