import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkSecret, createVerifier, type VerifierSettings } from '../../src/auth/verify.js';
import { exits, RelayError } from '../../src/errors.js';
import {
  asymmetric,
  audience,
  claims,
  ecKeys,
  hs256,
  issuer,
  jwk,
  otherRsaKeys,
  part,
  pem,
  rsaKeys,
  secret,
  start,
  token,
  weakRsaKeys,
} from './issuer.js';

const settings = { issuer, audience, now: () => start * 1000 };
const withSecret = createVerifier({ ...settings, source: { kind: 'secret', secret } });
const withRsa = createVerifier({ ...settings, source: { kind: 'public_key', pem: pem(rsaKeys.publicKey) } });
const HS256 = { alg: 'HS256', typ: 'JWT' };

async function outcome(verifier: typeof withSecret, credential: string): Promise<RelayError | 'accepted'> {
  try {
    await verifier.verify(credential);
    return 'accepted';
  } catch (error) {
    if (error instanceof RelayError) return error;
    throw error;
  }
}

async function refusal(verifier: typeof withSecret, credential: string): Promise<RelayError> {
  const result = await outcome(verifier, credential);
  if (result === 'accepted') throw new Error('the token was accepted');
  expect(exits[result.id].http).toBe(401);
  return result;
}

const valid = token();
const [h = '', c = '', s = ''] = valid.split('.');
/** The claims with one replaced by JSON text. */
const rawClaim = (name: string, json: string): string =>
  JSON.stringify({ ...claims, [name]: '@' }).replace('"@"', () => json);
const without = (name: string): object => Object.fromEntries(Object.entries(claims).filter(([key]) => key !== name));

describe('a token that is not a JWT is refused', () => {
  it.each<[string, string]>([
    ['empty', ''],
    ['blank', ' '],
    ['one word', 'secret'],
    ['one part', h],
    ['two parts', `${h}.${c}`],
    ['four parts', `${valid}.${s}`],
    ['five parts, as an encrypted one', `${valid}.${s}.${s}`],
    ['dots alone', '..'],
    ['10,000 dots', '.'.repeat(10_000)],
    ['no header', `.${c}.${s}`],
    ['no claims', `${h}..${s}`],
    ['a blank before', ` ${valid}`],
    ['a blank behind', `${valid} `],
    ['a line break behind', `${valid}\n`],
    ['a blank inside', `${h}. ${c}.${s}`],
    ['a line break inside the claims', `${h}.${c.slice(0, 8)}\r\n${c.slice(8)}.${s}`],
    ['a NUL inside', `${h}.${c}\0.${s}`],
    ['padding', `${h}.${c}=.${s}`],
    ['the plain base64 alphabet', `${h}.${c}.${'+/'.repeat(21)}A`],
    ['a full-width dot', valid.replace('.', '．')],
    ['a header that is not JSON', token('alg=HS256')],
    ['a header that is an array', token([HS256])],
    ['a header that is null', token('null')],
    ['a header with trailing text', token('{"alg":"HS256"}{}')],
    ['claims that are not JSON', token(HS256, 'sub=alice')],
    ['claims that are a string', token(HS256, '"alice"')],
    ['claims that are an array', token(HS256, [claims])],
    ['claims that are null', token(HS256, 'null')],
    ['100 KB', `${h}.${'A'.repeat(100_000)}.${s}`],
    ['over 16 KB, properly signed', token(HS256, { ...claims, pad: 'x'.repeat(16_000) })],
    ['claims nested 3,000 deep', token(HS256, rawClaim('a', `${'['.repeat(3000)}${']'.repeat(3000)}`))],
    ['claims nested 20 deep', token(HS256, rawClaim('a', `${'{"a":'.repeat(20)}1${'}'.repeat(20)}`))],
  ])('%s', async (_name, credential) => {
    expect((await refusal(withSecret, credential)).id).toBe('unauthorized');
  });

  it('claims that are not UTF-8', async () => {
    const bytes = Buffer.from(JSON.stringify(claims).replace('alice', 'al\u00ffce'), 'latin1');
    const input = `${h}.${bytes.toString('base64url')}`;
    expect((await refusal(withSecret, `${input}.${hs256(secret)(input)}`)).id).toBe('unauthorized');
  });
});

