import { describe, expect, it } from 'vitest';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { startUpstream } from '../support/upstream.js';
import { Caller, post } from './caller.js';

const sdp = [
  'v=0',
  'o=- 1 1 IN IP4 0.0.0.0',
  's=-',
  't=0 0',
  'm=application 9 UDP/DTLS/SCTP webrtc-datachannel',
  'a=ice-ufrag:abcd',
  'a=ice-pwd:0123456789012345678901',
  'a=fingerprint:sha-256 00',
  '',
].join('\r\n');
const origins = { RELAY_ALLOWED_ORIGINS: 'https://app.test' };

async function codeOf(answer: Response): Promise<[number, string]> {
  const { error } = (await answer.json()) as { error: { code: string; message: string } };
  expect(error.message).toMatch(/\.$/);
  return [answer.status, error.code];
}

async function relayBefore(options: { yaml?: string; env?: Record<string, string> } = {}) {
  const emulator = await startTestEmulator();
  const relay = await startTestRelay({
    upstream: emulator.url,
    env: { ...origins, ...options.env },
    ...(options.yaml && { yaml: options.yaml }),
  });
  return { emulator, relay };
}

describe('an offer is refused, and upstream hears nothing of it', () => {
  it.each<[string, (relay: TestRelay) => Promise<Response>, number, string]>([
    ['without a credential', (relay) => post(relay, sdp, { authorization: '' }), 401, 'unauthorized'],
    ['with a bad one', (relay) => post(relay, sdp, { authorization: 'Bearer nonsense' }), 401, 'unauthorized'],
    ['from a foreign origin', (relay) => post(relay, sdp, { origin: 'https://evil.test' }), 403, 'forbidden'],
    [
      'of a profile that does not exist',
      (relay) => post(relay, sdp, { authorization: `Bearer ${relay.token({ profile: 'none' })}` }),
      403,
      'forbidden',
    ],
    ['over 64 KiB', (relay) => post(relay, sdp + 'a=x:'.padEnd(64 * 1024, 'x')), 413, 'too_big'],
    ['of 3 MB', (relay) => post(relay, Buffer.alloc(3_000_000, 'a')), 413, 'too_big'],
    ['that is empty', (relay) => post(relay, ''), 400, 'bad_event'],
    ['that is JSON', (relay) => post(relay, '{"sdp":"v=0"}', { 'content-type': 'application/json' }), 400, 'bad_event'],
    ['that begins otherwise', (relay) => post(relay, ` ${sdp}`), 400, 'bad_event'],
    ['with a line that is none', (relay) => post(relay, `${sdp}<script>\r\n`), 400, 'bad_event'],
    ['with a control character', (relay) => post(relay, `${sdp}a=x\u0000y\r\n`), 400, 'bad_event'],
    ['without media', (relay) => post(relay, sdp.replace(/m=.*\r\n/, '')), 400, 'bad_event'],
    ['without a fingerprint', (relay) => post(relay, sdp.replace(/a=fingerprint.*\r\n/, '')), 400, 'bad_event'],
    ['as a form without the part', (relay) => post(relay, new FormData()), 400, 'bad_event'],
    [
      'as a broken form',
      (relay) => post(relay, sdp, { 'content-type': 'multipart/form-data; boundary=x' }),
      400,
      'bad_event',
    ],
  ])('%s', async (_, send, status, code) => {
    const { emulator, relay } = await relayBefore();
    expect(await codeOf(await send(relay))).toEqual([status, code]);
    expect(emulator.control.calls.records.minted).toEqual([]);
    expect(relay.relay.sessions.size).toBe(0);
    expect(relay.relay.sessions.isFull).toBe(false);
  });

  it.each([
    ['switches WebRTC off', 'profiles: { default: { webrtc: { enabled: false } } }'],
    [
      'transcribes',
      'profiles: { default: { session: { type: transcription, audio: { input: { transcription: { model: gpt-realtime-whisper } } } } } }',
    ],
  ])('when the profile %s, and leaves no place taken', async (_, yaml) => {
    const { emulator, relay } = await relayBefore({ yaml: `limits: { sessions: 1 }\n${yaml}` });
    expect(await codeOf(await post(relay, sdp))).toEqual([403, 'forbidden']);
    expect(await codeOf(await post(relay, sdp))).toEqual([403, 'forbidden']);
    expect(emulator.control.calls.records.minted).toEqual([]);
  });

  it('when the profile has tools that the server runs, unless it exposes them; the answer names the setting', async () => {
    const tools = '[{ name: lookup, runs: http, http: { url: "https://tools.test/" } }]';
    const profile = (webrtc: string) => `profiles: { default: { webrtc: { ${webrtc} }, tools: ${tools} } }`;
    const { emulator, relay } = await relayBefore({ yaml: profile('ephemeral_keys: true') });
    const mint = (of: typeof relay) => post(of, '', {}, '/v1/realtime/client_secrets?for=webrtc');
    for (const answer of [await post(relay, sdp), await mint(relay)]) {
      expect(await answer.clone().text()).toContain('webrtc: { tools: exposed }');
      expect(await codeOf(answer)).toEqual([403, 'forbidden']);
    }
    expect(emulator.control.calls.records.minted).toEqual([]);
    const { relay: exposing } = await relayBefore({ yaml: profile('ephemeral_keys: true, tools: exposed') });
    expect((await mint(exposing)).status).toBe(200);
  });

  it('to an allowed page in words that it can read', async () => {
    const { relay } = await relayBefore();
    const answer = await post(relay, 'nonsense', { origin: 'https://app.test' });
    expect(answer.headers.get('access-control-allow-origin')).toBe('https://app.test');
    expect(await codeOf(answer)).toEqual([400, 'bad_event']);
  });

  it('with 400 for an id that cannot be decoded', async () => {
    const { relay } = await relayBefore();
    const answer = await post(relay, '', {}, '/v1/realtime/calls/%E0%A4%A/hangup');
    expect(await codeOf(answer)).toEqual([400, 'bad_event']);
  });

  it('with 405 for another method, and 204 for the preflight of an allowed page', async () => {
    const { relay } = await relayBefore();
    const url = `${relay.relay.url}/v1/realtime/calls`;
    expect(await codeOf(await fetch(url))).toEqual([405, 'method_not_allowed']);
    const preflight = await fetch(url, { method: 'OPTIONS', headers: { origin: 'https://app.test' } });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get('access-control-allow-headers')).toContain('x-openai-agents-sdk');
  });
});

