import { afterAll, afterEach, describe, expect, it } from 'vitest';
import {
  asymmetric,
  ecKeys,
  hs256,
  jwk,
  keySet,
  otherRsaKeys,
  part,
  pem,
  rsaKeys,
  serveKeys,
  token,
} from '../auth/issuer.js';
import { jwt } from '../support/relay.js';
import { type Arena, arena, doorOf } from './arena.js';
import { exchange, handshake } from './tcp.js';

const now = Math.floor(Date.now() / 1000);
const claims = { iss: jwt.issuer, aud: jwt.audience, sub: 'mallory', exp: now + 600 };
const HS256 = { alg: 'HS256', typ: 'JWT' };
const right = hs256(jwt.secret);
const signed = (payload: string | object, header: string | object = HS256) => token(header, payload, right);
/** The claims with one replaced by JSON text. */
const raw = (name: string, json: string) =>
  signed(JSON.stringify({ ...claims, [name]: '@' }).replace('"@"', () => json));
const good = signed(claims);
const [h = '', c = '', s = ''] = good.split('.');
const text = JSON.stringify(claims);

type Row = readonly [name: string, credential: string];

const malformed: Row[] = [
  ['empty', ''],
  ['one word', 'secret'],
  ['null', 'null'],
  ['one part', h],
  ['two parts', `${h}.${c}`],
  ['four parts', `${good}.${s}`],
  ['five parts', `${good}.${s}.${s}`],
  ['dots alone', '..'],
  ['10,000 dots', '.'.repeat(10_000)],
  ['no header', `.${c}.${s}`],
  ['no claims', `${h}..${s}`],
  ['a blank inside', `${h}. ${c}.${s}`],
  ['two tokens', `${good} ${good}`],
  ['two tokens with a comma', `${good},${good}`],
  ['padding inside', `${h}.${c}=.${s}`],
  ['a quote', `"${good}"`],
  ['another scheme in front', `Basic ${good}`],
  ['Bearer twice', `Bearer ${good}`],
  ['latin letters', `${good}\u00e9`],
  ['a header that is a list', signed(claims, [HS256])],
  ['a header that is null', signed(claims, 'null')],
  ['claims that are a list', signed([claims])],
  ['claims that are text', signed('"mallory"')],
  ['claims that are null', signed('null')],
  ['claims that are not JSON', signed('sub=mallory')],
  ['14 KB of it', signed({ ...claims, pad: 'x'.repeat(10_000) }).replace(/^/, 'x')],
  ['deep claims', raw('a', `${'['.repeat(3000)}${']'.repeat(3000)}`)],
  ["a client secret's form", `ek_rly_${'A'.repeat(43)}`],
  ["a client secret's form without ek_", `rly_${'A'.repeat(43)}`],
  ["a client secret's prefix alone", 'ek_rly_'],
  ["OpenAI's ephemeral key", 'ek_6a8c7d0f4e'],
  ["the upstream's own key", 'emulator-key'],
  ['the signing secret itself', jwt.secret],
];

const forged: Row[] = [
  ...['none', 'None', 'NONE', 'nOnE', 'none ', ''].map(
    (alg): Row => [`alg "${alg}" unsigned`, token({ alg }, claims, () => '')],
  ),
  ['alg none, signed all the same', signed(claims, { alg: 'none' })],
  ['alg null', signed(claims, { alg: null })],
  ['alg missing', signed(claims, { typ: 'JWT' })],
  ['alg a list', signed(claims, { alg: ['HS256'] })],
  ['alg an object', signed(claims, { alg: { toString: 'HS256' } })],
  ['alg in lower case', signed(claims, { alg: 'hs256' })],
  ['alg HS512', token({ alg: 'HS512' }, claims, hs256(jwt.secret, 512))],
  ['alg RS256 with its own key', token({ alg: 'RS256' }, claims, asymmetric('RS256', otherRsaKeys.privateKey))],
  ['alg ES256 with its own key', token({ alg: 'ES256' }, claims, asymmetric('ES256', ecKeys.ES256.privateKey))],
  ['the signature stripped', `${h}.${c}.`],
  ['the signature cut short', good.slice(0, -4)],
  ['the signature of other claims', `${h}.${part({ ...claims, sub: 'root' })}.${s}`],
  ['another secret', token(HS256, claims, hs256('another-secret-that-is-long-enough-too'))],
  ['an empty secret', token(HS256, claims, hs256(''))],
  ['crit unknown', signed(claims, { ...HS256, crit: ['x'] })],
  ['crit empty', signed(claims, { ...HS256, crit: [] })],
  ['b64 false', signed(claims, { ...HS256, b64: false, crit: ['b64'] })],
  ['kid a path', signed(claims, { ...HS256, kid: '../../../../dev/null' })],
  ['kid SQL', signed(claims, { ...HS256, kid: "x' UNION SELECT 'key'--" })],
  ['kid a URL', signed(claims, { ...HS256, kid: 'http://127.0.0.1/key' })],
  ['kid __proto__', signed(claims, { ...HS256, kid: '__proto__' })],
  ['kid with CRLF', signed(claims, { ...HS256, kid: 'a\r\nb' })],
  ['typ of another purpose', signed(claims, { alg: 'HS256', typ: 'logout+jwt' })],
  ['alg twice', signed(claims, '{"alg":"none","alg":"HS256"}')],
  ['sub twice', signed(text.replace('{', '{"sub":"root",'))],
  ['sub twice, once escaped', signed(text.replace('{', '{"s\\u0075b":"root",'))],
  ['exp twice', signed(text.replace('{', '{"exp":1,'))],
  ['__proto__ among the claims', signed(text.replace('{', '{"__proto__":{"profile":"admin"},'))],
];

