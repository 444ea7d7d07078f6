import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { Caller } from '../webrtc/caller.js';

async function start(): Promise<TestRelay> {
  const emulator = await startTestEmulator();
  return startTestRelay({ upstream: emulator.url, env: { RELAY_ALLOWED_ORIGINS: 'https://app.test' } });
}

/** All doors that take a body, and what they would have. */
const doors = [
  ['/v1/realtime/calls', 'multipart/form-data; boundary=x'],
  ['/openai/v1/realtime/calls', 'application/sdp'],
  ['/v1/realtime/client_secrets', 'application/json'],
  ['/openai/v1/realtime/client_secrets?for=webrtc', 'application/json'],
  ['/openai/realtimeapi/sessions?api-version=2025-04-01-preview', 'application/json'],
  ['/v1/relay/revocations', 'application/json'],
  ['/v1/realtime/calls/call_x/hangup', 'application/json'],
] as const;

/** Says that a body will come, and never sends it. */
async function withoutBody(relay: TestRelay, path: string, headers: object): Promise<number | undefined> {
  const asked: ClientRequest = request(`${relay.relay.url}${path}`, {
    method: 'POST',
    headers: { 'content-length': '4096', ...headers },
  });
  onTestFinished(() => void asked.destroy());
  asked.on('error', () => undefined);
  asked.flushHeaders();
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  return answer.statusCode;
}

function form(parts: number): { body: string; type: string } {
  const part = '--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n';
  return { body: `${part.repeat(parts)}--x--\r\n`, type: 'multipart/form-data; boundary=x' };
}

describe('the body of nobody', () => {
  it.each(doors)('is not waited for at %s', async (path, type) => {
    const relay = await start();
    expect(await withoutBody(relay, path, { 'content-type': type })).toBe(401);
    expect(await withoutBody(relay, path, { 'content-type': type, authorization: 'Bearer a.b.c' })).toBe(401);
    expect(await withoutBody(relay, path, { 'content-type': type, 'api-key': `ek_rly_${'a'.repeat(43)}` })).toBe(
      path.endsWith('calls') ? 401 : 403,
    );
    const origin = 'https://evil.test';
    const isForBackends = path.endsWith('hangup');
    const fromElsewhere = { 'content-type': type, authorization: `Bearer ${relay.token()}`, origin };
    if (!isForBackends) expect(await withoutBody(relay, path, fromElsewhere)).toBe(403);
  });
});

