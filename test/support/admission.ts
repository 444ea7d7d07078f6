/** What admission is decided with, in a test: a store in memory, and whoever is signed for. */

import type { IncomingMessage } from 'node:http';
import { onTestFinished } from 'vitest';
import type { AdmissionServices } from '../../src/admission/candidate.js';
import { createConnects } from '../../src/admission/connects.js';
import { createClientSecrets } from '../../src/auth/secrets.js';
import { createVerifier } from '../../src/auth/verify.js';
import { configFile, limitsOf } from '../../src/config/file.js';
import { profileSchema } from '../../src/policy/profile.js';
import { SessionRegistry } from '../../src/session/registry.js';
import { MemoryStore } from '../../src/store/memory.js';
import { Revocations } from '../../src/store/revocations.js';
import { jwt } from './relay.js';

type Given = Partial<AdmissionServices> & {
  /** The one profile there is, as it would be written. */
  readonly profile?: object;
};

/** Services of an instance with ten places and one profile; each may be given. */
export function admissionServices({ profile, ...given }: Given = {}) {
  const store = new MemoryStore();
  onTestFinished(() => store.close());
  const profiles = new Map([['default', { ...profileSchema.parse(profile ?? {}), name: 'default' }]]);
  const settings = { profiles, limits: limitsOf(configFile.parse({})) };
  const registry = new SessionRegistry(10);
  return {
    verifier: createVerifier({ ...jwt, source: { kind: 'secret', secret: jwt.secret } }),
    secrets: createClientSecrets(store),
    store,
    owner: '1',
    endGhost: async () => false,
    connects: createConnects(() => profiles),
    addressOf: () => '127.0.0.1',
    unavailable: () => null,
    registry,
    revocations: new Revocations(10),
    issuers: [],
    settings: () => settings,
    origins: ['https://app.test'],
    queryCredentials: true,
    ...given,
  };
}

/** A request with these headers, as Node hands it over. */
export function requestWith(headers: Record<string, string>, query = '') {
  const rawHeaders = Object.entries(headers).flat();
  const message = { headers, rawHeaders, socket: {} } as unknown as IncomingMessage;
  return { message, url: new URL(`http://relay/v1/realtime${query}`) };
}
