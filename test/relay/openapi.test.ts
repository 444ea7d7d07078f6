import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { beforeAll, describe, expect, it } from 'vitest';
import { openApi } from '../../src/doors/openapi.js';
import { connect } from '../support/client.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { Caller } from '../webrtc/caller.js';

interface Responses {
  readonly [status: string]: { readonly content?: Readonly<Record<string, { readonly schema: object }>> };
}
interface Operation {
  readonly security: readonly Readonly<Record<string, readonly string[]>>[];
  readonly requestBody?: { readonly required: boolean; readonly content: Readonly<Record<string, object>> };
  readonly responses: Responses;
}

/** What is described, as whoever reads it has it. */
const described = JSON.parse(JSON.stringify(openApi())) as {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
};
const operations = Object.entries(described.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => [method.toUpperCase(), path, operation] as const),
);
const isUpgrade = ({ responses }: Operation) => '101' in responses;
const plain = operations.filter(([, , operation]) => !isUpgrade(operation));

// Formats are names for readers here; what a pattern says is compared.
const ajv = new Ajv2020({ strict: false, validateFormats: false });
ajv.addSchema(described, 'api');

function isAsDescribed({ content }: Responses[string], type: string, text: string): void {
  const [wanted] = Object.entries(content ?? {});
  if (!wanted) {
    expect(text).toBe('');
    return;
  }
  const [name, { schema }] = wanted;
  expect(type.split(';')[0]).toBe(name);
  if (name !== 'application/json') return;
  const { $ref } = schema as { $ref?: string };
  const validate = $ref === undefined ? ajv.compile(schema) : ajv.getSchema(`api${$ref}`);
  expect(validate?.(JSON.parse(text)), JSON.stringify(validate?.errors)).toBe(true);
}

describe('each route of the description', () => {
  let relay: TestRelay;
  const emulators: Awaited<ReturnType<typeof startTestEmulator>>[] = [];

  async function start(): Promise<TestRelay> {
    const emulator = await startTestEmulator();
    emulators.push(emulator);
    return startTestRelay({
      upstream: emulator.url,
      yaml: [
        'profiles:',
        '  default: { webrtc: { ephemeral_keys: true } }',
        '  words: { session: { type: transcription, audio: { input: { transcription: { model: whisper-1 } } } } }',
      ].join('\n'),
    });
  }

  beforeAll(() => {
    expect(operations.length).toBeGreaterThan(15);
  });

  function tokenFor(path: string, { security }: Operation): string | null {
    const [scheme] = security;
    if (!scheme) return null;
    const scopes = scheme.bearer ?? [];
    const profile = path.endsWith('transcription_sessions') ? 'words' : 'default';
    return relay.token({ profile, ...(scopes.length > 0 && { claims: { scope: scopes.join(' ') } }) });
  }

  async function bodyFor(path: string, { requestBody }: Operation): Promise<{ type: string; body: string } | null> {
    if (!requestBody) return null;
    const [type = ''] = Object.keys(requestBody.content);
    if (type === 'application/sdp') return { type, body: (await Caller.create()).offer };
    if (path.endsWith('takeover')) return { type, body: '{"on":true}' };
    if (path.endsWith('events')) return { type, body: '{"type":"input_audio_buffer.clear"}' };
    return { type, body: path.endsWith('revocations') ? '{"sub":"nobody"}' : '{"expires_after":{"seconds":60}}' };
  }

  /** The path, with the id of something that is there. */
  async function filled(path: string): Promise<string> {
    if (!path.includes('{id}')) return path;
    if (path.includes('calls')) {
      const { offer } = await Caller.create();
      const answer = await fetch(`${relay.relay.url}/v1/realtime/calls`, {
        method: 'POST',
        headers: { authorization: `Bearer ${relay.token()}`, 'content-type': 'application/sdp' },
        body: offer,
      });
      return path.replace('{id}', answer.headers.get('location')?.split('/').at(-1) ?? '');
    }
    const client = await relay.connect();
    const { session } = await client.next('session.created');
    return path.replace('{id}', (session as { id: string }).id);
  }

  async function ask(method: string, path: string, operation: Operation, token = tokenFor(path, operation)) {
    const sent = await bodyFor(path, operation);
    const answer = await fetch(`${relay.relay.url}${await filled(path)}`, {
      method,
      headers: {
        ...(token !== null && { authorization: `Bearer ${token}` }),
        ...(sent && { 'content-type': sent.type }),
      },
      ...(sent && { body: sent.body }),
    });
    return { status: answer.status, type: answer.headers.get('content-type') ?? '', text: await answer.text() };
  }

  it.each(plain)('%s %s is there, and answers as it is described', async (method, path, operation) => {
    relay = await start();
    // Upstream's answer is looked for before, where one is needed.
    await relay.relay.health.ready();
    const successes = Object.keys(operation.responses).filter((status) => status.startsWith('2'));
    const { status, type, text } = await ask(method, path, operation);
    if (path !== '/readyz') expect(successes, text).toContain(String(status));
    expect(Object.keys(operation.responses)).toContain(String(status));
    isAsDescribed(operation.responses[status] ?? {}, type, text);
  });

  it('answers as it is described where an answer is waited for, too', async () => {
    relay = await start();
    const path = '/v1/relay/sessions/{id}/events';
    const operation = described.paths[path]?.post as Operation;
    // The model's words are for who may read.
    const token = relay.token({ claims: { scope: 'relay.sessions.read relay.sessions.write' } });
    const answer = await fetch(`${relay.relay.url}${await filled(path)}?wait=response`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body: '{"type":"response.create"}',
    });
    expect(answer.status).toBe(200);
    isAsDescribed(operation.responses[200] ?? {}, answer.headers.get('content-type') ?? '', await answer.text());
  });

  it.each(plain.filter(([, , { security }]) => security.length > 0))(
    '%s %s refuses as it is described: who has no credential, and who has no right',
    async (method, path, operation) => {
      relay = await start();
      const [scheme] = operation.security;
      const attempts: [string, number][] = [['', 401]];
      if ((scheme?.bearer ?? []).length > 0) attempts.push([relay.token(), 403]);
      for (const [token, expected] of attempts) {
        const { status, type, text } = await ask(method, path, operation, token === '' ? null : token);
        expect(status).toBe(expected);
        isAsDescribed(operation.responses[status] ?? {}, type, text);
      }
    },
  );

  it.each(operations.filter(([, , operation]) => isUpgrade(operation)))(
    '%s %s is a WebSocket, and says so to others',
    async (method, path, operation) => {
      relay = await start();
      const key = tokenFor(path, operation) ?? '';
      const client = await connect(`${relay.address}${await filled(path)}`, { headers: { 'api-key': key } });
      await client.next('session.created');
      const { status, type, text } = await ask(method, path, operation);
      expect(status).toBe(426);
      isAsDescribed(operation.responses[status] ?? {}, type, text);
    },
  );

  it('is served as it stands in the documents, to anybody', async () => {
    relay = await start();
    const answer = await fetch(`${relay.relay.url}/v1/relay/openapi.json`);
    expect(answer.headers.get('content-type')).toMatch(/^application\/json/);
    expect(await answer.text()).toBe(readFileSync(new URL('../../docs/openapi.json', import.meta.url), 'utf8'));
  });
});
