/** Public keys in the shapes in which variables, secrets and portals hold them. */

import { createPublicKey, X509Certificate } from 'node:crypto';

const block = /-----BEGIN ([A-Z0-9 ]+)-----([^-]*)-----END \1-----/g;
const base64 = /^[A-Za-z0-9+/_-]{60,}={0,2}$/;

/**
 * A text as PEM: with its line ends written as `\n`, as blanks or not at all, or as the base64 of PEM or DER. Null when it is
 * none of these.
 */
export function pemFrom(text: string): string | null {
  if (text.includes('-----BEGIN')) {
    const blocks = [...text.replace(/\\[rn]/g, '\n').matchAll(block)];
    return blocks.length === 0
      ? text
      : blocks.map(([, label, body]) => armoured(label as string, body as string)).join('');
  }
  const compact = text.replace(/\s+/g, '');
  if (!base64.test(compact)) return null;
  const bytes = Buffer.from(compact, 'base64');
  const inner = bytes.toString('latin1');
  return inner.includes('-----BEGIN') ? pemFrom(inner) : fromDer(bytes);
}

function fromDer(bytes: Buffer): string | null {
  const body = bytes.toString('base64');
  if (succeeds(() => createPublicKey({ key: bytes, format: 'der', type: 'spki' }))) return armoured('PUBLIC KEY', body);
  return succeeds(() => new X509Certificate(bytes)) ? armoured('CERTIFICATE', body) : null;
}

function succeeds(parse: () => unknown): boolean {
  try {
    parse();
    return true;
  } catch {
    // The parsers of Node have no other way to say no.
    return false;
  }
}

function armoured(label: string, body: string): string {
  // Headers, which only private keys have, are no base64.
  const lines = body.includes(':') ? body.trim() : body.replace(/\s+/g, '').replace(/.{64}(?=.)/g, '$&\n');
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}