describe('a token that chooses how it is verified is refused', () => {
  const own = asymmetric('RS256', otherRsaKeys.privateKey);
  it.each<[string, string]>([
    ...['none', 'None', 'NONE', 'nOnE', 'none ', ''].map((alg): [string, string] => [
      `alg "${alg}" without a signature`,
      token({ alg }, claims, () => ''),
    ]),
    ['alg none with the signature of HS256', token({ alg: 'none' })],
    ['alg null', token({ alg: null })],
    ['alg missing', token({ typ: 'JWT' })],
    ['alg a list', token({ alg: ['HS256'] })],
    ['alg an object', token({ alg: { toString: 'HS256' } })],
    ['alg in lower case', token({ alg: 'hs256' })],
    ['alg with a blank', token({ alg: 'HS256 ' })],
    ['alg constructor', token({ alg: 'constructor' })],
    ['alg HS512 with the right secret', token({ alg: 'HS512' }, claims, hs256(secret, 512))],
    ['alg HS384 with the right secret', token({ alg: 'HS384' }, claims, hs256(secret, 384))],
    ['alg RS256 with a key of its own', token({ alg: 'RS256' }, claims, own)],
    ['its signature stripped', `${h}.${c}.`],
    ['its signature cut short', valid.slice(0, -4)],
    ['its signature of other claims', `${h}.${part({ ...claims, sub: 'root' })}.${s}`],
    ['another secret', token(HS256, claims, hs256('another-secret-0123456789-01234567'))],
    ['an empty secret', token(HS256, claims, hs256(''))],
    ['the secret null', token(HS256, claims, hs256('null'))],
    ['crit with a known name', token({ ...HS256, crit: ['exp'], exp: 1 })],
    ['crit with an unknown name', token({ ...HS256, crit: ['https://example.com/x'] })],
    ['crit empty', token({ ...HS256, crit: [] })],
    ['crit null', token({ ...HS256, crit: null })],
    ['b64 false with crit', token({ ...HS256, b64: false, crit: ['b64'] })],
    ['kid as a path', token({ ...HS256, kid: '../../../../dev/null' })],
    ['kid as an absolute path', token({ ...HS256, kid: '/dev/null' })],
    ['kid as SQL', token({ ...HS256, kid: "x' UNION SELECT 'key'--" })],
    ['kid as a URL', token({ ...HS256, kid: 'http://127.0.0.1/key' })],
    ['kid __proto__', token({ ...HS256, kid: '__proto__' })],
    ['kid as a command', token({ ...HS256, kid: 'key|/bin/true' })],
    ['kid with CRLF', token({ ...HS256, kid: 'a\r\nb' })],
    ['kid an object', token({ ...HS256, kid: { a: 1 } })],
    ['kid empty', token({ ...HS256, kid: '' })],
    ['kid of 5 KB', token({ ...HS256, kid: 'k'.repeat(5000) })],
    ['typ of a logout token', token({ alg: 'HS256', typ: 'logout+jwt' })],
    ['typ a number', token({ alg: 'HS256', typ: 1 })],
  ])('%s', async (_name, credential) => {
    expect((await refusal(withSecret, credential)).id).toBe('unauthorized');
  });

  it.each<[string, string]>([
    ['HS256 with the public key as PEM', token(HS256, claims, hs256(pem(rsaKeys.publicKey)))],
    ['HS256 with the public key as trimmed PEM', token(HS256, claims, hs256(pem(rsaKeys.publicKey).trim()))],
    [
      'HS256 with the public key as DER',
      token(HS256, claims, hs256(rsaKeys.publicKey.export({ type: 'spki', format: 'der' }).toString('latin1'))),
    ],
    ['HS512 with the public key', token({ alg: 'HS512' }, claims, hs256(pem(rsaKeys.publicKey), 512))],
    ['a key of its own', token({ alg: 'RS256' }, claims, asymmetric('RS256', otherRsaKeys.privateKey))],
    [
      'a key of its own in jwk',
      token({ alg: 'RS256', jwk: jwk(otherRsaKeys.publicKey) }, claims, asymmetric('RS256', otherRsaKeys.privateKey)),
    ],
    ['an EC key of its own', token({ alg: 'ES256' }, claims, asymmetric('ES256', ecKeys.ES256.privateKey))],
    ['RS256 announced, PS256 signed', token({ alg: 'RS256' }, claims, asymmetric('PS256', rsaKeys.privateKey))],
    ['alg none', token({ alg: 'none' }, claims, () => '')],
  ])('against a public key: %s', async (_name, credential) => {
    expect((await refusal(withRsa, credential)).id).toBe('unauthorized');
  });
});

