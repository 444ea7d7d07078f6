/** The certificate of the public listener, as it is on disk. */

import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { ConfigError } from '../problems.js';
import type { Settings } from './settings.js';

/** How a certificate begins that is not in PEM (RFC 5280 section 4.1), which Node reads and its TLS does not. */
const derSequence = 0x30;

/** What a listener needs of it. */
export interface Certificate {
  readonly cert: Buffer;
  readonly key: Buffer;
  /** When it runs out, in milliseconds since 1970. */
  readonly expiresAt: number;
}

/**
 * Reads the certificate and its key.
 * @throws ConfigError that names the setting when clients could not be served with them
 */
export function readCertificate(tls: NonNullable<Settings['tls']>): Certificate {
  const cert = given('RELAY_TLS_CERT', () => readFileSync(tls.cert), 'cannot be read');
  const key = given('RELAY_TLS_KEY', () => readFileSync(tls.key), 'cannot be read');
  if (cert[0] === derSequence) throw problem('RELAY_TLS_CERT', 'is a certificate in DER; convert it to PEM');
  const leaf = given('RELAY_TLS_CERT', () => new X509Certificate(cert), 'is not a certificate in PEM');
  if (!leaf.checkPrivateKey(privateKey(key))) {
    throw problem(
      'RELAY_TLS_CERT, RELAY_TLS_KEY',
      'are not a pair: the key belongs to another certificate than the first',
    );
  }
  const now = Date.now();
  if (now < Date.parse(leaf.validFrom)) throw problem('RELAY_TLS_CERT', `is not valid before ${leaf.validFrom}`);
  const expiresAt = Date.parse(leaf.validTo);
  if (now >= expiresAt) throw problem('RELAY_TLS_CERT', `has expired: it was valid until ${leaf.validTo}`);
  given('RELAY_TLS_CERT', () => createSecureContext({ cert, key }), 'cannot be used by TLS');
  return { cert, key, expiresAt };
}

function privateKey(pem: Buffer): KeyObject {
  const isEncrypted = /^(?:-----BEGIN ENCRYPTED|Proc-Type: 4,ENCRYPTED)/m.test(pem.toString('latin1'));
  if (isEncrypted)
    throw problem('RELAY_TLS_KEY', 'is encrypted, and nobody is there to type its passphrase; decrypt it');
  return given('RELAY_TLS_KEY', () => createPrivateKey(pem), 'is not a private key in PEM');
}

function given<T>(setting: string, read: () => T, what: string): T {
  try {
    return read();
  } catch (error) {
    throw problem(setting, `${what} (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
}

function problem(setting: string, what: string): ConfigError {
  return new ConfigError([`${setting}: ${what}.`]);
}
