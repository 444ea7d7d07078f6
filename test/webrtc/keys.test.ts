import { describe, expect, it } from 'vitest';
import { startTestEmulator, startTestRelay } from '../support/relay.js';
import { Caller } from './caller.js';

const yaml = (on: boolean) => `
profiles:
  default:
    webrtc: { ephemeral_keys: ${on} }
    session: { instructions: CANARY-INSTRUCTIONS, tools: [{ type: function, name: CANARY_TOOL }] }
`;
const paths = [
  '/v1/realtime/client_secrets?for=webrtc',
  '/openai/v1/realtime/client_secrets?for=webrtc',
  '/openai/realtimeapi/sessions?api-version=2025-04-01-preview',
];

async function mint(path: string, on: boolean, body: object = {}) {
  const emulator = await startTestEmulator();
  const relay = await startTestRelay({ upstream: emulator.url, yaml: yaml(on) });
  const answer = await fetch(`${relay.relay.url}${path}`, {
    method: 'POST',
    headers: { 'api-key': relay.token(), 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return { emulator, relay, answer, text: await answer.text() };
}

describe("upstream's own ephemeral keys", () => {
  it.each(paths)('are refused at %s unless the profile hands them out', async (path) => {
    const { emulator, answer, text } = await mint(path, false);
    expect(answer.status).toBe(403);
    expect(text).toMatch(/hands out no ephemeral keys/);
    expect(emulator.control.calls.records.minted).toEqual([]);
  });

  it.each(paths)('are handed out at %s, and nothing else of the session', async (path) => {
    const { emulator, relay, answer, text } = await mint(path, true, { session: { instructions: 'mine' } });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(text).not.toMatch(/CANARY|gpt-realtime|mine/);
    const body = JSON.parse(text);
    const { value, expires_at } = body.client_secret ?? body;
    expect(value).toMatch(/^ek_(?!rly)/);
    expect(expires_at * 1000).toBeGreaterThan(Date.now());
    expect(emulator.control.calls.records.minted).toMatchObject([{ instructions: 'CANARY-INSTRUCTIONS' }]);
    const caller = await Caller.create();
    const direct = await fetch(`${emulator.url}/openai/v1/realtime/calls`, {
      method: 'POST',
      headers: { authorization: `Bearer ${value}`, 'content-type': 'application/sdp' },
      body: caller.offer,
    });
    expect(direct.status).toBe(201);
    expect(await relay.logged('key.minted')).toMatchObject({ subject: 'alice', upstream: 'default' });
    expect(JSON.stringify(relay.log)).not.toContain(value);
  });

  it('are as many as a user may have sessions', async () => {
    const { relay } = await mint(paths[0] as string, true);
    const again = () =>
      fetch(`${relay.relay.url}${paths[0]}`, { method: 'POST', headers: { 'api-key': relay.token() } });
    expect((await again()).status).toBe(200);
    expect((await again()).status).toBe(200);
    const refused = await again();
    expect([refused.status, await refused.json()]).toMatchObject([429, { error: { code: 'rate_limited' } }]);
  });

  it('come in the flat form of the preview', async () => {
    const { text } = await mint(paths[2] as string, true);
    expect(JSON.parse(text)).toMatchObject({
      object: 'realtime.session',
      modalities: ['text', 'audio'],
      instructions: '',
    });
  });

  it('live no longer than was asked for', async () => {
    const { text } = await mint(paths[0] as string, true, { expires_after: { anchor: 'created_at', seconds: 20 } });
    expect(JSON.parse(text).expires_at - Date.now() / 1000).toBeLessThanOrEqual(20);
  });
});
