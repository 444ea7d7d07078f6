/** A throw-away certificate for localhost and 127.0.0.1: X.509 version 3 (RFC 5280), self-signed, P-256. */

import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';

/** What a certificate is for. */
export interface Options {
  readonly commonName?: string;
  /** Host names it is for, beside 127.0.0.1. */
  readonly names?: readonly string[];
  /** Days from now between which it is valid; by default from yesterday to the day after tomorrow. */
  readonly days?: readonly [from: number, to: number];
}

/** One DER element (ITU-T X.690): tag, length, content. */
function der(tag: number, ...content: readonly Buffer[]): Buffer {
  const body = Buffer.concat(content);
  if (body.length < 128) return Buffer.concat([Buffer.from([tag, body.length]), body]);
  const length = body.length < 256 ? [0x81, body.length] : [0x82, body.length >> 8, body.length & 255];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

const sequence = (...content: readonly Buffer[]) => der(0x30, ...content);
const identifier = (hex: string) => der(0x06, Buffer.from(hex, 'hex'));
const text = (value: string) => der(0x0c, Buffer.from(value));
const time = (date: Date) => der(0x17, Buffer.from(`${date.toISOString().replace(/[-:T]/g, '').slice(2, 14)}Z`));

const ecdsaWithSha256 = sequence(identifier('2a8648ce3d040302'));
const commonNameType = identifier('550403');
const subjectAltName = identifier('551d11');
const basicConstraints = identifier('551d13');
const dayMs = 24 * 3600 * 1000;

/** Certificate and key as PEM text. */
export function certificatePem(options: Options = {}): { cert: string; key: string } {
  const { commonName = 'localhost', names: hosts = ['localhost'], days: [from, to] = [-1, 2] } = options;
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = sequence(der(0x31, sequence(commonNameType, text(commonName))));
  const serial = randomBytes(8);
  serial[0] = 0x10 | ((serial[0] as number) & 0x0f);
  const hostNames = hosts.map((host) => der(0x82, Buffer.from(host)));
  const names = sequence(...hostNames, der(0x87, Buffer.from([127, 0, 0, 1])));
  const extensions = sequence(
    sequence(subjectAltName, der(0x04, names)),
    sequence(basicConstraints, der(0x01, Buffer.from([0xff])), der(0x04, sequence(der(0x01, Buffer.from([0xff]))))),
  );
  const toBeSigned = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, serial),
    ecdsaWithSha256,
    name,
    sequence(time(new Date(Date.now() + from * dayMs)), time(new Date(Date.now() + to * dayMs))),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, extensions),
  );
  const signature = der(0x03, Buffer.from([0]), sign('sha256', toBeSigned, privateKey));
  const certificate = sequence(toBeSigned, ecdsaWithSha256, signature).toString('base64');
  const lines = certificate.match(/.{1,64}/g)?.join('\n') ?? '';
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}
