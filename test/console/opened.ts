/** Clients of a browser that is in the hands of the test. */

import { vi } from 'vitest';
import { type Problem, RelayClient, type RelayClientOptions } from '../../src/client/relay-client.js';
import type { Transport } from '../../src/client/transport.js';
import { fakeTransport } from './fake-transport.js';
import { fakeBrowser } from './media.js';

export const session = (audio: object = {}, type = 'realtime') => ({
  type: 'session.created',
  session: { type, audio },
});
export const never = <T>() => new Promise<T>(() => undefined);
export const soon = () => vi.advanceTimersByTimeAsync(0);

export function clientOf(options: Partial<RelayClientOptions> = {}) {
  const client = new RelayClient({ url: 'https://relay.test', token: () => 'a', ...options });
  const problems: Problem[] = [];
  const microphone: boolean[] = [];
  client.on('problem', (problem) => problems.push(problem));
  client.on('microphone', ({ isListening }) => microphone.push(isListening));
  return { client, problems, microphone, codes: () => problems.map(({ code }) => code) };
}

export async function open(extra: Partial<Transport> = {}, audio: object = {}, type = 'realtime') {
  const browser = fakeBrowser();
  const transport = fakeTransport(extra);
  const made = clientOf({ transport: transport.open });
  made.client.connect();
  await soon();
  const { handlers, sent } = transport.last();
  if (extra.carriesAudio) handlers.opened?.();
  else handlers.received(session(audio, type));
  return { browser, transport, handlers, sent, types: () => sent.map((event) => event.type), ...made };
}
