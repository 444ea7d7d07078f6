import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../src/protocol/event.js';
import { previewUpstream } from '../../src/protocol/translate/upstream-end.js';
import { bench } from '../policy/bench.js';
import { recordingPorts, run } from '../protocol/fixtures/sequences.js';
import { startTestRelay } from '../support/relay.js';
import { startUpstream } from '../support/upstream.js';

/** Everything that a profile can set and that preview has a name for. */
const session = {
  instructions: 'Be brief.',
  output_modalities: ['text'],
  tools: [{ type: 'function', name: 'server_tool', parameters: { type: 'object' } }],
  tool_choice: 'auto',
  max_output_tokens: 100,
  tracing: 'auto',
  audio: {
    input: {
      format: { type: 'audio/pcmu' },
      transcription: { model: 'whisper-1' },
      noise_reduction: { type: 'near_field' },
      turn_detection: { type: 'server_vad' },
    },
    output: { format: { type: 'audio/pcma' }, voice: 'alloy', speed: 1.1 },
  },
};

/** What a client says against it, in the names of preview. */
const flat = {
  instructions: 'evil',
  modalities: ['text', 'audio'],
  tools: [],
  tool_choice: 'none',
  max_response_output_tokens: 4000,
  tracing: { workflow_name: 'evil' },
  input_audio_format: 'pcm16',
  input_audio_transcription: { model: 'evil' },
  input_audio_noise_reduction: null,
  turn_detection: null,
  output_audio_format: 'pcm16',
  voice: 'verse',
  speed: 1.5,
  temperature: 1.2,
  client_secret: { expires_after: { anchor: 'created_at', seconds: 7200 } },
};
/** And what the first api-version took in a response. */
const first = { commit: true, cancel_previous: true, append_input_items: [], input_items: [] };
const named = Object.entries({ ...flat, ...first });

async function trusted(dialect: 'ga' | 'preview', path: string) {
  const upstream = await startUpstream();
  const relay = await startTestRelay({
    upstream: upstream.url,
    yaml: `
upstreams: [{ name: main, endpoint: "${upstream.url}", deployment: gpt-realtime, dialect: ${dialect}, api_key: emulator-key }]
profiles: { default: { client: { trust: trusted }, session: ${JSON.stringify(session)} } }`,
  });
  const client = await relay.connect({ path });
  await client.next('session.created');
  /** What upstream gets for a session and for a response with these fields. */
  return async (fields: object): Promise<{ update: JsonObject | null; response: JsonObject }> => {
    client.send({ type: 'session.update', session: fields });
    client.send({ type: 'response.create', response: fields });
    const parse = (text: string): JsonObject => JSON.parse(text);
    const isCreate = (text: string) => text.includes('"response.create"');
    for (let count = 1; !upstream.texts.some(isCreate); count++) await upstream.received(count);
    const bodies = upstream.texts.map(parse);
    const update = bodies.find(({ type }) => type === 'session.update');
    return {
      update: (update?.session ?? null) as JsonObject | null,
      response: (bodies.find(({ type }) => type === 'response.create')?.response ?? {}) as JsonObject,
    };
  };
}

const ga = '/openai/v1/realtime?model=x';
const preview = '/openai/realtime?api-version=2025-04-01-preview&deployment=x';

describe('what the profile has set stays with the profile', () => {
  it.each(named)(
    'when a trusted GA client says %s, as preview calls it, to a preview upstream',
    async (name, value) => {
      const { update, response } = await (await trusted('preview', ga))({ [name]: value, shiny: 1 });
      expect(update).toEqual({ shiny: 1 });
      const { metadata: _, ...rest } = response;
      expect(rest).toEqual({ shiny: 1 });
    },
  );

  it.each([
    ['a preview client and a preview upstream', 'preview', preview],
    ['a preview client and a GA upstream', 'ga', preview],
  ] as const)('when the names of both dialects are mixed, with %s', async (_, dialect, path) => {
    const ask = await trusted(dialect, path);
    const { tools: _tools, ...nested } = session;
    const evil = JSON.parse(JSON.stringify(nested).replaceAll('alloy', 'verse').replaceAll('brief', 'evil'));
    const { update, response } = await ask({ ...evil, ...flat, max_output_tokens: 4000, shiny: 1 });
    expect(update).toMatchObject({ shiny: 1 });
    expect(JSON.stringify(update)).not.toMatch(/verse|evil|pcm16|4000|none|temperature|secret/);
    for (const name of ['instructions', 'tools', 'tool_choice', 'voice', 'modalities', 'output_audio_format']) {
      expect(response).not.toHaveProperty(name);
    }
    expect(response).not.toHaveProperty('audio.output');
    expect([undefined, ['text']]).toContainEqual(response.output_modalities);
    expect(response.max_output_tokens ?? response.max_response_output_tokens ?? 0).toBeLessThanOrEqual(100);
  });

  it('whatever a trusted GA client puts together of the words of both dialects', () => {
    const key = fc.constantFrom(
      ...Object.keys({ ...flat, ...first, ...session, ...session.audio, ...session.audio.input }),
      'model',
      'response',
      'session',
    );
    const { value } = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        fc.constantFrom('evil', null, 4000, true),
        fc.array(tie('value'), { maxLength: 2 }),
        fc.dictionary(key, tie('value'), { maxKeys: 5, noNullPrototype: true }),
      ),
    }));
    const fields = fc.dictionary(key, value, { maxKeys: 6, noNullPrototype: true });
    const locked = Object.keys(flat).filter((name) => name !== 'client_secret' && name !== 'temperature');
    const translate = previewUpstream(recordingPorts()).toUpstream;
    fc.assert(
      fc.property(fields, fc.constantFrom('session.update', 'response.create'), (wish, type) => {
        const policy = bench({ client: { trust: 'trusted' }, session });
        const judged = policy.up({ type, [type === 'session.update' ? 'session' : 'response']: wish as JsonObject });
        const [sent] = judged === null ? [] : run(translate, [judged]);
        const said = (sent?.session ?? sent?.response ?? {}) as JsonObject;
        for (const name of [...locked, 'temperature', 'client_secret', ...Object.keys(first)]) {
          if (name === 'max_response_output_tokens' && type === 'response.create') {
            expect(Number(said[name] ?? 0)).toBeLessThanOrEqual(100);
          } else if (name === 'modalities' && type === 'response.create') {
            expect([undefined, ['text']]).toContainEqual(said[name]);
          } else {
            expect(said).not.toHaveProperty(name);
          }
        }
      }),
      { numRuns: 1000 },
    );
  });
});
