import { describe, expect, it } from 'vitest';
import { isReadableByOthers, realtimeUrl, shown } from '../../src/talk/address.js';

describe('realtimeUrl', () => {
  it.each([
    ['http://127.0.0.1:8080', 'ws://127.0.0.1:8080/openai/v1/realtime'],
    ['https://relay.example.com/', 'wss://relay.example.com/openai/v1/realtime'],
    ['wss://host', 'wss://host/openai/v1/realtime'],
    ['https://host/openai/v1', 'wss://host/openai/v1/realtime'],
    ['https://host/v1/', 'wss://host/v1/realtime'],
    ['https://host/behind/proxy', 'wss://host/behind/proxy/openai/v1/realtime'],
    ['wss://host/openai/v1/realtime?model=x', 'wss://host/openai/v1/realtime?model=x'],
    ['ws://host/v1/realtime#part', 'ws://host/v1/realtime'],
    ['wss://host/openai/realtime?deployment=d', 'wss://host/openai/realtime?deployment=d&dialect=ga'],
    ['http://[::1]:80', 'ws://[::1]/openai/v1/realtime'],
  ])('makes of %s %s', (given, expected) => {
    expect(realtimeUrl(given).href).toBe(expected);
  });
});

it('shows no query, for it can hold a credential', () => {
  expect(shown(new URL('wss://host:8443/v1/realtime?api-key=secret'))).toBe('wss://host:8443/v1/realtime');
});

it.each([
  ['ws://relay.example.com', true],
  ['ws://10.0.0.1', true],
  ['ws://127.0.0.1.example.com', true],
  ['ws://localhost:8080', false],
  ['ws://127.0.0.1', false],
  ['ws://[::1]', false],
  ['wss://relay.example.com', false],
])('tells whether others can read %s: %s', (url, expected) => {
  expect(isReadableByOthers(new URL(url))).toBe(expected);
});