describe('claims that can be read in two ways are refused', () => {
  const text = JSON.stringify(claims);
  it.each<[string, string]>([
    ['sub twice', token(HS256, text.replace('{', '{"sub":"bob",'))],
    ['sub twice, the same', token(HS256, text.replace('{', '{"sub":"alice",'))],
    ['sub twice, once escaped', token(HS256, text.replace('{', '{"s\\u0075b":"bob",'))],
    ['exp twice', token(HS256, text.replace('{', '{"exp":1,'))],
    ['a key twice, deep inside', token(HS256, text.replace('{', '{"a":[{"b":{"c":1,"d":"x","c":2}}],'))],
    ['an empty key twice', token(HS256, text.replace('{', '{"":1,"":2,'))],
    ['__proto__', token(HS256, text.replace('{', '{"__proto__":{"profile":"admin"},'))],
    ['__proto__ escaped', token(HS256, text.replace('{', '{"\\u005f_proto__":{},'))],
    ['alg twice', token('{"alg":"none","alg":"HS256"}')],
    ['alg twice, once escaped', token('{"\\u0061lg":"none","alg":"HS256"}')],
    ['a comment', token(HS256, text.replace('{', '{/**/'))],
    ['single quotes', token(HS256, text.replaceAll('"', "'"))],
    ['a byte order mark', token(HS256, `\ufeff${text}`)],
    ['a key twice, with blanks before the colon', token(HS256, text.replace('{', '{"a" \n: 1, "a"\t:2,'))],
    ['a key twice, around another object', token(HS256, text.replace('{', '{"a":{"b":[]},"a":1,'))],
    ['513 keys', token(HS256, Object.fromEntries(Array.from({ length: 513 }, (_, i) => [`k${i}`, i])))],
    ['a trailing comma', token(HS256, text.replace(/}$/, ',}'))],
  ])('%s', async (_name, credential) => {
    expect((await refusal(withSecret, credential)).message).toMatch(/unambiguous JSON object/);
  });

  it.each<[string, string | object]>([
    ['it has over 512 keys', Object.fromEntries(Array.from({ length: 520 }, (_, i) => [`k${i}`, i]))],
    ['it has a key twice', text.replace('{', '{"sub":"bob",')],
    ['it is nested over 16 levels deep', text.replace('{', `{"a":${'['.repeat(17)}${']'.repeat(17)},`)],
    ['it is not valid JSON', text.replace('{', '{,')],
    ['it is JSON of another kind', '[1]'],
    ['it has the key __proto__', text.replace('{', '{"__proto__":1,')],
  ])('and are told why: %s', async (why, wrong) => {
    const { message } = await refusal(withSecret, token(HS256, wrong));
    expect(message).toBe(`The token's claims must be an unambiguous JSON object: ${why}.`);
  });

  it('but 512 keys are not too many', async () => {
    const many = Object.fromEntries(Array.from({ length: 512 - Object.keys(claims).length }, (_, i) => [`k${i}`, i]));
    await expect(withSecret.verify(token(HS256, { ...claims, ...many }))).resolves.toMatchObject({ subject: 'alice' });
  });

  it('but values that look like keys are not', async () => {
    const odd = { ...claims, a: ['sub', 'sub', ',"sub":', { sub: '{"x":"x"}' }], b: '\\","sub":"bob' };
    await expect(withSecret.verify(token(HS256, odd))).resolves.toMatchObject({ subject: 'alice' });
  });
});

