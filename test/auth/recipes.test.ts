import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTokenVerifier } from '../../src/admission/verifier.js';
import { loadConfig } from '../../src/config/load.js';
import { textOf } from '../project/tables.js';
import { asymmetric, jwk, keySet, rsaKeys, serveKeys, token } from './issuer.js';

const folder = mkdtempSync(join(tmpdir(), 'relay-recipes-'));
const now = Math.floor(Date.now() / 1000);
let keys: Awaited<ReturnType<typeof serveKeys>>;
beforeAll(async () => {
  // As Keycloak's: beside the key to verify with there is one to encrypt with.
  const forEncryption = { ...jwk(rsaKeys.publicKey), kid: 'enc', use: 'enc', alg: 'RSA-OAEP' };
  keys = await serveKeys(keySet(forEncryption, jwk(rsaKeys.publicKey, { kid: 'k1', use: 'sig', alg: 'RS256' })));
});
afterAll(async () => {
  await keys.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The recipes of a section of the document, as they stand there. */
function recipesOf(section: string): string[] {
  const text = textOf('docs/tokens.md').split(`## ${section}\n`)[1]?.split('\n## ')[0] ?? '';
  return [...text.matchAll(/```yaml\n(.*?)```/gs)].map(([, yaml]) => yaml as string);
}

function verifierOf(yaml: string | undefined) {
  const path = join(folder, 'relay.yaml');
  writeFileSync(path, (yaml ?? '').replace(/jwks_uri: \S+/g, `jwks_uri: ${keys.uri}`));
  const settings = loadConfig({
    RELAY_CONFIG: path,
    AZURE_OPENAI_ENDPOINT: 'https://x.openai.azure.com',
    AZURE_OPENAI_DEPLOYMENT: 'gpt-realtime',
  });
  expect(settings.warnings).toEqual([]);
  return createTokenVerifier(settings);
}

function signed(claims: object, header: object = { typ: 'JWT' }): string {
  const times = { iat: now, nbf: now, exp: now + 3600 };
  const whole = { alg: 'RS256', kid: 'k1', ...header };
  return token(whole, { ...times, ...claims }, asymmetric('RS256', rsaKeys.privateKey));
}

describe('the recipe for Microsoft Entra ID', () => {
  const tid = '8f0f2a5c-4f0e-4c1c-9d34-2f6d3e6a1b11';
  const user = {
    aud: '5b0c1a7e-0d8e-4a52-8f0b-6f1f5f0c2d22',
    iss: `https://login.microsoftonline.com/${tid}/v2.0`,
    aio: 'AVQAq/8TAAAA',
    azp: '6731de76-14a6-49ae-97bc-6eba6914391e',
    azpacr: '0',
    name: 'Ada',
    oid: '00000000-0000-0000-66f3-3332eca7ea81',
    preferred_username: 'ada@example.com',
    rh: '0.ARoA',
    roles: ['Agent'],
    scp: 'Talk user_impersonation',
    sub: 'HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ',
    tid,
    uti: 'fqiBqXLPj0eQa82S-IYFAA',
    ver: '2.0',
  };
  const backend = { ...user, sub: 'daemon', scp: undefined, roles: ['Relay.Backend'], idtyp: 'app' };

  it('takes a token of a user and of a daemon', async () => {
    const verifier = verifierOf(recipesOf('Microsoft Entra ID')[0]);
    expect(await verifier.verify(signed(user))).toMatchObject({
      issuer: user.iss,
      subject: user.sub,
      tenant: tid,
      profile: 'agents',
      scopes: ['Talk', 'user_impersonation', 'Agent'],
    });
    expect(await verifier.verify(signed(backend))).toMatchObject({ profile: 'default', scopes: ['relay.revoke'] });
    await expect(verifier.verify(signed({ ...user, roles: ['Guest'] }))).rejects.toMatchObject({ id: 'forbidden' });
  });

  it('takes tokens of the tenants that are listed, and of no other', async () => {
    const verifier = verifierOf(recipesOf('Microsoft Entra ID')[1]);
    const of = (tenant: string, claims: object = {}) =>
      verifier.verify(
        signed({ ...user, iss: `https://login.microsoftonline.com/${tenant}/v2.0`, tid: tenant, ...claims }),
      );
    const other = '0a9d7c55-1f5b-4b8f-a6b4-1c2d3e4f5a66';
    expect(await of(tid)).toMatchObject({ tenant: tid, profile: 'agents' });
    expect(await of(other)).toMatchObject({ tenant: other, profile: 'agents' });
    await expect(of('9188040d-6c67-4c5b-b112-36a304b66dad')).rejects.toMatchObject({ id: 'unauthorized' });
    await expect(of('{tid}')).rejects.toMatchObject({ id: 'unauthorized' });
    await expect(of(tid, { tid: other })).rejects.toMatchObject({ id: 'unauthorized' });
  });
});

it('the recipe for Auth0 takes its tokens', async () => {
  const verifier = verifierOf(recipesOf('Auth0')[0]);
  const claims = {
    'https://relay.example.com/profile': 'agents',
    iss: 'https://acme.eu.auth0.com/',
    sub: 'auth0|5f7c8ec7c33c6c004bbafe82',
    aud: ['https://relay.example.com', 'https://acme.eu.auth0.com/userinfo'],
    azp: 'my_client_id',
    scope: 'openid profile email',
    permissions: ['revoke:sessions'],
    org_id: 'org_9ybsU1dN2dKfDkBi',
    nbf: undefined,
  };
  expect(await verifier.verify(signed(claims, { typ: 'at+jwt' }))).toMatchObject({
    subject: claims.sub,
    profile: 'agents',
    tenant: 'org_9ybsU1dN2dKfDkBi',
    scopes: ['openid', 'profile', 'email', 'relay.revoke'],
  });
});

it('the recipe for Keycloak takes its tokens', async () => {
  const verifier = verifierOf(recipesOf('Keycloak')[0]);
  const claims = {
    jti: 'onrtac:4a1b6c83-1f26-4f0c-b9f9-0a7f66b1d3f6',
    iss: 'https://sso.example.com/realms/acme',
    aud: ['relay', 'account'],
    sub: 'f4e4b7a5-7a2f-4f2f-a6a9-2e2f2e3a9f0d',
    typ: 'Bearer',
    azp: 'web',
    sid: '0a4f0b0e',
    acr: '1',
    'allowed-origins': ['https://app.example.com'],
    realm_access: { roles: ['offline_access', 'uma_authorization'] },
    resource_access: { relay: { roles: ['backend', 'agent'] }, account: { roles: ['manage-account'] } },
    scope: 'openid email profile',
    email_verified: true,
    // OpenID Connect's own claim, where its mapper is on.
    profile: 'https://sso.example.com/users/ada',
    preferred_username: 'ada',
  };
  expect(await verifier.verify(signed(claims))).toMatchObject({
    subject: claims.sub,
    profile: 'agents',
    tenant: null,
    scopes: ['openid', 'email', 'profile', 'relay.revoke', 'agent'],
  });
});

it('the recipe for Amazon Cognito takes access tokens of the app clients listed, and no ID token', async () => {
  const verifier = verifierOf(recipesOf('Amazon Cognito')[0]);
  const claims = {
    sub: 'aaaaaaaa-bbbb-cccc-dddd-example',
    'cognito:groups': ['callers', 'agents'],
    iss: 'https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEf123',
    version: 2,
    client_id: '1h57kf5cpq17m0eml12EXAMPLE',
    origin_jti: 'aaaaaaaa-1111',
    token_use: 'access',
    scope: 'openid relay/revoke',
    auth_time: now,
    jti: 'aaaaaaaa-2222',
    username: 'ada',
    nbf: undefined,
  };
  const header = { typ: undefined };
  expect(await verifier.verify(signed(claims, header))).toMatchObject({
    subject: claims.sub,
    profile: 'agents',
    scopes: ['openid', 'relay.revoke'],
  });
  const refused = [
    { ...claims, client_id: 'another' },
    { ...claims, client_id: undefined },
    { ...claims, client_id: null },
    { ...claims, client_id: [claims.client_id] },
    { ...claims, azp: 'another' },
    { ...claims, client_id: undefined, token_use: 'id', aud: claims.client_id },
  ];
  for (const one of refused) {
    await expect(verifier.verify(signed(one, header))).rejects.toMatchObject({ id: 'unauthorized' });
  }
});

it('the recipe for Firebase Authentication takes its tokens', async () => {
  const verifier = verifierOf(recipesOf('Firebase Authentication')[0]);
  const claims = {
    iss: 'https://securetoken.google.com/acme-app',
    aud: 'acme-app',
    auth_time: now,
    user_id: 'qRSTuv12',
    sub: 'qRSTuv12',
    email: 'ada@example.com',
    email_verified: false,
    firebase: { identities: { email: ['ada@example.com'] }, sign_in_provider: 'password', tenant: 'acme-1a2b3' },
    nbf: undefined,
  };
  expect(await verifier.verify(signed(claims))).toMatchObject({ profile: 'default', tenant: 'acme-1a2b3' });
  expect(await verifier.verify(signed({ ...claims, plan: 'pro' }))).toMatchObject({ profile: 'agents' });
  await expect(verifier.verify(signed({ ...claims, aud: 'other-app' }))).rejects.toMatchObject({ id: 'unauthorized' });
});

it('the first example of the document is one that the relay takes', async () => {
  const [yaml] = /```yaml\n(.*?)```/s.exec(textOf('docs/tokens.md'))?.slice(1) ?? [];
  const claims = { iss: 'https://id.example.com/', aud: 'relay', sub: 'ada', groups: ['callers'], permissions: [] };
  expect(await verifierOf(yaml).verify(signed(claims))).toMatchObject({ profile: 'default', tenant: null });
});
