/** Signs what the relay sends. Source: Standard Webhooks 1.0.0 (github.com/standard-webhooks/standard-webhooks). */

import { createHmac } from 'node:crypto';

/** The bytes of a secret, which is base64 with or without the prefix `whsec_`. */
export function keyOf(secret: string): Buffer {
  return Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
}

/** The `webhook-signature` of a message; `timestamp` is in seconds since 1970. */
export function sign(key: Buffer, id: string, timestamp: number, body: string): string {
  return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`;
}

/**
 * The three headers that prove who sent a body, and when: a signature by each key, while one takes the place of another. A
 * receiver knows a repetition by its id.
 */
export function signedHeaders(keys: readonly Buffer[], id: string, body: string): Record<string, string> {
  const timestamp = Math.floor(Date.now() / 1000);
  return {
    'webhook-id': id,
    'webhook-timestamp': String(timestamp),
    'webhook-signature': keys.map((key) => sign(key, id, timestamp, body)).join(' '),
  };
}