describe('claims that do not hold are refused', () => {
  const both: [string, string, string][] = ['sub', 'aud', 'iss'].flatMap((name): [string, string, string][] => [
    [`${name} missing`, token(HS256, without(name)), name],
    [`${name} null`, token(HS256, { ...claims, [name]: null }), name],
    [`${name} a number`, token(HS256, { ...claims, [name]: 7 }), name],
    [`${name} true`, token(HS256, { ...claims, [name]: true }), name],
    [`${name} empty`, token(HS256, { ...claims, [name]: '' }), name],
    [`${name} an object`, token(HS256, { ...claims, [name]: { toString: 'x', 0: audience, length: 1 } }), name],
    [`${name} an empty list`, token(HS256, { ...claims, [name]: [] }), name],
  ]);
  it.each<[string, string, string]>([
    ...both,
    ['aud wrong', token(HS256, { ...claims, aud: 'other' }), 'aud'],
    ['aud with a suffix', token(HS256, { ...claims, aud: `${audience}.evil.com` }), 'aud'],
    ['aud with a prefix', token(HS256, { ...claims, aud: `evil-${audience}` }), 'aud'],
    ['aud in another case', token(HS256, { ...claims, aud: audience.toUpperCase() }), 'aud'],
    ['aud with a blank', token(HS256, { ...claims, aud: `${audience} ` }), 'aud'],
    ['aud a list of others', token(HS256, { ...claims, aud: ['a', 'b'] }), 'aud'],
    ['aud a list in a list', token(HS256, { ...claims, aud: [[audience]] }), 'aud'],
    ['aud a list with an object', token(HS256, { ...claims, aud: [audience, {}] }), 'aud'],
    ['aud separated by blanks', token(HS256, { ...claims, aud: `${audience} other` }), 'aud'],
    ['iss wrong', token(HS256, { ...claims, iss: 'https://evil.example.com/' }), 'iss'],
    ['iss with a suffix', token(HS256, { ...claims, iss: `${issuer}evil` }), 'iss'],
    ['iss without the slash', token(HS256, { ...claims, iss: issuer.slice(0, -1) }), 'iss'],
    ['iss in a list', token(HS256, { ...claims, iss: [issuer] }), 'iss'],
    ['sub with CRLF', token(HS256, { ...claims, sub: 'alice\r\nx-admin: 1' }), 'sub'],
    ['sub with NUL', token(HS256, { ...claims, sub: 'alice\0' }), 'sub'],
    ['sub with a C1 control', token(HS256, { ...claims, sub: 'alice\u0085' }), 'sub'],
    ['sub with a line separator', token(HS256, { ...claims, sub: 'alice\u2028' }), 'sub'],
    ['sub with half a surrogate pair', token(HS256, rawClaim('sub', '"alice\\ud800"')), 'sub'],
    ['sub of 257 characters', token(HS256, { ...claims, sub: 'a'.repeat(257) }), 'sub'],
    ['sub of 5 KB', token(HS256, { ...claims, sub: 'a'.repeat(5000) }), 'sub'],
    ['exp missing', token(HS256, without('exp')), 'exp'],
    ['exp null', token(HS256, { ...claims, exp: null }), 'exp'],
    ['exp a string', token(HS256, { ...claims, exp: `${claims.exp}` }), 'exp'],
    ['exp true', token(HS256, { ...claims, exp: true }), 'exp'],
    ['exp an object', token(HS256, { ...claims, exp: {} }), 'exp'],
    ['exp a list', token(HS256, { ...claims, exp: [claims.exp] }), 'exp'],
    ['exp negative', token(HS256, { ...claims, exp: -1 }), 'exp'],
    ['exp zero', token(HS256, { ...claims, exp: 0 }), 'exp'],
    ['exp a fraction', token(HS256, { ...claims, exp: claims.exp + 0.5 }), 'exp'],
    ['exp 1e999', token(HS256, rawClaim('exp', '1e999')), 'exp'],
    ['exp 1e300', token(HS256, rawClaim('exp', '1e300')), 'exp'],
    ['exp over 2^53', token(HS256, rawClaim('exp', '9007199254740993')), 'exp'],
    ['exp in milliseconds', token(HS256, { ...claims, exp: claims.exp * 1000 }), 'exp'],
    ['exp in 401 days', token(HS256, { ...claims, exp: start + 401 * 86_400 }), 'exp'],
    ['exp 401 days after iat', token(HS256, { ...claims, iat: start - 2 * 86_400, exp: start + 399 * 86_400 }), 'exp'],
    ['jti a number', token(HS256, { ...claims, jti: 7 }), 'jti'],
    ['jti empty', token(HS256, { ...claims, jti: '' }), 'jti'],
    ['jti of 257 characters', token(HS256, { ...claims, jti: 'a'.repeat(257) }), 'jti'],
    ['nbf in 31 s', token(HS256, { ...claims, nbf: start + 31 }), 'nbf'],
    ['nbf a string', token(HS256, { ...claims, nbf: `${start}` }), 'nbf'],
    ['nbf 1e999', token(HS256, rawClaim('nbf', '1e999')), 'nbf'],
    ['iat in 31 s', token(HS256, { ...claims, iat: start + 31 }), 'iat'],
    ['iat in milliseconds', token(HS256, { ...claims, iat: start * 1000 }), 'iat'],
    ['iat an object', token(HS256, { ...claims, iat: {} }), 'iat'],
    ['iat negative', token(HS256, { ...claims, iat: -5 }), 'iat'],
    ['profile an object', token(HS256, { ...claims, profile: {} }), 'profile'],
    ['profile empty', token(HS256, { ...claims, profile: '' }), 'profile'],
    ['profile with CRLF', token(HS256, { ...claims, profile: 'a\r\nb' }), 'profile'],
    ['tenant a number', token(HS256, { ...claims, tenant: 5 }), 'tenant'],
    ['scope a number', token(HS256, { ...claims, scope: 5 }), 'scope'],
    ['scope a list of numbers', token(HS256, { ...claims, scope: [5] }), 'scope'],
  ])('%s', async (_name, credential, claim) => {
    const error = await refusal(withSecret, credential);
    expect(error.id).toBe('unauthorized');
    expect(error.message).toMatch(new RegExp(`\\b${claim}\\b`));
  });

  it('says of a claim that is missing that it is missing, not that it is wrong', async () => {
    for (const [name, what] of [
      ['iss', 'no issuer'],
      ['aud', 'no audience'],
      ['sub', 'no subject'],
    ] as const) {
      for (const credential of [token(HS256, without(name)), token(HS256, { ...claims, [name]: null })]) {
        expect((await refusal(withSecret, credential)).message).toContain(what);
      }
    }
  });

  it('tells a token that ran out from one that is not valid', async () => {
    for (const exp of [start - 30, start - 86_400, 1]) {
      expect((await refusal(withSecret, token(HS256, { ...claims, exp }))).id).toBe('token_expired');
    }
    const forged = token(HS256, { ...claims, exp: 1 }, hs256('another-secret-0123456789-01234567'));
    expect((await refusal(withSecret, forged)).id).toBe('unauthorized');
    expect((await refusal(withSecret, token(HS256, { ...claims, exp: 1, aud: 'x' }))).id).toBe('unauthorized');
  });

  it('does not tell the bearer of a forged token which claim is wrong', async () => {
    const forged = token(HS256, { ...claims, aud: 'x' }, hs256('another-secret-0123456789-01234567'));
    expect((await refusal(withSecret, forged)).message).toMatch(/signature/);
  });

  it('says what is wrong without quoting the token or the settings', async () => {
    const marked = token(HS256, { ...claims, iss: 'https://wrong.example.com', aud: 'marked' });
    for (const credential of [marked, token(HS256, { ...claims, aud: 'marked' }), `${marked}x`, `${h}.bWFya2Vk.${s}`]) {
      const { message } = await refusal(withSecret, credential);
      for (const hidden of [issuer, secret, 'marked', 'wrong.example', credential, part('marked')]) {
        expect(message).not.toContain(hidden);
      }
    }
  });
});

