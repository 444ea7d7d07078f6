/** Sessions that outlive their connections to upstream, for tests. */

import { expect } from 'vitest';
import type { Emulator } from '../../src/emulator/emulator.js';
import type { TestClient } from './client.js';
import { startTestRelay, type TestRelay, type TestRelayOptions } from './relay.js';

/** A profile whose sessions do. */
export function lasting(continuity = '', rest = ''): string {
  return `profiles:
  default:
    session:
      instructions: CANARY-INSTRUCTIONS
      audio: { input: { transcription: { model: gpt-4o-transcribe } } }
    continuity: { enabled: true${continuity ? `, ${continuity}` : ''} }
${rest}`;
}

/** A relay before an emulator whose sessions go on. */
export function startLasting(emulator: Emulator, options: Partial<TestRelayOptions> = {}): Promise<TestRelay> {
  return startTestRelay({ upstream: emulator.url, yaml: lasting(), ...options });
}

/** A client that hears of replacements. */
export async function talk(relay: TestRelay, query = ''): Promise<TestClient> {
  const client = await relay.connect({ path: `/openai/v1/realtime?model=x&relay_events=on${query}` });
  await client.next('session.created');
  return client;
}

/** Says something in writing; resolves to the words of the answer. */
export async function say(client: TestClient, text: string): Promise<string> {
  return wordsOf(await client.ask(text));
}

/** The words of a response. */
export function wordsOf(response: Record<string, unknown>): string {
  const output = response.output as { content?: { text?: string; transcript?: string }[] }[];
  return output
    .flatMap(({ content = [] }) => content.map(({ text, transcript }) => text ?? transcript ?? ''))
    .join(' ');
}

/** Nothing of the server's has reached the client. */
export function expectNoCanary(client: TestClient): void {
  expect(client.raw.join('\n')).not.toMatch(/CANARY|rly_m|rly_anchor|rly_history/);
}