describe('the body of a user', () => {
  const call = async (relay: TestRelay, body: string, type: string) => {
    const answer = await fetch(`${relay.relay.url}/v1/realtime/calls`, {
      method: 'POST',
      headers: { 'content-type': type, authorization: `Bearer ${relay.token()}` },
      body,
    });
    return [answer.status, ((await answer.json()) as { error: { code: string } }).error.code];
  };

  it('is a form of a few parts, however its boundary is written', async () => {
    const relay = await start();
    const many = form(2848);
    expect(await call(relay, many.body, many.type)).toEqual([413, 'too_big']);
    const hidden = 'multipart/form-data; xx=";boundary=zzz"; boundary=x';
    expect(await call(relay, many.body, hidden)).toEqual([413, 'too_big']);
    expect(await call(relay, many.body, 'multipart/form-data; boundary="\\x"; boundary=y')).toEqual([413, 'too_big']);
    const nine = form(9);
    expect(await call(relay, nine.body, nine.type.replace('=x', '="x"'))).toEqual([413, 'too_big']);
    const eight = form(8);
    expect(await call(relay, eight.body, eight.type)).toEqual([400, 'bad_event']);
  });

  it('is a form whose parts have short heads', async () => {
    const relay = await start();
    const head = `--x\r\nContent-Disposition: form-data; name="sdp"\r\n${'X: y\r\n'.repeat(40_000)}\r\nv=0\r\n--x--\r\n`;
    expect(await call(relay, head, 'multipart/form-data; boundary=x')).toEqual([400, 'bad_event']);
  });

  it('is a form from whoever writes it by the book', async () => {
    const relay = await start();
    const { offer } = await Caller.create();
    const parts = [
      'content-disposition: form-data; filename="a; name=sdp"; name="session"\r\n\r\n{}',
      `Content-Type: application/sdp\r\nContent-Disposition: form-data; name=sdp\r\n\r\n${offer}`,
    ];
    const body = `a preamble\r\n${parts.map((part) => `--a b:x\r\n${part}\r\n`).join('')}--a b:x--\r\nan epilogue`;
    const answer = await fetch(`${relay.relay.url}/v1/realtime/calls`, {
      method: 'POST',
      headers: {
        'content-type': 'Multipart/Form-Data; charset=utf-8; Boundary="a b:x"',
        authorization: `Bearer ${relay.token()}`,
      },
      body,
    });
    expect(answer.status).toBe(201);
  });

  it('is not waited for from one who comes too often', async () => {
    const emulator = await startTestEmulator();
    const limits = 'limits: { connects_per_second: 0.01, connects_burst: 1 }';
    const relay = await startTestRelay({ upstream: emulator.url, yaml: `profiles: { default: { ${limits} } }` });
    const ofUser = { authorization: `Bearer ${relay.token()}` };
    const hangUp = '/v1/realtime/calls/call_x/hangup';
    const asked = await Promise.all(Array.from({ length: 11 }, () => withoutBody(relay, hangUp, ofUser)));
    expect(asked.toSorted()).toEqual([...Array(10).fill(404), 429]);
    expect(await withoutBody(relay, '/v1/realtime/calls', { ...ofUser, 'content-type': 'application/sdp' })).toBe(429);
  });

  it('is as large as its door needs', async () => {
    const relay = await start();
    expect(await call(relay, 'v=0\r\n'.padEnd(65 * 1024, 'a'), 'application/sdp')).toEqual([413, 'too_big']);
    const { offer } = await Caller.create();
    const whole = new FormData();
    whole.set('sdp', offer);
    whole.set('session', JSON.stringify({ instructions: 'x'.repeat(100 * 1024) }));
    const answer = await fetch(`${relay.relay.url}/v1/realtime/calls`, {
      method: 'POST',
      headers: { authorization: `Bearer ${relay.token()}` },
      body: whole,
    });
    expect(answer.status).toBe(201);
    const revocation = await fetch(`${relay.relay.url}/v1/relay/revocations`, {
      method: 'POST',
      headers: { authorization: `Bearer ${relay.token({ claims: { scope: 'relay.revoke' } })}` },
      body: JSON.stringify({ sub: 'x'.repeat(10_000) }),
    });
    expect(revocation.status).toBe(413);
  });

  it.each([
    ['content-encoding', 'gzip'],
    ['content-encoding', 'br'],
    ['content-encoding', 'of my own'],
    ['content-type', 'application/json; charset=of-my-own'],
  ])('that cannot be read as it says (%s: %s) is the fault of the user', async (name, value) => {
    const relay = await start();
    const answer = await fetch(`${relay.relay.url}/v1/realtime/client_secrets`, {
      method: 'POST',
      headers: { authorization: `Bearer ${relay.token()}`, [name]: value },
      body: 'no such thing',
    });
    const { error } = (await answer.json()) as { error: { code: string } };
    expect([answer.status, error.code]).toEqual([400, 'bad_event']);
  });

  it.each(doors.filter(([path, type]) => type === 'application/json' && !path.endsWith('hangup')))(
    'of which readers could make different things is refused at %s',
    async (path) => {
      const relay = await start();
      const token = relay.token({ claims: { scope: 'relay.revoke' } });
      const bodies = [
        '{"sub":"alice","sub":"bob"}',
        '{"sub":"alice","a":[{"b":1,"\\u0062":2}]}',
        '{"sub":"alice","__proto__":{}}',
        `{"sub":"alice","a":${'['.repeat(40)}${']'.repeat(40)}}`,
      ];
      for (const body of bodies) {
        const answer = await fetch(`${relay.relay.url}${path}`, {
          method: 'POST',
          headers: { authorization: `Bearer ${token}` },
          body,
        });
        const { error } = (await answer.json()) as { error?: { code: string; message: string } };
        expect([body, answer.status, error?.code]).toEqual([body, 400, 'bad_event']);
        expect(error?.message).toMatch(/^The body (has|is) /);
      }
    },
  );

  it('that does not come in time is said to be late', async () => {
    const emulator = await startTestEmulator();
    const relay = await startTestRelay({ upstream: emulator.url, yaml: 'limits: { handshake_seconds: 0.3 }' });
    const headers = { authorization: `Bearer ${relay.token()}`, 'content-type': 'application/json' };
    expect(await withoutBody(relay, '/v1/realtime/client_secrets', headers)).toBe(408);
  });
});