describe('a refusal is cheap', () => {
  const forged = hs256('another-secret-0123456789-01234567');
  it.each<[string, string]>([
    ['nothing but open brackets', token(HS256, '['.repeat(11_000), forged)],
    ['nothing but open braces', token(HS256, '{"":'.repeat(2800), forged)],
    ['escaped quotes that never end', token(HS256, `{"${'\\"'.repeat(5600)}`, forged)],
    ['blanks and quotes', token(HS256, `{${'"" '.repeat(3700)}`, forged)],
    ['thousands of keys', token(HS256, `{${Array.from({ length: 1500 }, (_, i) => `"${i}":1`).join()}}`, forged)],
    ['dots', '.'.repeat(16_000)],
    ['letters', 'A'.repeat(16_000)],
  ])('%s', async (_name, credential) => {
    const before = performance.now();
    for (let round = 0; round < 50; round++) await refusal(withSecret, credential);
    // Ten times what it takes, for a busy machine; a search that is quadratic takes a hundred times as long.
    expect((performance.now() - before) / 50).toBeLessThan(10);
  });
});

describe('a token that holds', () => {
  it('gives the principal it names', async () => {
    const full = {
      ...claims,
      nbf: start,
      iat: start,
      profile: 'kiosk',
      tenant: 'acme',
      scope: 'talk listen',
      name: 'Al',
    };
    const principal = await withSecret.verify(token(HS256, full));
    expect(principal).toEqual({
      issuer,
      subject: 'alice',
      profile: 'kiosk',
      tenant: 'acme',
      scopes: ['talk', 'listen'],
      expiresAt: start + 3600,
      claims: full,
    });
    expect(Object.isFrozen(principal) && Object.isFrozen(principal.claims) && Object.isFrozen(principal.scopes)).toBe(
      true,
    );
    expect(principal.claims.constructor).toBeUndefined();
  });

  it.each(['nbf', 'iat', 'jti', 'profile', 'tenant', 'scope'])('has no %s when it is null', async (name) => {
    const principal = await withSecret.verify(token(HS256, { ...claims, [name]: null }));
    expect(principal).toMatchObject({ subject: 'alice', profile: 'default', tenant: null, scopes: [] });
  });

  it.each(['kid', 'typ'])('may have a header whose %s is null', async (name) => {
    await expect(withSecret.verify(token({ ...HS256, [name]: null }))).resolves.toMatchObject({ subject: 'alice' });
  });

  it('has a profile, no tenant and no scopes when it names none', async () => {
    expect(await withSecret.verify(valid)).toMatchObject({ profile: 'default', tenant: null, scopes: [] });
  });

  it.each<[string, string]>([
    ['without typ', token({ alg: 'HS256' })],
    ['with the type of an access token', token({ alg: 'HS256', typ: 'at+jwt' })],
    ['with a key id', token({ ...HS256, kid: '2024-01.key_1=' })],
    [
      'with jku, x5u and x5c, which nobody reads',
      token({ ...HS256, jku: 'http://127.0.0.1:1/', x5u: 'x', x5c: ['y'] }),
    ],
    ['with the audience in a list', token(HS256, { ...claims, aud: ['other', audience] })],
    ['that ran out within the leeway', token(HS256, { ...claims, exp: start - 29 })],
    ['that begins within the leeway', token(HS256, { ...claims, nbf: start + 30, iat: start + 30 })],
    ['issued at a fraction of a second', token(HS256, { ...claims, iat: start - 0.5 })],
    ['with a scope list', token(HS256, { ...claims, scope: ['a', 'b'] })],
    ['with a subject of 256 characters', token(HS256, { ...claims, sub: 'é'.repeat(256) })],
    ['of nearly 16 KB', token(HS256, { ...claims, pad: 'x'.repeat(11_000) })],
    ['good for 399 days', token(HS256, { ...claims, exp: start + 399 * 86_400 })],
  ])('is accepted %s', async (_name, credential) => {
    expect(await outcome(withSecret, credential)).toBe('accepted');
  });

  it.each(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'])('is accepted with %s and an RSA key', async (alg) => {
    const credential = token({ alg }, claims, asymmetric(alg, rsaKeys.privateKey));
    expect(await outcome(withRsa, credential)).toBe('accepted');
  });

  it.each(['ES256', 'ES384', 'ES512'] as const)('is accepted with %s and a key of that curve alone', async (alg) => {
    for (const [curve, keys] of Object.entries(ecKeys)) {
      const source = { kind: 'public_key', pem: pem(keys.publicKey) } as const;
      const verifier = createVerifier({ ...settings, source });
      const result = await outcome(verifier, token({ alg }, claims, asymmetric(alg, keys.privateKey)));
      if (curve === alg) expect(result).toBe('accepted');
      else expect(result).toMatchObject({ id: 'unauthorized' });
    }
  });

  it('keeps its leeway to what is configured', async () => {
    const strict = createVerifier({ ...settings, leewaySeconds: 0, source: { kind: 'secret', secret } });
    expect(await outcome(strict, token(HS256, { ...claims, exp: start + 1 }))).toBe('accepted');
    expect(await outcome(strict, token(HS256, { ...claims, exp: start }))).toMatchObject({ id: 'token_expired' });
  });
});

