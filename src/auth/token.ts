/** Signs app tokens: for trying the relay out, and for backends that share a secret with it. */

import jwt from 'jsonwebtoken';
import { checkSecret, type SharedSecret, secretKey } from './keys.js';

/** A JWT (HS256) with the claims the relay reads. Throws an Error when `checkSecret` objects to the secret. */
export function signToken(options: {
  secret: SharedSecret;
  issuer: string;
  /** Left out: none. */
  audience?: string | undefined;
  subject: string;
  profile?: string | undefined;
  tenant?: string | undefined;
  /** Separated by spaces. */
  scope?: string | undefined;
  /** How long the token is good for, from now. */
  ttlSeconds: number;
  /** Further claims, for instance for `{{claims.name}}` of a profile; those named above win over them. */
  claims?: Readonly<Record<string, unknown>> | undefined;
}): string {
  const problem = checkSecret(options.secret);
  if (problem) throw new Error(problem);
  const { issuer, audience, subject, profile, tenant, scope } = options;
  const iat = Math.floor(Date.now() / 1000);
  const named = {
    iss: issuer,
    aud: audience,
    sub: subject,
    profile,
    tenant,
    scope,
    iat,
    exp: iat + options.ttlSeconds,
  };
  const given = Object.entries(named).filter(([, value]) => value !== undefined);
  return jwt.sign({ ...options.claims, ...Object.fromEntries(given) }, secretKey(options.secret), {
    algorithm: 'HS256',
  });
}
