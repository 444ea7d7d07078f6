import type { IncomingHttpHeaders } from 'node:http';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findCredential, offeredProtocols } from '../../src/auth/credentials.js';
import { RelayError } from '../../src/errors.js';

const jwt = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl';
const other = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJiIn0.c2lnbmF0dXJl';

interface Request {
  headers?: IncomingHttpHeaders;
  rawHeaders?: string[];
  query?: string;
  queryCredentials?: boolean;
}

function find({ headers = {}, rawHeaders, query = '', queryCredentials = true }: Request) {
  const url = new URL(`/v1/realtime?${query}`, 'http://relay');
  return findCredential({ headers, ...(rawHeaders && { rawHeaders }), url, queryCredentials });
}

describe('the credential is found where each client puts it', () => {
  const browser = `realtime, openai-insecure-api-key.${jwt}`;
  it.each<[string, string, Request]>([
    ['openai-node on Node', 'authorization', { headers: { authorization: `Bearer ${jwt}` } }],
    ['openai-node for Azure with a key', 'api-key', { headers: { 'api-key': jwt } }],
    ['openai-node in a browser', 'subprotocol', { headers: { 'sec-websocket-protocol': browser } }],
    [
      'openai-node in a browser, with organisation and project',
      'subprotocol',
      { headers: { 'sec-websocket-protocol': `${browser}, openai-organization.org, openai-project.proj` } },
    ],
    [
      'the preview SDK in a browser',
      'subprotocol',
      { headers: { 'sec-websocket-protocol': `${browser}, openai-beta.realtime-v1` } },
    ],
    [
      'the agents SDK in a browser, with a client secret',
      'subprotocol',
      { headers: { 'sec-websocket-protocol': `realtime, openai-insecure-api-key.ek_${jwt}, openai-agents-sdk.0.1.2` } },
    ],
    ['rt-client in a browser with a key', 'query-api-key', { query: `deployment=x&api-key=${jwt}` }],
    ['rt-client in a browser with a token', 'query-authorization', { query: `Authorization=Bearer+${jwt}` }],
    ['the same, percent-encoded', 'query-authorization', { query: `Authorization=Bearer%20${jwt}` }],
    ['a client that writes bearer small', 'authorization', { headers: { authorization: `bearer ${jwt}` } }],
    ['a client that writes two blanks', 'authorization', { headers: { authorization: `Bearer  ${jwt}` } }],
    ['a client secret as a bearer', 'authorization', { headers: { authorization: `Bearer ek_${jwt}` } }],
    [
      'python on Azure, where the docs add the key by hand',
      'authorization',
      { headers: { authorization: `Bearer ${jwt}`, 'api-key': jwt } },
    ],
    ['the same credential, once with ek_', 'api-key', { headers: { 'api-key': `ek_${jwt}` }, query: `api-key=${jwt}` }],
    [
      'the same in all five places',
      'authorization',
      {
        headers: { authorization: `Bearer ${jwt}`, 'api-key': jwt, 'sec-websocket-protocol': browser },
        query: `api-key=${jwt}&Authorization=Bearer+${jwt}`,
      },
    ],
  ])('%s', (_name, place, request) => {
    expect(find(request)).toEqual({ credential: jwt, place });
  });

  it('is null when there is none', () => {
    expect(find({})).toBeNull();
    expect(find({ headers: { 'sec-websocket-protocol': 'realtime' }, query: 'model=gpt-realtime' })).toBeNull();
  });
});

