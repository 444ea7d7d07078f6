import { afterEach, describe, expect, it } from 'vitest';
import { jwksSource } from '../../src/auth/jwks.js';
import { createVerifier, type Verifier } from '../../src/auth/verify.js';
import {
  asymmetric,
  audience,
  claims,
  ecKeys,
  hs256,
  issuer,
  jwk,
  keySet,
  otherRsaKeys,
  outage,
  pem,
  rsaKeys,
  secret,
  serveKeys,
  start,
  token,
  weakRsaKeys,
} from './issuer.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function relay(answer = keySet(jwk(rsaKeys.publicKey, { kid: 'one' }))) {
  const endpoint = await serveKeys(answer);
  const clock = { seconds: start };
  const verifier = createVerifier({
    issuer,
    audience,
    source: { kind: 'jwks', uri: endpoint.uri },
    now: () => clock.seconds * 1000,
  });
  cleanups.push(endpoint.close, () => verifier.close());
  return { endpoint, clock, verifier };
}

const long = { ...claims, exp: start + 30 * 86_400 };
const rs256 = (kid: string | undefined, keys = rsaKeys, extra: object = {}): string =>
  token({ alg: 'RS256', typ: 'JWT', kid, ...extra }, long, asymmetric('RS256', keys.privateKey));
const issuedAt = (kid: string, iat: number, keys = rsaKeys): string =>
  token({ alg: 'RS256', typ: 'JWT', kid }, { ...long, iat }, asymmetric('RS256', keys.privateKey));
const one = rs256('one');
const two = rs256('two', otherRsaKeys);

function verified(verifier: Verifier, credential: string) {
  return expect(verifier.verify(credential)).resolves.toMatchObject({ subject: 'alice' });
}
function refused(verifier: Verifier, credential: string, id = 'unauthorized') {
  return expect(verifier.verify(credential)).rejects.toMatchObject({ id });
}