describe('a token changed anywhere never verifies', () => {
  const es256 = createVerifier({ ...settings, source: { kind: 'public_key', pem: pem(ecKeys.ES256.publicKey) } });
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n';
  it.each([
    ['HS256', withSecret, valid],
    ['RS256', withRsa, token({ alg: 'RS256' }, claims, asymmetric('RS256', rsaKeys.privateKey))],
    ['PS256', withRsa, token({ alg: 'PS256' }, claims, asymmetric('PS256', rsaKeys.privateKey))],
    ['ES256', es256, token({ alg: 'ES256' }, claims, asymmetric('ES256', ecKeys.ES256.privateKey))],
  ] as const)('%s', async (_name, verifier, original) => {
    const at = fc.nat(original.length - 1);
    const change = fc.oneof(
      fc.tuple(at, fc.constantFrom(...alphabet)).map(([i, x]) => original.slice(0, i) + x + original.slice(i + 1)),
      fc.tuple(at, fc.constantFrom(...alphabet)).map(([i, x]) => original.slice(0, i) + x + original.slice(i)),
      fc.tuple(at, fc.integer({ min: 1, max: 40 })).map(([i, n]) => original.slice(0, i) + original.slice(i + n)),
      fc.constantFrom(...alphabet).map((x) => original.slice(0, -1) + x),
      fc.string().map((text) => original + text),
    );
    await fc.assert(
      fc.asyncProperty(change, async (changed) => {
        fc.pre(changed !== original);
        await refusal(verifier, changed);
      }),
      { numRuns: 400 },
    );
  });

  it('and whatever the claims are, a forged signature is refused as unauthorized', async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), async (value) => {
        const forged = token(HS256, JSON.stringify(value), hs256('another-secret-0123456789-01234567'));
        expect((await refusal(withSecret, forged)).id).toBe('unauthorized');
      }),
      { numRuns: 200 },
    );
  });

  it('and whatever signed claims are, they are accepted or refused, never a fault', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(fc.constantFrom(...Object.keys(claims), 'nbf', 'scope'), fc.jsonValue()),
        async (odd) => {
          const result = await outcome(withSecret, token(HS256, JSON.stringify({ ...claims, ...odd })));
          if (result !== 'accepted') expect(exits[result.id].http).toBe(401);
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('settings that cannot be safe are refused', () => {
  const source = (value: VerifierSettings['source']) => () => createVerifier({ ...settings, source: value });
  it.each<[string, () => unknown, RegExp]>([
    ['a short secret', source({ kind: 'secret', secret: 'x'.repeat(31) }), /32 bytes/],
    ['a PEM key as secret', source({ kind: 'secret', secret: pem(rsaKeys.publicKey) }), /public key/],
    ['a text as public key', source({ kind: 'public_key', pem: 'nonsense' }), /not a PEM/],
    [
      'a private key',
      source({ kind: 'public_key', pem: rsaKeys.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() }),
      /private/,
    ],
    ['a weak RSA key', source({ kind: 'public_key', pem: pem(weakRsaKeys.publicKey) }), /2048/],
    ['a plain http JWKS', source({ kind: 'jwks', uri: 'http://id.example.com/keys' }), /https/],
    ['a loopback trick', source({ kind: 'jwks', uri: 'http://127.0.0.1.example.com/keys' }), /https/],
    ['a file as JWKS', source({ kind: 'jwks', uri: 'file:///etc/keys.json' }), /https/],
    ['a JWKS that is no URL', source({ kind: 'jwks', uri: 'keys' }), /not a URL/],
    ['a password in the JWKS URI', source({ kind: 'jwks', uri: 'https://a:b@id.example.com/keys' }), /password/],
    ['no issuer', () => createVerifier({ ...settings, issuer: '', source: { kind: 'secret', secret } }), /issuer/],
    [
      'no audience',
      () => createVerifier({ ...settings, audience: '', source: { kind: 'secret', secret } }),
      /audience/,
    ],
    [
      '61 s of leeway',
      () => createVerifier({ ...settings, leewaySeconds: 61, source: { kind: 'secret', secret } }),
      /60/,
    ],
    [
      'no leeway',
      () => createVerifier({ ...settings, leewaySeconds: Number.NaN, source: { kind: 'secret', secret } }),
      /60/,
    ],
  ])('%s', (_name, create, message) => {
    expect(create).toThrow(message);
  });

  it('counts a secret in bytes', () => {
    expect(checkSecret('é'.repeat(16))).toBeNull();
    expect(checkSecret('x'.repeat(31))).toMatch(/32/);
  });
});
