import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { Caller, post } from '../webrtc/caller.js';

const sdp = 'v=0\r\n';

async function started(yaml?: string) {
  const emulator = await startTestEmulator();
  const env = { RELAY_ALLOWED_ORIGINS: 'https://app.test' };
  const relay = await startTestRelay({ upstream: emulator.url, env, ...(yaml && { yaml }) });
  return { emulator, relay };
}

async function messageOf(answer: Response): Promise<string> {
  return ((await answer.json()) as { error: { message: string } }).error.message;
}

describe('an SDP offer in another spelling', () => {
  const spellings: [string, (sdp: string) => string][] = [
    ['without its last line end', (sdp) => sdp.trimEnd()],
    ['with a byte order mark', (sdp) => `\uFEFF${sdp}`],
    ['behind blank lines', (sdp) => `\r\n\n\r\n${sdp}`],
    ['before blank lines', (sdp) => `${sdp}\r\n\r\n`],
    ['with line feeds alone', (sdp) => sdp.replaceAll('\r\n', '\n').trimEnd()],
  ];
  it.each(spellings)('%s is taken', async (_, spelt) => {
    const { relay } = await started();
    const { offer } = await Caller.create();
    const answer = await post(relay, spelt(offer));
    expect([answer.status, answer.headers.get('content-type')]).toEqual([201, 'application/sdp']);
  });

  it.each(spellings)('%s goes upstream as if written cleanly', async (_, spelt) => {
    const offers: string[] = [];
    const upstream = createServer((request, response) => {
      if (request.url?.includes('client_secrets')) {
        response.end(JSON.stringify({ value: 'ek_x', expires_at: 9_999_999_999 }));
        return;
      }
      request.on('data', (chunk) => offers.push(String(chunk)));
      request.on('end', () => response.writeHead(400).end('{}'));
    });
    await once(upstream.listen(0, '127.0.0.1'), 'listening');
    onTestFinished(() => void upstream.close());
    const { port } = upstream.address() as AddressInfo;
    const relay = await startTestRelay({ upstream: `http://127.0.0.1:${port}` });
    const { offer } = await Caller.create();
    const spelling = spelt(offer);
    expect((await post(relay, spelling)).status).toBe(400);
    expect(offers.join('')).toBe(spelling.includes('\r') ? offer : offer.replaceAll('\r\n', '\n'));
  });

  const named = (disposition: string, more = '') =>
    `--b\r\n${more}${disposition}\r\nContent-Type: application/sdp\r\n\r\nSDP\r\n--b--\r\n`;
  it.each<[string, string, string?]>([
    ['without a blank before the name', named('Content-Disposition: form-data;name="sdp"')],
    ['with the name unquoted, as .NET writes it', named('Content-Disposition: form-data; name=sdp')],
    ['in capitals', named('CONTENT-DISPOSITION: Form-Data; Name="sdp"')],
    [
      'with a file name of either form',
      named('Content-Disposition: form-data; name="sdp"; filename="o.sdp"; filename*=utf-8\'\'o.sdp'),
    ],
    ['with the file name first', named('Content-Disposition: form-data; filename="name.sdp"; name="sdp"')],
    ['with a folded header', named('Content-Disposition: form-data;\r\n name="sdp"')],
    ['with other headers before', named('Content-Disposition: form-data;name=sdp', 'Content-Length: 9\r\nX-A: b\r\n')],
    ['behind text', `This is a form.\r\n${named('Content-Disposition: form-data; name="sdp"')}`],
    ['before text', `${named('Content-Disposition: form-data; name="sdp"')}The end.\r\n`],
    [
      'behind the session',
      `--b\r\nContent-Disposition: form-data;name=session\r\n\r\n{}\r\n${named('Content-Disposition: form-data;name=sdp')}`,
    ],
    [
      'with blanks behind the boundary',
      named('Content-Disposition: form-data;name=sdp').replace('--b\r\n', '--b \t\r\n'),
    ],
    [
      'with parameters around the boundary',
      named('Content-Disposition: form-data;name=sdp'),
      'Multipart/Form-Data; charset=utf-8; Boundary="b"; x=y',
    ],
  ])('as a form %s is taken', async (_, body, type = 'multipart/form-data; boundary=b') => {
    const { relay } = await started();
    const { offer } = await Caller.create();
    const whole = body.replace('SDP', offer);
    const answer = await post(relay, whole, { 'content-type': type });
    expect([answer.status, answer.status === 201 ? '' : await answer.text()]).toEqual([201, '']);
  });

  it.each([
    ['it is empty', '', 'application/sdp'],
    ['it is empty', '\r\n\r\n', 'application/sdp'],
    ['it does not begin with v=0', '{"sdp":"v=0"}', 'application/json'],
    ['no part "sdp"', named('Content-Disposition: form-data; name="offer"'), 'multipart/form-data; boundary=b'],
    ['is not in the form', named('Content-Disposition: form-data; name="sdp"'), 'multipart/form-data; boundary=other'],
    [
      'no part "sdp"',
      `--b--\r\n${named('Content-Disposition: form-data; name="sdp"')}`,
      'multipart/form-data; boundary=b',
    ],
    ['names no boundary', named('Content-Disposition: form-data; name="sdp"'), 'multipart/form-data'],
  ])('is told what is wrong: %s', async (why, body, type) => {
    const { relay } = await started();
    const answer = await post(relay, body, { 'content-type': type });
    expect(answer.status).toBe(400);
    expect(await messageOf(answer)).toContain(why);
  });
});

