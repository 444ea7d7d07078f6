import { describe, expect, it } from 'vitest';
import { startTestEmulator } from '../support/relay.js';
import { Caller } from './caller.js';

const base = '/openai/v1/realtime';
const session = { type: 'realtime', model: 'gpt-realtime' };

async function service() {
  const emulator = await startTestEmulator();
  const ask = (path: string, body: string | object = '', headers: Record<string, string> = {}) =>
    fetch(`${emulator.url}${base}${path}`, {
      method: 'POST',
      headers: { 'api-key': 'emulator-key', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  const mint = async () => ((await (await ask('/client_secrets', { session })).json()) as { value: string }).value;
  return { emulator, ask, mint };
}

async function refusalOf(answer: Response): Promise<[number, string]> {
  return [answer.status, ((await answer.json()) as { error: { code: string } }).error.code];
}

describe('the emulated service', () => {
  it('mints a key for a session and echoes the configuration', async () => {
    const { ask } = await service();
    const answer = await ask('/client_secrets', { session: { ...session, instructions: 'Be brief.' } });
    const { value, expires_at, session: echoed } = (await answer.json()) as Record<string, never>;
    expect(value).toMatch(/^ek_/);
    expect(Number(expires_at) - Date.now() / 1000).toBeGreaterThan(590);
    expect(echoed).toMatchObject({ object: 'realtime.session', instructions: 'Be brief.', audio: { output: {} } });
  });

  it.each([
    ['without a credential', { session }, { 'api-key': '' }, 401, '401'],
    ['for no session', {}, {}, 400, 'InvalidSessionType'],
    ['for another type', { session: { ...session, type: 'chat' } }, {}, 400, 'InvalidSessionType'],
    ['for an unknown field', { session: { ...session, temperature: 1 } }, {}, 400, 'unknown_parameter'],
    ['for no deployment', { session: { type: 'realtime' } }, {}, 404, 'DeploymentNotFound'],
    ['for a chat model', { session: { ...session, model: 'gpt-4o' } }, {}, 400, 'OpperationNotSupported'],
    ['for a moment', { session, expires_after: { seconds: 9 } }, {}, 400, 'invalid_value'],
    ['for what is not JSON', '{', {}, 400, 'BadRequest'],
  ])('mints none %s', async (_, body, headers, status, code) => {
    const { ask } = await service();
    expect(await refusalOf(await ask('/client_secrets', body, headers as Record<string, string>))).toEqual([
      status,
      code,
    ]);
  });

  it('answers an offer only to an ephemeral key, and hangs up on request', async () => {
    const { emulator, ask, mint } = await service();
    const { offer } = await Caller.create();
    const type = { 'content-type': 'application/sdp' };
    expect(await refusalOf(await ask('/calls', offer, type))).toEqual([401, '401']);
    const key = { ...type, authorization: `Bearer ${await mint()}` };
    expect(await refusalOf(await ask('/calls', 'v=0', key))).toEqual([400, 'invalid_offer']);
    expect(await refusalOf(await ask('/calls', offer, { ...key, 'content-type': 'text/plain' }))).toEqual([
      400,
      'BadRequest',
    ]);
    const answer = await ask('/calls', offer, key);
    expect(answer.status).toBe(201);
    expect(await answer.text()).toMatch(/^v=0\r\n[\s\S]*m=audio .* 0\r\n/);
    const id = answer.headers.get('location')?.split('/').at(-1) as string;
    expect(id).toMatch(/^rtc_/);
    expect(emulator.control.calls.records.open).toEqual([id]);
    expect(await refusalOf(await ask('/calls/rtc_none/hangup'))).toEqual([404, 'call_id_not_found']);
    expect((await ask(`/calls/${id}/hangup`, '', { 'api-key': 'wrong' })).status).toBe(401);
    expect((await ask(`/calls/${id}/hangup`)).status).toBe(200);
    expect(emulator.control.calls.records).toMatchObject({ open: [], hungUp: [id] });
  });
});
