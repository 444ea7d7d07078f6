/** Which keys verify a token, and by which algorithms: a matter of settings, never of the token. */

import { createPublicKey, createSecretKey, type KeyObject } from 'node:crypto';
import type { Algorithm } from 'jsonwebtoken';
import { RelayError } from '../errors.js';
import type { TokenHeader } from './structure.js';

/** A key and the algorithms it may verify. */
export interface VerifyingKey {
  readonly kid: string | null;
  readonly algorithms: readonly Algorithm[];
  readonly key: KeyObject;
  /** What the operator may have meant instead: verifies nothing, and is named in the log where it would have. */
  readonly near?: NearMiss;
}

/** A key that is not configured, and what to do if it should be. */
interface NearMiss {
  readonly key: KeyObject;
  readonly hint: string;
}

/** A secret as text, or as base64 (or base64url) of its bytes. */
export type SharedSecret = string | { readonly base64: string };

/** Keys of which one must verify a token, and the one algorithm they do it by. */
export interface FittingKeys {
  readonly keys: readonly KeyObject[];
  readonly algorithm: Algorithm;
  readonly near?: readonly NearMiss[];
}

/** Where verifying keys come from. */
export interface KeySource {
  /**
   * The keys that may have signed a token with this header, of which one must verify it. Rejects with `unauthorized`, or
   * with `overloaded` when that cannot be known at the moment.
   * @param issuedAt the claim `iat`, not verified yet, in unix seconds; null when the token does not say
   */
  find(header: TokenHeader, issuedAt: number | null): Promise<FittingKeys>;
  /** Makes the keys ready. Rejects with `overloaded` when they cannot be had. */
  warm(): Promise<void>;
  close(): void;
}

const curves: Readonly<Record<string, Algorithm>> = { prime256v1: 'ES256', secp384r1: 'ES384', secp521r1: 'ES512' };
const pss = ['PS256', 'PS384', 'PS512'] as const;
const rsa = ['RS256', 'RS384', 'RS512', ...pss] as const;
const minRsaBits = 2048;
const minSecretBytes = 32;

/** What is wrong with a secret for HS256, or null. At least 32 bytes (RFC 7518 section 3.2), and no PEM text. */
export function checkSecret(secret: SharedSecret): string | null {
  if (typeof secret === 'string' ? secret.includes('-----BEGIN') : secret.base64.includes('-----BEGIN'))
    return 'The secret is a PEM key; a public key goes into the setting for public keys.';
  if (typeof secret !== 'string' && !isBase64(secret.base64)) return 'The secret is not base64.';
  if ((secretKey(secret).symmetricKeySize ?? 0) < minSecretBytes)
    return `The secret must be at least ${minSecretBytes} bytes long.`;
  return null;
}

/**
 * The algorithms a public key can verify: by its type and, for EC, its curve. Empty for keys that are too weak or that
 * the relay does not support. Source: RFC 7518 sections 3.3 to 3.5.
 */
export function algorithmsOf(key: KeyObject): readonly Algorithm[] {
  if (key.type !== 'public') return [];
  const { namedCurve = '', modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  const curve = curves[namedCurve];
  if (key.asymmetricKeyType === 'ec') return curve ? [curve] : [];
  if (modulusLength < minRsaBits) return [];
  if (key.asymmetricKeyType === 'rsa') return rsa;
  return key.asymmetricKeyType === 'rsa-pss' ? pss : [];
}

/** Shared secrets for HS256: the current one, and those that are on their way in or out. Throws when `checkSecret` objects. */
export function secretSource(secrets: readonly SharedSecret[]): KeySource {
  return fixedSource(
    secrets.map((secret) => {
      const problem = checkSecret(secret);
      if (problem) throw new Error(problem);
      const near = nearMissOf(secret);
      return { kid: null, algorithms: ['HS256'], key: secretKey(secret), ...(near && { near }) };
    }),
  );
}

/** The key that a secret is. */
export function secretKey(secret: SharedSecret): KeyObject {
  return createSecretKey(typeof secret === 'string' ? Buffer.from(secret) : Buffer.from(secret.base64, 'base64'));
}

function isBase64(text: string): boolean {
  return /^[A-Za-z0-9+/_-]+={0,2}$/.test(text);
}

/** Providers show secrets in base64, and some sign with the text they show, others with the bytes. */
function nearMissOf(secret: SharedSecret): NearMiss | null {
  if (typeof secret !== 'string') {
    return {
      key: secretKey(secret.base64),
      hint: 'It does match the secret as text, without its base64 being decoded.',
    };
  }
  const decoded = { base64: secret };
  if (checkSecret(decoded) !== null) return null;
  return {
    key: secretKey(decoded),
    hint: 'It does match the secret decoded from base64: set RELAY_JWT_SECRET_ENCODING=base64, or write { base64: … } in secrets.',
  };
}

/** Public keys or certificates in PEM. Throws for one that is no such thing, a private key, or too weak. */
export function publicKeySource(pems: readonly string[]): KeySource {
  return fixedSource(pems.map(publicKeyOf));
}

function publicKeyOf(pem: string): VerifyingKey {
  if (pem.includes('PRIVATE KEY')) throw new Error('The relay needs the public key only; a private key was given.');
  const key = parsePem(pem);
  const algorithms = algorithmsOf(key);
  if (algorithms.length === 0) {
    throw new Error('The public key must be RSA of at least 2048 bits, or EC on the curve P-256, P-384 or P-521.');
  }
  return { kid: null, algorithms, key };
}

function parsePem(pem: string): KeyObject {
  try {
    return createPublicKey(pem);
  } catch (cause) {
    throw new Error('The public key is not a PEM public key or certificate.', { cause });
  }
}

function fixedSource(all: readonly VerifyingKey[]): KeySource {
  return {
    async find({ alg, kid }) {
      // A key id selects nothing here; one that reads like a path, a URL or a query was made to attack look-ups.
      if (kid !== null && !isPlainKeyId(kid))
        throw refusal("The token's key id (kid) contains characters that no key id has.");
      return fitting(all, alg);
    },
    async warm() {},
    close() {},
  };
}

function isPlainKeyId(kid: string): boolean {
  return /^[\w.:=+@~#-][\w.:=+/@~#-]*$/.test(kid) && !/\.\.|\/\/|^__/.test(kid);
}

/**
 * The keys that verify this algorithm. Throws `unauthorized` when none does, and names those that would be verified.
 * @param whose the beginning of the sentence that names them
 */
export function fitting(all: readonly VerifyingKey[], alg: string, whose = "The issuer's keys verify"): FittingKeys {
  const fit = all.filter(({ algorithms }) => algorithms.some((one) => one === alg));
  if (fit.length === 0) throw wrongAlgorithm(alg, [...new Set(all.flatMap(({ algorithms }) => algorithms))], whose);
  const near = fit.flatMap((one) => one.near ?? []);
  return { keys: fit.map(({ key }) => key), algorithm: alg as Algorithm, near };
}

/** The refusal of a token whose `alg` does not fit the keys. */
export function wrongAlgorithm(alg: string, wanted: readonly Algorithm[], whose: string): RelayError {
  // Names of algorithms are short and plain (RFC 7518 section 3.1); anything else was not meant as one.
  const named = /^[A-Za-z0-9+-]{1,16}$/.test(alg) ? alg : 'something that names no algorithm';
  return refusal(
    `The token is signed with an algorithm (alg) that this relay is not configured for: ${named}. ` +
      `${whose} ${wanted.join(', ')}.`,
  );
}

function refusal(message: string): RelayError {
  return new RelayError('unauthorized', message);
}