const untrue: Row[] = [
  ...['iss', 'aud', 'sub', 'exp'].flatMap((name): Row[] => [
    [`${name} missing`, signed({ ...claims, [name]: undefined })],
    [`${name} null`, signed({ ...claims, [name]: null })],
    [`${name} an object`, signed({ ...claims, [name]: { a: 1 } })],
    [`${name} a list`, signed({ ...claims, [name]: [[]] })],
    [`${name} true`, signed({ ...claims, [name]: true })],
    [`${name} empty`, signed({ ...claims, [name]: '' })],
  ]),
  ['iss with a suffix', signed({ ...claims, iss: `${jwt.issuer}.evil.test` })],
  ['iss with a prefix', signed({ ...claims, iss: `https://evil.test/${jwt.issuer}` })],
  ['iss with a slash', signed({ ...claims, iss: `${jwt.issuer}/` })],
  ['aud with a suffix', signed({ ...claims, aud: `${jwt.audience}.evil` })],
  ['aud in capitals', signed({ ...claims, aud: jwt.audience.toUpperCase() })],
  ['aud a list of others', signed({ ...claims, aud: ['a', 'b'] })],
  ['sub with CRLF', signed({ ...claims, sub: 'alice\r\nx: y' })],
  ['sub with NUL', signed({ ...claims, sub: 'alice\0' })],
  ['sub of 5 KB', signed({ ...claims, sub: 'a'.repeat(5000) })],
  ['exp text', signed({ ...claims, exp: `${claims.exp}` })],
  ['exp negative', signed({ ...claims, exp: -1 })],
  ['exp a fraction', signed({ ...claims, exp: claims.exp + 0.5 })],
  ['exp 1e999', raw('exp', '1e999')],
  ['exp in milliseconds', signed({ ...claims, exp: claims.exp * 1000 })],
  ['exp beyond 2^53', raw('exp', '9007199254740993')],
  ['exp an hour ago', signed({ ...claims, exp: now - 3600 })],
  ['exp a second ago', signed({ ...claims, exp: now - 1 })],
  ['nbf in an hour', signed({ ...claims, nbf: now + 3600 })],
  ['iat in an hour', signed({ ...claims, iat: now + 3600 })],
  ['profile with CRLF', signed({ ...claims, profile: 'a\r\nb' })],
  ['profile an object', signed({ ...claims, profile: { a: 1 } })],
  ['tenant a number', signed({ ...claims, tenant: 7 })],
  ['scope a number', signed({ ...claims, scope: 7 })],
];

const strange: Row[] = [
  ['a profile that does not exist', signed({ ...claims, profile: 'admin' })],
  ['the profile __proto__', signed({ ...claims, profile: '__proto__' })],
  ['the profile constructor', signed({ ...claims, profile: 'constructor' })],
];

/** The ways a credential comes in; the last stays away from what no URL or header can hold. */
const ways = {
  header: (credential: string) => [doorOf.ga, { Authorization: `Bearer ${credential}` }],
  'api-key': (credential: string) => [doorOf.preview, { 'api-key': credential }],
  query: (credential: string) => [`${doorOf.ga}&api-key=${encodeURIComponent(credential)}`, {}],
  subprotocol: (credential: string) => [
    doorOf.ga,
    { 'Sec-WebSocket-Protocol': `realtime, openai-insecure-api-key.${credential}` },
  ],
} satisfies Record<string, (credential: string) => [string, Record<string, string>]>;

/** Fails unless these bytes are refused with this status, soon, and without a dial. */
async function expectRefused(field: Arena, bytes: string, statuses: readonly number[]): Promise<void> {
  const { dials } = field.wire;
  const { status, text, milliseconds } = await exchange(field.address, bytes);
  expect(statuses).toContain(status);
  expect(text).toContain('"error"');
  expect(milliseconds).toBeLessThan(1500);
  expect(field.wire.dials).toBe(dials);
}

