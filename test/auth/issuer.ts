/** An identity provider for tests: keys, tokens of any shape, and a JWKS endpoint on a real socket. */

import { constants, createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';

export const issuer = 'https://id.example.com/';
export const audience = 'relay';
export const secret = 'test-secret-0123456789-0123456789';
/** The tests' clock, in unix seconds. */
export const start = 1_760_000_000;

export const claims = { iss: issuer, aud: audience, sub: 'alice', exp: start + 3600 };

export const rsaKeys = generateKeyPairSync('rsa', { modulusLength: 2048 });
export const otherRsaKeys = generateKeyPairSync('rsa', { modulusLength: 2048 });
export const weakRsaKeys = generateKeyPairSync('rsa', { modulusLength: 1024 });
export const ecKeys = {
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  ES384: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  ES512: generateKeyPairSync('ec', { namedCurve: 'P-521' }),
};

export function pem(key: KeyObject): string {
  return key.export({ type: 'spki', format: 'pem' }).toString();
}

/** Base64url of a text, or of an object as JSON. */
export function part(value: string | object): string {
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
}

/** A token of whatever header and claims, texts taken as they are, signed with HS256 unless told otherwise. */
export function token(
  header: string | object = { alg: 'HS256', typ: 'JWT' },
  payload: string | object = claims,
  signer: (input: string) => string = hs256(secret),
): string {
  const input = `${part(header)}.${part(payload)}`;
  return `${input}.${signer(input)}`;
}

export function hs256(key: string | KeyObject, bits = 256): (input: string) => string {
  return (input) => createHmac(`sha${bits}`, key).update(input).digest('base64url');
}

/** Signs with an asymmetric key as `alg` says. */
export function asymmetric(alg: string, key: KeyObject): (input: string) => string {
  const padding =
    alg.slice(0, 2) === 'PS'
      ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
      : {};
  return (input) =>
    sign(`sha${alg.slice(2)}`, Buffer.from(input), { key, dsaEncoding: 'ieee-p1363', ...padding }).toString(
      'base64url',
    );
}

/** A public key as a JWKS lists it. */
export function jwk(key: KeyObject, extra: object = {}): object {
  return { ...key.export({ format: 'jwk' }), ...extra };
}

/** A JWKS endpoint whose answer can be changed; `requests` counts what it was asked. */
export async function serveKeys(answer: RequestListener) {
  const endpoint = { requests: 0, answer, uri: '', close: async () => {} };
  const server = createServer((request, response) => {
    endpoint.requests++;
    endpoint.answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  endpoint.uri = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;
  endpoint.close = async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  };
  return endpoint;
}

export function keySet(...keys: unknown[]): RequestListener {
  return (_request, response) => response.end(JSON.stringify({ keys }));
}

export const outage: RequestListener = (_request, response) => response.writeHead(503).end();
