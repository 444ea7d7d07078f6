/** Texts that Redis keeps and must not read, nor make: sealed with AES-256-GCM, each for the one place it stands in. */

import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

const schema = '1';
const nonceBytes = 12;
const tagBytes = 16;

/** A text under a key of 32 bytes; `place` says what it is and where it stands, and must be the same to open it. */
export function seal(key: Uint8Array, place: string, text: string): string {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(`${schema}\n${place}`));
  const sealed = Buffer.concat([nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]);
  return `${schema}.${sealed.toString('base64url')}`;
}

/** What was sealed; null where it cannot be opened with any of these keys, or was sealed for another place. */
export function unseal(keys: readonly Uint8Array[], place: string, sealed: string): string | null {
  const [version, body = ''] = sealed.split('.');
  const bytes = Buffer.from(body, 'base64url');
  if (version !== schema || bytes.length < nonceBytes + tagBytes) return null;
  for (const key of keys) {
    const opener = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, nonceBytes), { authTagLength: tagBytes });
    opener.setAAD(Buffer.from(`${schema}\n${place}`)).setAuthTag(bytes.subarray(-tagBytes));
    try {
      return opener.update(bytes.subarray(nonceBytes, -tagBytes), undefined, 'utf8') + opener.final('utf8');
    } catch {
      // Not with this key.
    }
  }
  return null;
}

/**
 * The keys of what only the holder of a secret may open, and only who has the relay's key may make: HKDF-SHA256 (RFC 5869).
 * @param salts the relay's own keys in base64, the one that seals first; empty: none
 */
export function keysOfSecret(secret: string, salts: readonly string[]): Uint8Array[] {
  const all = salts.length > 0 ? salts.map((salt) => Buffer.from(salt, 'base64')) : [Buffer.alloc(0)];
  return all.map((salt) => new Uint8Array(hkdfSync('sha256', secret, salt, 'relay client secret', 32)));
}
