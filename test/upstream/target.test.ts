import { describe, expect, it } from 'vitest';
import { parseEndpoint, upstreamUrl } from '../../src/upstream/target.js';
import { target } from './servers.js';

describe('an endpoint', () => {
  it.each([
    ['https://x.openai.azure.com', 'https://x.openai.azure.com/'],
    ['https://x.openai.azure.com/', 'https://x.openai.azure.com/'],
    ['  https://x.openai.azure.com/openai\n', 'https://x.openai.azure.com/'],
    ['https://x.openai.azure.com/openai/v1/', 'https://x.openai.azure.com/'],
    ['https://x.services.ai.azure.com/api/projects/p', 'https://x.services.ai.azure.com/'],
    ['https://X.openai.azure.us/openai/realtime?api-version=1&api-key=s#f', 'https://x.openai.azure.us/'],
    ['wss://x.openai.azure.com/openai/v1/realtime?model=m', 'https://x.openai.azure.com/'],
    ['https://x.example:8443/openai', 'https://x.example:8443/'],
    ['http://localhost:9000/openai/v1', 'http://localhost:9000/'],
    ['ws://127.8.8.8:1', 'http://127.8.8.8:1/'],
    ['http://[::1]:9000', 'http://[::1]:9000/'],
  ])('%j is cut down to %s', (text, expected) => {
    expect(parseEndpoint(text).href).toBe(expected);
  });

  it.each([
    ['', /not a URL/],
    ['x.openai.azure.com', /not a URL/],
    ['x.openai.azure.com:443', /must start with https:/],
    ['ftp://x.openai.azure.com', /must start with https:/],
    ['http://x.openai.azure.com', /loopback only/],
    ['http://127.0.0.1.evil.example', /loopback only/],
    ['http://localhost.evil.example', /loopback only/],
    ['http://0.0.0.0', /loopback only/],
    ['http://[::2]', /loopback only/],
    ['https://user:secret@x.openai.azure.com', /must not contain a user name/],
  ])('%j is refused', (text, message) => {
    expect(() => parseEndpoint(text)).toThrow(message);
    expect(() => parseEndpoint(text)).not.toThrow(/secret/);
  });
});

describe('the upstream URL', () => {
  const endpoint = parseEndpoint('https://x.openai.azure.com/openai/v1');

  it('names only the model on the GA path', () => {
    expect(upstreamUrl(target(1, { endpoint, apiVersion: '2025-04-01-preview' })).href).toBe(
      'wss://x.openai.azure.com/openai/v1/realtime?model=gpt-realtime',
    );
  });

  it('names the deployment and a dated version on the preview path', () => {
    expect(upstreamUrl(target(1, { endpoint, dialect: 'preview' })).href).toBe(
      'wss://x.openai.azure.com/openai/realtime?api-version=2025-04-01-preview&deployment=gpt-realtime',
    );
    expect(upstreamUrl(target(1, { endpoint, dialect: 'preview', apiVersion: '2024-10-01-preview' })).search).toContain(
      'api-version=2024-10-01-preview&',
    );
  });

  it('percent-encodes the deployment and the call', () => {
    const deployment = 'my dep/&model=x#ü';
    expect(upstreamUrl(target(1, { endpoint, deployment })).search).toBe('?model=my%20dep%2F%26model%3Dx%23%C3%BC');
    expect(upstreamUrl(target(1, { endpoint }), { callId: 'rtc_1&model=x' }).search).toBe('?call_id=rtc_1%26model%3Dx');
  });

  it('keeps the port and speaks plain WebSocket to a loopback endpoint', () => {
    expect(upstreamUrl(target(9000)).href).toBe('ws://127.0.0.1:9000/openai/v1/realtime?model=gpt-realtime');
  });

  it('cannot attach to a call in preview', () => {
    expect(() => upstreamUrl(target(1, { dialect: 'preview' }), { callId: 'rtc_1' })).toThrow(/cannot attach/);
  });
});