describe('keys from a JWKS endpoint', () => {
  it('are fetched once for many tokens at once', async () => {
    const { endpoint, verifier } = await relay();
    await Promise.all(Array.from({ length: 50 }, () => verified(verifier, one)));
    await verified(verifier, one);
    expect(endpoint.requests).toBe(1);
  });

  it('are there before the first token when warmed', async () => {
    const { endpoint, verifier } = await relay();
    await verifier.warm();
    endpoint.answer = outage;
    await verified(verifier, one);
    expect(endpoint.requests).toBe(1);
  });

  it('serve for hours through an outage, then no more', async () => {
    const { endpoint, clock, verifier } = await relay();
    await verified(verifier, one);
    endpoint.answer = outage;
    for (const seconds of [60, 11 * 60, 3600, 3 * 3600]) {
      clock.seconds = start + seconds;
      await verified(verifier, one);
    }
    clock.seconds = start + 4 * 3600;
    await refused(verifier, one, 'overloaded');
    endpoint.answer = keySet(jwk(rsaKeys.publicKey, { kid: 'one' }));
    clock.seconds += 30;
    await verified(verifier, one);
  });

  it('are asked for at most every 30 s during an outage', async () => {
    const { endpoint, clock, verifier } = await relay();
    await verified(verifier, one);
    endpoint.answer = outage;
    clock.seconds += 3600;
    for (let second = 0; second < 90; second++) {
      await verified(verifier, one);
      await refused(verifier, rs256(`unknown-${second}`), 'overloaded');
      clock.seconds++;
    }
    expect(endpoint.requests).toBe(1 + 3);
  });

  it('never fail open: without any, no token passes and the client is told to wait', async () => {
    const { endpoint, clock, verifier } = await relay(outage);
    await expect(verifier.verify(one)).rejects.toMatchObject({
      id: 'overloaded',
      message: 'Keys to verify tokens are not available right now.',
      retryAfterMs: 5000,
    });
    await expect(verifier.warm()).rejects.toMatchObject({ id: 'overloaded' });
    expect(endpoint.requests).toBe(1);
    endpoint.answer = keySet(jwk(rsaKeys.publicKey, { kid: 'one' }));
    clock.seconds += 5;
    await verified(verifier, one);
  });

  it('follow a rotation at once, and the withdrawn key stops working', async () => {
    const { endpoint, verifier } = await relay();
    await verified(verifier, one);
    endpoint.answer = keySet(jwk(otherRsaKeys.publicKey, { kid: 'two' }));
    await verified(verifier, two);
    await refused(verifier, one);
    expect(endpoint.requests).toBe(2);
  });

  it('are refreshed after ten minutes, so that a withdrawn key stops working without a new one in use', async () => {
    const { endpoint, clock, verifier } = await relay();
    await verified(verifier, one);
    endpoint.answer = keySet(jwk(otherRsaKeys.publicKey, { kid: 'two' }));
    clock.seconds += 599;
    await verified(verifier, one);
    clock.seconds += 1;
    await refused(verifier, one);
  });

  it('are refetched for unknown key ids at most every 30 s, however many ids are invented', async () => {
    const { endpoint, clock, verifier } = await relay();
    await verified(verifier, one);
    await Promise.all(Array.from({ length: 100 }, (_, index) => refused(verifier, rs256(`kid-${index}`))));
    for (let second = 0; second < 29; second++) {
      clock.seconds++;
      await refused(verifier, rs256(`later-${second}`), 'overloaded');
    }
    expect(endpoint.requests).toBe(2);
    endpoint.answer = keySet(jwk(otherRsaKeys.publicKey, { kid: 'two' }));
    clock.seconds++;
    await verified(verifier, two);
    expect(endpoint.requests).toBe(3);
  });

  it('that changed just after a stranger had them asked for: the answer is to wait, not that the token is wrong', async () => {
    const { endpoint, clock, verifier } = await relay();
    await verified(verifier, one);
    clock.seconds += 60;
    await refused(verifier, rs256('invented'));
    endpoint.answer = keySet(jwk(otherRsaKeys.publicKey, { kid: 'two' }));
    clock.seconds += 5;
    const fresh = issuedAt('two', clock.seconds, otherRsaKeys);
    await expect(verifier.verify(fresh)).rejects.toMatchObject({
      id: 'overloaded',
      retryAfterMs: 25_000,
      cause: { message: expect.stringContaining('no key "two" yet') },
    });
    clock.seconds += 24;
    await expect(verifier.verify(fresh)).rejects.toMatchObject({ id: 'overloaded', retryAfterMs: 1000 });
    clock.seconds += 1;
    await verified(verifier, fresh);
    expect(endpoint.requests).toBe(3);
  });

  it('that are younger than a token with an unknown key id prove it wrong', async () => {
    const { clock, verifier } = await relay();
    await verified(verifier, one);
    clock.seconds += 60;
    await refused(verifier, rs256('invented'));
    clock.seconds += 5;
    await refused(verifier, issuedAt('invented', clock.seconds - 6));
    await refused(verifier, issuedAt('invented', clock.seconds - 5), 'overloaded');
  });

  it('may name the one key by its absence, but not when there are several', async () => {
    const { verifier } = await relay();
    await verified(verifier, rs256(undefined));
    const several = await relay(
      keySet(jwk(rsaKeys.publicKey, { kid: 'one' }), jwk(otherRsaKeys.publicKey, { kid: 'two' })),
    );
    await refused(several.verifier, rs256(undefined));
    await verified(several.verifier, two);
  });

  it('keep to the algorithm they are published for, else to their type', async () => {
    const { verifier } = await relay(
      keySet(
        jwk(rsaKeys.publicKey, { kid: 'one', alg: 'PS256' }),
        jwk(ecKeys.ES256.publicKey, { kid: 'ec' }),
        jwk(ecKeys.ES512.publicKey, { kid: 'ec512' }),
      ),
    );
    await refused(verifier, one);
    await verified(verifier, token({ alg: 'PS256', kid: 'one' }, long, asymmetric('PS256', rsaKeys.privateKey)));
    await verified(verifier, token({ alg: 'ES256', kid: 'ec' }, long, asymmetric('ES256', ecKeys.ES256.privateKey)));
    await verified(verifier, token({ alg: 'ES512', kid: 'ec512' }, long, asymmetric('ES512', ecKeys.ES512.privateKey)));
    await refused(verifier, token({ alg: 'ES384', kid: 'ec' }, long, asymmetric('ES384', ecKeys.ES256.privateKey)));
  });
});

describe('keys that cannot verify are left out of a set', () => {
  const shared = { kty: 'oct', k: Buffer.from(secret).toString('base64url') };
  it.each<[string, object, string]>([
    [
      'a shared secret',
      { ...shared, kid: 'bad', alg: 'HS256' },
      token({ alg: 'HS256', kid: 'bad' }, long, hs256(secret)),
    ],
    ['a weak key', jwk(weakRsaKeys.publicKey, { kid: 'bad' }), rs256('bad', weakRsaKeys)],
    ['a private key', jwk(otherRsaKeys.privateKey, { kid: 'bad' }), rs256('bad', otherRsaKeys)],
    ['a key for encryption', jwk(otherRsaKeys.publicKey, { kid: 'bad', use: 'enc' }), rs256('bad', otherRsaKeys)],
    [
      'a key to wrap with',
      jwk(otherRsaKeys.publicKey, { kid: 'bad', key_ops: ['wrapKey'] }),
      rs256('bad', otherRsaKeys),
    ],
    ['a key for RSA-OAEP', jwk(otherRsaKeys.publicKey, { kid: 'bad', alg: 'RSA-OAEP' }), rs256('bad', otherRsaKeys)],
    ['a key for HS256', jwk(otherRsaKeys.publicKey, { kid: 'bad', alg: 'HS256' }), rs256('bad', otherRsaKeys)],
  ])('%s', async (_name, bad, credential) => {
    const { verifier } = await relay(keySet(null, 'x', bad, { kty: 'RSA' }, jwk(rsaKeys.publicKey, { kid: 'one' })));
    await verified(verifier, one);
    await refused(verifier, credential);
  });
});