describe('an offer that is posted to the path of WebSockets', () => {
  it.each(['/v1/realtime?model=gpt-realtime', '/openai/v1/realtime/?model=x'])('%s is a call', async (path) => {
    const { relay } = await started();
    const page = { origin: 'https://app.test' };
    const { offer } = await Caller.create();
    const answer = await post(relay, offer, page, path);
    expect(answer.status).toBe(201);
    expect(answer.headers.get('location')).toMatch(/^\/v1\/realtime\/calls\/call_/);
    expect(answer.headers.get('access-control-allow-origin')).toBe('https://app.test');
    const form = new FormData();
    form.set('sdp', offer);
    expect((await post(relay, form, {}, path)).status).toBe(201);
  });

  it('needs a token and an origin as every call does', async () => {
    const { emulator, relay } = await started();
    const path = '/v1/realtime?model=x';
    expect((await post(relay, sdp, { authorization: '' }, path)).status).toBe(401);
    expect((await post(relay, sdp, { authorization: 'Bearer a.b.c' }, path)).status).toBe(401);
    expect((await post(relay, sdp, { origin: 'https://evil.test' }, path)).status).toBe(403);
    expect(emulator.control.calls.records.minted).toEqual([]);
  });

  it('in any other form is told where offers go', async () => {
    const { relay } = await started();
    for (const [path, type] of [
      ['/v1/realtime', 'text/plain'],
      ['/openai/realtime', 'application/sdp'],
    ] as const) {
      const answer = await post(relay, sdp, { 'content-type': type }, path);
      expect(answer.status).toBe(426);
      expect(await messageOf(answer)).toContain('/v1/realtime/calls');
    }
  });
});

describe('a body of JSON in another spelling', () => {
  const mint = (relay: TestRelay, body: string | Buffer | undefined, headers: Record<string, string>) =>
    fetch(`${relay.relay.url}/v1/realtime/client_secrets`, {
      method: 'POST',
      headers: { 'api-key': relay.token(), ...headers },
      ...(body !== undefined && { body: body as string }),
    });
  const wish = '{"expires_after":{"seconds":5}}';

  it.each<[string, string | Buffer | undefined, Record<string, string>]>([
    ['none at all', undefined, {}],
    ['nothing', '', { 'content-type': 'application/json' }],
    ['blanks', ' \r\n\t', {}],
    ['null', 'null', {}],
    ['a charset of another name', wish, { 'content-type': 'application/json; charset=utf8' }],
    ['a charset in quotes', wish, { 'content-type': 'application/json;charset="UTF-8"' }],
    ['the charset of old Java', wish, { 'content-type': 'application/json; charset=ISO-8859-1' }],
    ['UTF-16', Buffer.from(`\uFEFF${wish}`, 'utf16le'), { 'content-type': 'application/json; charset=utf-16' }],
    ['a byte order mark', `\uFEFF${wish}`, {}],
    ['another type', wish, { 'content-type': 'text/plain' }],
    ['a type that is none', wish, { 'content-type': ';;' }],
    ['gzip', gzipSync(wish), { 'content-encoding': 'gzip' }],
    ['a wish of null', '{"expires_after":null}', {}],
  ])('may be %s', async (_, body, headers) => {
    const { relay } = await started();
    const answer = await mint(relay, body, headers);
    expect(answer.status).toBe(200);
    const { expires_at } = (await answer.json()) as { expires_at: number };
    const hasWish = String(body).includes('5') || Buffer.isBuffer(body);
    expect(expires_at - Date.now() / 1000 < 10).toBe(hasWish);
  });

  it.each<[string, string | Buffer, Record<string, string>]>([
    ['is not valid JSON', '{', {}],
    ['must be a JSON object', '5', {}],
    ['must be a JSON object', '"x"', {}],
    ['is not valid utf-8', Buffer.from([0x7b, 0xff, 0x7d]), {}],
    ['charset of the Content-Type is not known', wish, { 'content-type': 'application/json; charset=klingon' }],
    ['Content-Encoding of the body is not known', wish, { 'content-encoding': 'lzma' }],
    ['is not what its Content-Encoding says', wish, { 'content-encoding': 'gzip' }],
  ])('is told what is wrong: %s', async (why, body, headers) => {
    const { relay } = await started();
    const answer = await mint(relay, body, headers);
    expect(answer.status).toBe(400);
    expect(await messageOf(answer)).toContain(why);
  });
});

it('a model may be asked for by a name with a slash, and by none', async () => {
  const { relay } = await started('profiles: { default: { aliases: [acme/voice, voice] } }');
  for (const [query, model] of [
    ['model=acme/voice', 'acme/voice'],
    ['model=acme%2Fvoice', 'acme/voice'],
    ['model=&deployment=voice', 'voice'],
    ['model=', 'acme/voice'],
  ]) {
    const client = await relay.connect({ path: `/v1/realtime?${query}` });
    expect(await client.next('session.created')).toMatchObject({ session: { model } });
    client.ws.terminate();
    await client.closed;
  }
});