describe('a credential that is not clear is refused', () => {
  const bearer = (text: string): Request => ({ headers: { authorization: text } });
  it.each<[string, Request, RegExp]>([
    ['an empty header', bearer(''), /"Bearer <token>"/],
    ['the scheme alone', bearer('Bearer'), /"Bearer <token>"/],
    ['the scheme and blanks', bearer('Bearer   '), /empty/],
    ['no scheme', bearer(jwt), /"Bearer <token>"/],
    ['another scheme', bearer('Basic dXNlcjpwYXNz'), /"Bearer <token>"/],
    ['a scheme with a suffix', bearer(`BearerX ${jwt}`), /"Bearer <token>"/],
    ['two tokens', bearer(`Bearer ${jwt} ${other}`), /white space/],
    ['two tokens with a comma', bearer(`Bearer ${jwt},${other}`), /white space/],
    ['a tab', bearer(`Bearer \t${jwt}`), /white space/],
    ['a blank inside', bearer('Bearer abc def'), /white space/],
    ['quotes', bearer(`Bearer "${jwt}"`), /other characters/],
    ['control characters', bearer('Bearer a\u0001b'), /other characters/],
    ['over 16 KB', bearer(`Bearer ${'a'.repeat(16 * 1024 + 1)}`), /16 KB/],
    ['100 KB', bearer(`Bearer ${'a.'.repeat(50_000)}`), /16 KB/],
    ['ek_ alone', bearer('Bearer ek_'), /empty/],
    ['an empty api-key', { headers: { 'api-key': '' } }, /empty/],
    ['an api-key joined from two', { headers: { 'api-key': `${jwt}, ${jwt}` } }, /white space/],
    ['an api-key list', { headers: { 'api-key': [jwt, jwt] as unknown as string } }, /twice/],
    ['an empty subprotocol', { headers: { 'sec-websocket-protocol': 'openai-insecure-api-key.' } }, /empty/],
    ['an empty query key', { query: 'api-key=' }, /empty/],
    ['two query keys', { query: `api-key=${jwt}&api-key=${jwt}` }, /twice/],
    ['two query authorizations', { query: `Authorization=Bearer+${jwt}&Authorization=Bearer+${jwt}` }, /twice/],
    ['a query authorization without scheme', { query: `Authorization=${jwt}` }, /"Bearer <token>"/],
    ['a query key with a line break', { query: `api-key=${jwt}%0d%0ax` }, /white space/],
    [
      'a repeated Authorization line',
      {
        headers: { authorization: `Bearer ${jwt}` },
        rawHeaders: ['Authorization', `Bearer ${jwt}`, 'AUTHORIZATION', 'x'],
      },
      /twice in the Authorization header/,
    ],
    [
      'a repeated api-key line',
      { headers: { 'api-key': jwt }, rawHeaders: ['api-key', jwt, 'X', 'y', 'Api-Key', jwt] },
      /twice in the api-key header/,
    ],
  ])('%s', (_name, request, message) => {
    expect(() => find(request)).toThrow(
      expect.objectContaining({ id: 'unauthorized', message: expect.stringMatching(message) }),
    );
  });

  const places: [string, Request][] = [
    ['Authorization header', { headers: { authorization: `Bearer ${jwt}` } }],
    ['api-key header', { headers: { 'api-key': other } }],
    ['subprotocol', { headers: { 'sec-websocket-protocol': `openai-insecure-api-key.${jwt}1` } }],
    ['api-key query', { query: `api-key=${jwt}2` }],
    ['Authorization query', { query: `Authorization=Bearer+${jwt}3` }],
  ];
  const pairs = places.flatMap((one, index) => places.slice(index + 1).map((two) => [one, two] as const));
  it.each(pairs)('two different ones: %s', ([one, first], [two, second]) => {
    const both = {
      headers: { ...first.headers, ...second.headers },
      query: [first.query, second.query].filter(Boolean).join('&'),
    };
    expect(() => find(both)).toThrow(/Two different credentials/);
    expect(() => find(both)).toThrow(one);
    expect(() => find(both)).toThrow(two);
  });

  it('two different ones among the subprotocols', () => {
    const offered = `openai-insecure-api-key.${jwt}, openai-insecure-api-key.${other}`;
    expect(() => find({ headers: { 'sec-websocket-protocol': offered } })).toThrow(/Two different/);
  });

  it('is not mistaken when a header value looks like a header name', () => {
    const rawHeaders = ['Authorization', `Bearer ${jwt}`, 'X-Note', 'authorization'];
    expect(find({ headers: { authorization: `Bearer ${jwt}` }, rawHeaders })?.credential).toBe(jwt);
  });

  it('never quotes a credential in an error', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 12 }), fc.string({ minLength: 12 }), (one, two) => {
        for (const request of [bearer(one), { headers: { 'api-key': one, authorization: `Bearer ${two}` } }]) {
          try {
            find(request);
          } catch (error) {
            if (!(error instanceof RelayError)) throw error;
            expect(error.message).not.toContain(one);
            expect(error.message).not.toContain(two);
          }
        }
      }),
    );
  });
});

describe('with query credentials switched off', () => {
  it.each([`api-key=${jwt}`, `Authorization=Bearer+${jwt}`, 'api-key='])('says so: %s', (query) => {
    expect(() => find({ query, queryCredentials: false })).toThrow(/does not accept credentials in the query/);
  });

  it('does not look at the query when another credential is there', () => {
    const request = { headers: { 'api-key': jwt }, query: `api-key=${other}`, queryCredentials: false };
    expect(find(request)).toEqual({ credential: jwt, place: 'api-key' });
  });

  it('is null when there is none', () => {
    expect(find({ query: 'model=x', queryCredentials: false })).toBeNull();
  });
});

describe('offered subprotocols', () => {
  it.each<[string | undefined, string[]]>([
    [undefined, []],
    ['', []],
    ['realtime', ['realtime']],
    [' realtime ,, b\t,', ['realtime', 'b']],
  ])('%j reads as %j', (header, expected) => {
    expect(offeredProtocols(header === undefined ? {} : { 'sec-websocket-protocol': header })).toEqual(expected);
  });

  it('are bounded, and a flood of them is cheap', () => {
    const flood = { 'sec-websocket-protocol': Array.from({ length: 100_000 }, (_, i) => `p${i}`).join(',') };
    expect(offeredProtocols(flood)).toHaveLength(100);
    const before = performance.now();
    for (let round = 0; round < 100; round++) find({ headers: flood });
    expect((performance.now() - before) / 100).toBeLessThan(10);
  });
});