describe('a valid key in another spelling verifies', () => {
  it.each<[string, object]>([
    ['no operations', { key_ops: [] }],
    ['operations null', { key_ops: null }],
    ['several operations', { key_ops: ['sign', 'verify'] }],
    ['members that are null', { use: null, alg: null, x5c: null, ext: null }],
    ['an unknown member', { issuer: 'https://id.example.com/{tenantid}/v2.0', nbf: 1 }],
  ])('%s', async (_name, extra) => {
    const { verifier } = await relay(keySet(jwk(rsaKeys.publicKey, { kid: 'one', ...extra })));
    await verified(verifier, one);
  });

  it('a key without kid, for tokens whose kid is null', async () => {
    const { verifier } = await relay(keySet(jwk(rsaKeys.publicKey, { kid: null })));
    await verified(verifier, token({ alg: 'RS256', kid: null }, long, asymmetric('RS256', rsaKeys.privateKey)));
  });

  it('the same key twice, which is one', async () => {
    const { verifier } = await relay(
      keySet(
        jwk(rsaKeys.publicKey, { kid: 'one' }),
        jwk(rsaKeys.publicKey, { kid: 'one', alg: 'RS256' }),
        jwk(rsaKeys.publicKey, { kid: 'also' }),
      ),
    );
    await verified(verifier, one);
    await verified(verifier, rs256(undefined));
  });

  it('another under the same name, of which the right one verifies', async () => {
    const { verifier } = await relay(
      keySet(
        jwk(otherRsaKeys.publicKey, { kid: 'one' }),
        jwk(rsaKeys.publicKey, { kid: 'one' }),
        jwk(rsaKeys.publicKey, { kid: 'one', alg: 'RS256', use: 'sig' }),
        jwk(ecKeys.ES256.publicKey, { kid: 'one' }),
      ),
    );
    await verified(verifier, one);
    await verified(verifier, rs256('one', otherRsaKeys));
    await expect(verifier.verify(rs256('one', weakRsaKeys))).rejects.toThrow(/signature/);
    await expect(verifier.verify(rs256(undefined))).rejects.toThrow(/must name its key/);
  });

  it('beside one that breaks when it is read', async () => {
    const { verifier } = await relay(
      keySet(
        { kty: 'EC', crv: 'P-256', x: '!', y: 7, kid: 'broken' },
        { kty: 'RSA', n: null, e: 'AQAB', kid: 'empty' },
        { kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo', kid: 'ed' },
        { kty: 'AKP', alg: 'ML-DSA-44', pub: 'AAAA', kid: 'post-quantum' },
        jwk(rsaKeys.publicKey, { kid: 'one' }),
      ),
    );
    await verified(verifier, one);
  });
});

describe('what the relay does not support is named', () => {
  it('the algorithm of a token', async () => {
    const { verifier } = await relay();
    await expect(verifier.verify(token({ alg: 'EdDSA', kid: 'one' }, long))).rejects.toMatchObject({
      id: 'unauthorized',
      message: expect.stringMatching(/alg.*EdDSA.*RS256/),
    });
    await expect(verifier.verify(token({ alg: 'ES256', kid: 'one' }, long))).rejects.toMatchObject({
      message: expect.stringMatching(/ES256.*verify RS256/),
    });
    await expect(verifier.verify(token({ alg: 'x y\r\n<b>' }, long))).rejects.toMatchObject({
      message: expect.not.stringMatching(/<b>/),
    });
  });

  it('the kind of the key that a token names', async () => {
    const ed = { kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo', kid: 'ed' };
    const { verifier } = await relay(keySet(ed, jwk(rsaKeys.publicKey, { kid: 'one' })));
    await expect(verifier.verify(rs256('ed'))).rejects.toMatchObject({
      id: 'unauthorized',
      message: expect.stringMatching(/OKP Ed25519/),
    });
  });

  it('every key of a set that has none to verify with, in the log', async () => {
    const { verifier } = await relay(
      keySet({ kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo', kid: 'ed' }),
    );
    await expect(verifier.verify(one)).rejects.toMatchObject({
      id: 'overloaded',
      cause: { message: expect.stringMatching(/ed: .*OKP Ed25519/) },
    });
  });

  it('a discovery document, with the address that is meant', async () => {
    const { verifier } = await relay((_request, response) =>
      response.end(JSON.stringify({ issuer, jwks_uri: 'https://id.example.com/keys' })),
    );
    await expect(verifier.warm()).rejects.toMatchObject({
      cause: { message: expect.stringMatching(/discovery document.*https:\/\/id\.example\.com\/keys/) },
    });
  });
});

describe('nothing named in a token is fetched', () => {
  it.each<[string, (url: string) => object]>([
    ['jku', (url) => ({ jku: url })],
    ['x5u', (url) => ({ x5u: url })],
    ['jwk', () => ({ jwk: jwk(otherRsaKeys.publicKey, { kid: 'two' }) })],
    ['kid', (url) => ({ kid: url })],
  ])('%s', async (_name, header) => {
    const { verifier } = await relay();
    const evil = await serveKeys(keySet(jwk(otherRsaKeys.publicKey, { kid: 'two' })));
    cleanups.push(evil.close);
    await refused(verifier, rs256('two', otherRsaKeys, header(evil.uri)));
    expect(evil.requests).toBe(0);
  });

  it.each(['../../dev/null', "' OR 1=1 --", 'http://127.0.0.1/', '__proto__', 'constructor', 'length', '0'])(
    'a key id of %s finds no key',
    async (kid) => {
      const { verifier } = await relay();
      await refused(verifier, rs256(kid));
      await refused(verifier, token({ alg: 'HS256', kid }, long, hs256('')));
    },
  );

  it('tokens signed with the public key as a shared secret cost no fetch', async () => {
    const { endpoint, verifier } = await relay();
    for (const alg of ['HS256', 'none', 'constructor', 'EdDSA']) {
      await refused(verifier, token({ alg, kid: 'one' }, long, hs256(pem(rsaKeys.publicKey))));
    }
    expect(endpoint.requests).toBe(0);
  });
});

describe('an endpoint that misbehaves counts as an outage', () => {
  it.each<[string, Parameters<typeof serveKeys>[0]]>([
    ['not JSON', (_request, response) => response.end('<html>')],
    ['null', (_request, response) => response.end('null')],
    ['no keys', (_request, response) => response.end('{"keys":{}}')],
    ['an empty set', keySet()],
    ['only unusable keys', keySet({ kty: 'oct', k: 'AAAA' })],
    ['101 keys', keySet(...Array.from({ length: 101 }, () => jwk(rsaKeys.publicKey, { kid: 'one' })))],
    ['an answer over 256 KB', keySet({ pad: 'x'.repeat(300_000) }, jwk(rsaKeys.publicKey, { kid: 'one' }))],
    ['a dropped connection', (request) => request.socket.destroy()],
    ['404', (_request, response) => response.writeHead(404).end('{"keys":[]}')],
  ])('%s', async (_name, answer) => {
    const { verifier } = await relay(answer);
    await refused(verifier, one, 'overloaded');
  });

  it('a redirect, which is not followed', async () => {
    const target = await serveKeys(keySet(jwk(rsaKeys.publicKey, { kid: 'one' })));
    cleanups.push(target.close);
    const { verifier } = await relay((_request, response) => response.writeHead(302, { location: target.uri }).end());
    await refused(verifier, one, 'overloaded');
    expect(target.requests).toBe(0);
  });

  it('an endless answer', async () => {
    let closed: Promise<unknown> = Promise.reject(new Error('not asked'));
    closed.catch(() => undefined);
    const { verifier } = await relay((_request, response) => {
      const chunk = Buffer.alloc(64 * 1024, ' ');
      const flood = (): void => {
        while (response.write(chunk));
      };
      response.on('drain', flood);
      closed = new Promise((resolve) => response.on('close', resolve));
      flood();
    });
    await refused(verifier, one, 'overloaded');
    await closed;
  });

  it.each<[string, Parameters<typeof serveKeys>[0]]>([
    ['silence', () => undefined],
    ['an answer that never ends', (_request, response) => void response.write('{"keys":[')],
  ])('%s, after the time-out', async (_name, answer) => {
    const endpoint = await serveKeys(answer);
    cleanups.push(endpoint.close);
    const source = jwksSource(endpoint.uri, { now: () => start * 1000, timeoutMs: 50 });
    await expect(source.warm()).rejects.toMatchObject({ id: 'overloaded' });
  });

  it('a fetch under way ends when the verifier closes', async () => {
    const { verifier } = await relay(() => verifier.close());
    await refused(verifier, one, 'overloaded');
  });
});