describe('a door for tokens of a shared secret', () => {
  const field = arena();
  let cases = 0;
  afterEach(async () => {
    if (++cases % 20 === 0) await field.honestTurn();
  });
  afterAll(() => {
    const log = field.log.join('');
    for (const [, credential] of [...malformed, ...forged, ...untrue, ...strange]) {
      if (credential.length > 40) expect(log).not.toContain(credential.split('.').at(-1) || credential);
    }
  });

  it.each([...malformed, ...forged, ...untrue])('refuses a token with %s', async (_, credential) => {
    const [path, headers] = ways.header(credential);
    await expectRefused(field, handshake(path, headers), [401]);
  });

  it.each(strange)('refuses a token with %s', async (_, credential) => {
    const [path, headers] = ways.header(credential);
    await expectRefused(field, handshake(path, headers), [403]);
  });

  it.each(
    (['api-key', 'query', 'subprotocol'] as const).flatMap((way) =>
      [...forged.slice(0, 20), ...untrue.slice(0, 12)].map(([name, credential]) => [way, name, credential] as const),
    ),
  )('refuses by %s a token with %s', async (way, _, credential) => {
    const [path, headers] = ways[way](credential);
    await expectRefused(field, handshake(path, headers), [401]);
  });

  it.each<readonly [string, string, Record<string, string | string[]>]>([
    ['none at all', doorOf.ga, {}],
    ['two different ones', `${doorOf.ga}&api-key=${good}x`, { Authorization: `Bearer ${good}` }],
    ['two headers', doorOf.ga, { Authorization: [`Bearer ${good}`, `Bearer ${good}`] }],
    ['two api-key headers', doorOf.ga, { 'api-key': [good, 'x'] }],
    ['two parameters', `${doorOf.ga}&api-key=${good}&api-key=${good}`, {}],
    [
      'a good one and a bad protocol',
      doorOf.ga,
      { 'api-key': good, 'Sec-WebSocket-Protocol': 'openai-insecure-api-key.x' },
    ],
    ['another scheme', doorOf.ga, { Authorization: `Basic ${good}` }],
    ['no scheme', doorOf.ga, { Authorization: good }],
    ['a cookie', doorOf.ga, { Cookie: `token=${good}; Authorization=Bearer ${good}` }],
    ['a parameter of another name', `${doorOf.ga}&token=${good}&access_token=${good}`, {}],
    ['a fragment', `${doorOf.ga}#api-key=${good}`, {}],
    ['a proxy header', doorOf.ga, { 'Proxy-Authorization': `Bearer ${good}`, 'X-Api-Key': good }],
  ])('refuses %s', async (_, path, headers) => {
    await expectRefused(field, handshake(path, headers), [401]);
  });

  it('answers 100 KB of token soon', async () => {
    const { status, milliseconds } = await exchange(
      field.address,
      handshake(doorOf.ga, { Authorization: `Bearer ${'A'.repeat(100_000)}` }),
    );
    expect([400, 401, 431, null]).toContain(status);
    expect(milliseconds).toBeLessThan(1500);
  });

  it('lets in what is good, by every way', async () => {
    for (const way of Object.values(ways)) {
      const [path, headers] = way(good);
      expect((await exchange(field.address, handshake(path, headers))).status).toBe(101);
    }
  });
});

describe('a door for tokens of a key pair', () => {
  const publicKey = pem(rsaKeys.publicKey);
  const field = arena({ env: { RELAY_JWT_SECRET: '', RELAY_JWT_PUBLIC_KEY: publicKey } });
  const rs256 = asymmetric('RS256', rsaKeys.privateKey);
  field.token = () => token({ alg: 'RS256' }, { ...claims, sub: 'honest' }, rs256);
  const fetched = { requests: 0, uri: '', close: async () => {} };
  afterAll(() => fetched.close());

  it.each<Row>([
    ['HS256 with the public key as PEM', token(HS256, claims, hs256(publicKey))],
    ['HS256 with the public key trimmed', token(HS256, claims, hs256(publicKey.trim()))],
    ['HS256 with the shared secret of another door', good],
    ['HS512 with the public key', token({ alg: 'HS512' }, claims, hs256(publicKey, 512))],
    ['none', token({ alg: 'none' }, claims, () => '')],
    ['another key', token({ alg: 'RS256' }, claims, asymmetric('RS256', otherRsaKeys.privateKey))],
    [
      'another key in jwk',
      token({ alg: 'RS256', jwk: jwk(otherRsaKeys.publicKey) }, claims, asymmetric('RS256', otherRsaKeys.privateKey)),
    ],
    ['a key of another kind', token({ alg: 'ES256' }, claims, asymmetric('ES256', ecKeys.ES256.privateKey))],
  ])('refuses %s', async (_, credential) => {
    await expectRefused(field, handshake(doorOf.ga, { 'api-key': credential }), [401]);
  });

  it('fetches nothing that a token names', async () => {
    Object.assign(fetched, await serveKeys(keySet(jwk(otherRsaKeys.publicKey, { kid: 'k' }))));
    for (const name of ['jku', 'x5u', 'kid', 'iss']) {
      const header = { alg: 'RS256', kid: 'k', [name]: fetched.uri };
      const credential = token(header, claims, asymmetric('RS256', otherRsaKeys.privateKey));
      await expectRefused(field, handshake(doorOf.ga, { 'api-key': credential }), [401]);
    }
    expect(fetched.requests).toBe(0);
  });
});
