/** Where the keys that verify tokens come from. What is wrong is added to `problems`. */

import { isSafe } from '../outbound/addresses.js';
import { pemFrom } from './pem.js';
import { readText } from './utf8.js';

/** A secret as text, or as base64 (or base64url) of its bytes. */
type Secret = string | { readonly base64: string };

/** Where the keys of an issuer come from. */
export type KeySettings =
  | { readonly kind: 'secrets'; readonly secrets: readonly Secret[] }
  | { readonly kind: 'public_keys'; readonly pems: readonly string[] }
  | { readonly kind: 'jwks'; readonly uri: string };

/** The one source that is given. */
export function onlyOne(sources: [string, KeySettings][], names: string, problems: string[]): [string, KeySettings] {
  if (sources.length !== 1) {
    const what = sources.length === 0 ? 'none is set' : `${sources.length} are set`;
    problems.push(`${names}: set exactly one; ${what}.`);
  }
  return sources[0] ?? [names, { kind: 'secrets', secrets: [] }];
}

/** Shared secrets as the source of keys. */
export function secrets(given: readonly Secret[], setting: string, problems: string[]): KeySettings {
  if (given.some((secret) => typeof secret !== 'string' && !/^[A-Za-z0-9+/_-]+={0,2}$/.test(secret.base64))) {
    problems.push(`${setting}: not base64; a secret that is text is written without base64.`);
  } else if (given.some((secret) => bytesOf(secret).length < 32)) {
    problems.push(`${setting}: too short; HS256 needs at least 32 bytes (RFC 7518 section 3.2).`);
  }
  return { kind: 'secrets', secrets: given };
}

function bytesOf(secret: Secret): Buffer {
  return typeof secret === 'string' ? Buffer.from(secret) : Buffer.from(secret.base64, 'base64');
}

/** A key set as the source of keys. */
export function keySet(uri: string, setting: string, problems: string[]): KeySettings {
  if (!isSafe(new URL(uri))) problems.push(`${setting}: must be https://.`);
  return { kind: 'jwks', uri };
}

/** A public key from its text, or from the file it names. */
export function pemOf(value: string, setting: string, problems: string[]): string {
  const pem = pemFrom(value);
  if (pem !== null) return pem;
  const file = readText(value);
  if ('text' in file) return pemFrom(file.text) ?? file.text;
  problems.push(`${setting}: neither PEM text nor a readable file (${file.code ?? file.problem}).`);
  return '';
}
