/** Sidebands for tests: a session, and backends that follow it. */

import type { TestClient } from './client.js';
import { startTestEmulator, startTestRelay, type TestRelay } from './relay.js';

export const read = 'relay.sessions.read';
export const both = `${read} relay.sessions.write`;

/** A session that is open before the emulator, and its id. */
export async function opened(options: { yaml?: string; env?: Record<string, string> } = {}) {
  const emulator = await startTestEmulator();
  const relay = await startTestRelay({ upstream: emulator.url, ...options });
  return { emulator, relay, ...(await talking(relay)) };
}

/** A client whose session is open, and its id. */
export async function talking(relay: TestRelay, who: Parameters<TestRelay['token']>[0] = {}) {
  const client = await relay.connect({ token: relay.token(who) });
  const created = await client.next('session.created');
  return { client, id: (created.session as { id: string }).id };
}

/** A token of a backend. */
export function backend(relay: TestRelay, scope = both, more: object = {}): string {
  return relay.token({ subject: 'backend', claims: { scope }, ...more });
}

/** Follows a session. */
export function attach(
  relay: TestRelay,
  id: string,
  { scope = both, query = '', token = backend(relay, scope) } = {},
): Promise<TestClient> {
  return relay.connect({ path: `/v1/relay/sessions/${id}/sideband${query}`, token });
}

/** Follows a session, and has heard what it is. */
export async function following(...how: Parameters<typeof attach>): Promise<TestClient> {
  const sideband = await attach(...how);
  await sideband.next('session.created');
  return sideband;
}