describe('an offer fails', () => {
  it.each([
    ['refuse_401', 502, 'upstream_failed'],
    ['refuse_404_deployment', 502, 'upstream_failed'],
    ['refuse_429', 503, 'upstream_unavailable'],
    ['refuse_503', 503, 'upstream_unavailable'],
    ['reset', 502, 'upstream_failed'],
  ] as const)('when upstream answers the key with %s', async (fault, status, code) => {
    const { emulator, relay } = await relayBefore();
    emulator.control.faults.arm(fault, 3);
    const answer = await post(relay, sdp);
    expect(await codeOf(answer)).toEqual([status, code]);
    if (fault === 'refuse_429') expect(answer.headers.get('retry-after')).toBe('1');
    expect(relay.relay.sessions.size).toBe(0);
  });

  it('with upstream_timeout when upstream does not answer', async () => {
    const { emulator, relay } = await relayBefore({ yaml: 'limits: { dial_seconds: 1 }' });
    emulator.control.faults.arm('hang', 2);
    expect(await codeOf(await post(relay, sdp))).toEqual([504, 'upstream_timeout']);
  });

  it('with bad_event when upstream does not take the offer, which costs upstream no trust', async () => {
    const { emulator, relay } = await relayBefore();
    const bad = sdp.replace('ice-pwd', 'nothing');
    for (let i = 0; i < 8; i++) expect(await codeOf(await post(relay, bad))).toEqual([400, 'bad_event']);
    expect(emulator.control.calls.records.open).toEqual([]);
    const caller = await Caller.create();
    expect((await post(relay, caller.offer)).status).toBe(201);
  });

  it('when upstream fails at the offer, and other clients are not refused for it', async () => {
    const { emulator, relay } = await relayBefore();
    emulator.control.faults.arm('offer', 8);
    for (let i = 0; i < 8; i++) expect(await codeOf(await post(relay, sdp))).toEqual([502, 'upstream_failed']);
    const caller = await Caller.create();
    expect((await post(relay, caller.offer)).status).toBe(201);
  });

  it('with upstream_unavailable when no upstream speaks GA', async () => {
    const { url } = await startUpstream();
    const relay = await startTestRelay({
      upstream: url,
      yaml: `upstreams: [{ name: old, endpoint: "${url}", deployment: x, dialect: preview, api_key: k }]`,
    });
    expect(await codeOf(await post(relay, sdp))).toEqual([503, 'upstream_unavailable']);
  });

  it('and the session ends, when the client does not wait for the answer', async () => {
    const { emulator, relay } = await relayBefore();
    emulator.control.faults.arm('hang');
    const leave = new AbortController();
    const left = fetch(`${relay.relay.url}/v1/realtime/calls`, {
      method: 'POST',
      headers: { authorization: `Bearer ${relay.token()}` },
      body: sdp,
      signal: leave.signal,
    }).catch(() => null);
    while (relay.relay.sessions.size === 0) await new Promise(setImmediate);
    leave.abort();
    await left;
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'normal', initiator: 'client' });
  });
});
