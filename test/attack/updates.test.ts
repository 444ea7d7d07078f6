import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { arena, type Dialect, dialects, evil } from './arena.js';

const field = arena();
let cases = 0;
afterEach(async () => {
  if (++cases % 20 === 0) await field.honestTurn();
});
afterAll(() => field.honestTurn());

const tool = { type: 'function', name: evil, description: evil, parameters: {} };
const mcp = { type: 'mcp', server_label: evil, server_url: `https://${evil}.test`, require_approval: 'never' };

type Body = Record<string, unknown>;
type Row = readonly [name: string, event: Body];

/** Fields of a session that are the server's, in either dialect. */
const forbiddenSession: Row[] = [
  ['instructions', { instructions: evil }],
  ['instructions null', { instructions: null }],
  ['instructions empty', { instructions: '' }],
  ['instructions an array', { instructions: [evil] }],
  ['tools', { tools: [tool] }],
  ['no tools', { tools: [] }],
  ['an MCP server', { tools: [mcp] }],
  ['tool_choice', { tool_choice: { type: 'function', name: evil } }],
  ['tool_choice required', { tool_choice: 'required' }],
  ['a prompt', { prompt: { id: evil, variables: { a: evil } } }],
  ['a model', { model: evil }],
  ['tracing', { tracing: { workflow_name: evil } }],
  ['truncation', { truncation: 'disabled' }],
  ['include', { include: [evil] }],
  ['max_output_tokens', { max_output_tokens: 'inf' }],
  ['max_response_output_tokens', { max_response_output_tokens: 4096 }],
  ['reasoning', { reasoning: { effort: 'xhigh' } }],
  ['parallel_tool_calls', { parallel_tool_calls: true }],
  ['temperature', { temperature: 2 }],
  ['a client secret', { client_secret: { expires_after: { seconds: 1 }, value: evil } }],
  ['a voice', { audio: { output: { voice: evil } } }],
  ['a voice, flat', { voice: evil }],
  ['a transcription model', { audio: { input: { transcription: { model: evil } } } }],
  ['a transcription model, flat', { input_audio_transcription: { model: evil, prompt: evil } }],
  ['a locked field', { audio: { input: { noise_reduction: { type: 'near_field' } } } }],
  ['a locked field set to null', { audio: { input: { noise_reduction: null } } }],
  ['a locked field, flat', { input_audio_noise_reduction: { type: 'near_field' } }],
  ['another id', { id: evil, object: evil }],
  ['an end of its own', { expires_at: 9_999_999_999 }],
  ['unknown fields', { x: evil, [evil]: { instructions: evil } }],
  ['a session in a session', { session: { instructions: evil } }],
  ['instructions under audio', { audio: { instructions: evil, input: { instructions: evil }, extra: { a: evil } } }],
  ['fields named by path', { 'audio.input.format': evil, 'audio.output': { voice: evil } }],
  ['metadata', { metadata: { a: evil } }],
];

const may: Record<Dialect, Body> = {
  ga: { audio: { output: { speed: 1.1 } } },
  preview: { speed: 1.1 },
};

