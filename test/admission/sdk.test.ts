import { describe, expect, it } from 'vitest';
import { type Sdk, sdkOf, sdks } from '../../src/admission/sdk.js';
import { connect } from '../support/client.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';

const deflate = 'permessage-deflate; client_max_window_bits';
const origin = 'https://app.example';
const bearer = { authorization: 'Bearer token' };

const handshakes: readonly [sdk: Sdk, what: string, headers: Record<string, string>, query?: string][] = [
  ['agents-js', 'in Node', { ...bearer, 'user-agent': 'Agents/JavaScript 0.20.0', 'x-openai-agents-sdk': 'x.0.20.0' }],
  [
    'agents-js',
    'in a browser',
    { origin, 'sec-websocket-protocol': 'realtime, openai-insecure-api-key.token, openai-agents-sdk.0.20.0' },
  ],
  ['agents-python', '', { ...bearer, 'user-agent': 'Agents/Python 0.6.2' }],
  ['livekit', 'in Python', { ...bearer, 'user-agent': 'LiveKit Agents', 'openai-beta': 'realtime=v1' }],
  ['livekit', 'in Node', { 'api-key': 'token', 'user-agent': 'LiveKit-Agents-JS' }],
  ['rt-client', 'in Node', { 'api-key': 'token', 'user-agent': 'ms-rtclient/0.5.0' }],
  ['rt-client', 'in Python', { ...bearer, 'user-agent': 'ms-rtclient/0.5.1 Python/3.12.1' }],
  ['rt-client', 'in a browser', { origin }, 'api-key=token&x-ms-client-request-id=1'],
  ['openai-realtime-api', 'in Node 20', { ...bearer, 'api-key': 'token', 'openai-beta': 'realtime=v1' }],
  ['openai-node', '7', { ...bearer, 'user-agent': 'OpenAI/JS 7.57.0', 'sec-websocket-extensions': deflate }],
  ['openai-node', '7 for Azure', { 'api-key': 'token', 'user-agent': 'AzureOpenAI/JS 7.57.0' }],
  ['browser', 'with openai 6', { origin, 'user-agent': 'Mozilla/5.0', 'sec-websocket-protocol': 'realtime' }],
  ['python-websockets', 'with openai', { ...bearer, 'user-agent': 'Python/3.12 websockets/15.0.1' }],
  ['node-native', 'with openai 6', { 'user-agent': 'node', 'sec-websocket-protocol': 'realtime' }],
  ['node-ws', 'with openai 6', { ...bearer, 'sec-websocket-extensions': deflate }],
  ['other', 'that says something else', { ...bearer, 'user-agent': 'Go-http-client/1.1' }],
  ['other', 'that says nothing', bearer],
];

describe('the census of clients', () => {
  it.each(handshakes)('recognises %s %s', (sdk, _, headers, query = '') => {
    expect(sdkOf(headers, new URLSearchParams(query))).toBe(sdk);
  });

  it('knows an example of every name it can give', () => {
    expect(new Set(handshakes.map(([sdk]) => sdk))).toEqual(new Set(sdks));
  });

  it('counts admitted clients only, by names of its own whatever they say of themselves', async () => {
    const emulator = await startTestEmulator();
    const { address, token, metric, relay } = await startTestRelay({ upstream: emulator.url });
    const path = `${address}/openai/v1/realtime?model=x&dialect=preview`;
    const Authorization = `Bearer ${token()}`;
    const client = await connect(path, { headers: { Authorization, 'User-Agent': 'mallory"} 1' } });
    await client.next('session.created');
    await expect(
      connect(path, { headers: { Authorization: 'Bearer nobody', 'User-Agent': 'LiveKit Agents' } }),
    ).rejects.toThrow();
    expect(await metric('relay_clients_total', { dialect: 'preview', sdk: 'other' })).toBe(1);
    expect(await metric('relay_clients_total')).toBe(1);
    expect(await relay.metrics.registry.metrics()).not.toContain('mallory');
  });
});