describe.each(dialects)('session.update of a %s client', (dialect) => {
  it.each(forbiddenSession)('with %s is acknowledged and goes nowhere', async (_, session) => {
    const victim = await field.victim(dialect);
    const { up, events, closed } = await victim.strike({ type: 'session.update', session });
    expect({ up, closed }).toEqual({ up: [], closed: null });
    expect(events.map(({ type }) => type)).toEqual(['session.updated']);
    expect(JSON.stringify(events)).not.toContain(evil);
  });

  it.each(forbiddenSession)('with %s beside what is allowed carries only that', async (_, session) => {
    const victim = await field.victim(dialect);
    const audio = { ...(session.audio as Body), ...(may[dialect].audio as Body) };
    const mixed = { ...session, ...may[dialect], ...(session.audio ? { audio } : {}) };
    const { up, events } = await victim.strike({ type: 'session.update', session: mixed });
    expect(up).toHaveLength(1);
    expect(JSON.parse(up[0] as string).session).toEqual({ type: 'realtime', audio: { output: { speed: 1.1 } } });
    expect(events.at(-1)?.type).toBe('session.updated');
  });

  it.each<Row>([
    ['no session', {}],
    ['a session that is null', { session: null }],
    ['a session that is text', { session: evil }],
    ['a session that is a list', { session: [{ instructions: evil }] }],
    ['a number', { session: 7 }],
  ])('with %s is refused', async (_, rest) => {
    const victim = await field.victim(dialect);
    const { up, errors } = await victim.strike({ type: 'session.update', instructions: evil, ...rest });
    expect(up).toEqual([]);
    expect(errors).toHaveLength(1);
  });

  const flat: Row[] = [
    ['a format that is none', { input_audio_format: evil }],
    ['a format that is an object', { output_audio_format: { type: evil } }],
    ['a speed beyond the range', { speed: 99 }],
    ['a speed that is text', { speed: '1' }],
    ['turn detection that is none', { turn_detection: { type: evil } }],
    ['turn detection that is text', { turn_detection: evil }],
    ['a threshold beyond the range', { turn_detection: { type: 'server_vad', threshold: 7 } }],
    ['modalities that are none', { modalities: [evil] }],
  ];
  const nested: Row[] = [
    ['another type of session', { type: 'transcription' }],
    ['a type that is none', { type: evil }],
    ['a type that is an object', { type: { a: 'realtime' } }],
    ['a format that is none', { audio: { input: { format: { type: evil } } } }],
    ['a format at another rate', { audio: { input: { format: { type: 'audio/pcm', rate: 8000 } } } }],
    ['a format that is text', { audio: { output: { format: evil } } }],
    ['a speed beyond the range', { audio: { output: { speed: 99 } } }],
    ['a speed that is text', { audio: { output: { speed: '1' } } }],
    ['turn detection that is none', { audio: { input: { turn_detection: { type: evil } } } }],
    [
      'silence without an end',
      { audio: { input: { turn_detection: { type: 'server_vad', silence_duration_ms: 1e9 } } } },
    ],
    ['modalities that are none', { output_modalities: [evil] }],
    ['two modalities', { output_modalities: ['text', 'audio'] }],
    ['modalities that are text', { output_modalities: 'text' }],
  ];
  it.each(dialect === 'ga' ? nested : flat)('with %s is refused', async (_, session) => {
    const victim = await field.victim(dialect);
    const { up, errors } = await victim.strike({ type: 'session.update', session: { instructions: evil, ...session } });
    expect(up).toEqual([]);
    expect(errors).toHaveLength(1);
    expect(errors[0]?.error).toMatchObject({ type: 'invalid_request_error', code: 'invalid_value' });
  });

  it('with unknown fields inside an allowed one carries the known ones', async () => {
    const victim = await field.victim(dialect);
    const turns = { type: 'server_vad', threshold: 0.4, instructions: evil, tools: [tool] };
    const session = dialect === 'ga' ? { audio: { input: { turn_detection: turns } } } : { turn_detection: turns };
    const { up } = await victim.strike({ type: 'session.update', session });
    expect(JSON.parse(up[0] as string).session.audio.input.turn_detection).toEqual({
      type: 'server_vad',
      threshold: 0.4,
    });
  });

  it('a hundred times at once is answered a hundred times', async () => {
    const victim = await field.victim(dialect);
    const updates = Array.from({ length: 100 }, () => ({
      type: 'session.update',
      session: { instructions: evil, ...may[dialect] },
    }));
    const { events } = await victim.strike(...updates);
    const answers = events.filter(({ type }) => type === 'session.updated' || type === 'error');
    expect(answers).toHaveLength(100);
  });
});
