import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../src/protocol/event.js';
import { previewClient } from '../../src/protocol/translate/client-end.js';
import { previewUpstream } from '../../src/protocol/translate/upstream-end.js';
import { recordingPorts, run } from './fixtures/sequences.js';

const functionTool = { type: 'function', name: 'f', parameters: { type: 'object' } };
const vad = { type: 'server_vad', threshold: 0.4, create_response: false };

interface Row {
  readonly name: string;
  readonly preview: JsonObject;
  readonly ga: JsonObject;
  /** Where the row holds: an update a client sends (preview to GA, GA to preview), a session a service shows. */
  readonly holds?: readonly ('updateToGa' | 'updateToPreview' | 'shownToPreview' | 'shownToGa')[];
}

/** The session field map of the two dialects, a row for each field and value that differs. */
const rows: readonly Row[] = [
  {
    name: 'id, object, expires_at',
    preview: { id: 's', object: 'o', expires_at: 9 },
    ga: { id: 's', object: 'o', expires_at: 9 },
  },
  { name: 'model shown', preview: { model: 'm' }, ga: { model: 'm' }, holds: ['shownToPreview', 'shownToGa'] },
  { name: 'model in an update', preview: { model: 'm' }, ga: {}, holds: ['updateToGa'] },
  { name: 'model in a GA update', preview: {}, ga: { model: 'm' }, holds: ['updateToPreview'] },
  { name: 'modalities with audio', preview: { modalities: ['text', 'audio'] }, ga: { output_modalities: ['audio'] } },
  {
    name: 'modalities in any order',
    preview: { modalities: ['audio', 'text'] },
    ga: { output_modalities: ['audio'] },
    holds: ['updateToGa', 'shownToGa'],
  },
  {
    name: 'modalities of audio alone',
    preview: { modalities: ['audio'] },
    ga: { output_modalities: ['audio'] },
    holds: ['updateToGa', 'shownToGa'],
  },
  { name: 'modalities of text', preview: { modalities: ['text'] }, ga: { output_modalities: ['text'] } },
  { name: 'instructions', preview: { instructions: '' }, ga: { instructions: '' } },
  { name: 'voice', preview: { voice: 'alloy' }, ga: { audio: { output: { voice: 'alloy' } } } },
  {
    name: 'custom voice',
    preview: { voice: 'v1' },
    ga: { audio: { output: { voice: { id: 'v1' } } } },
    holds: ['shownToPreview'],
  },
  { name: 'speed', preview: { speed: 1.25 }, ga: { audio: { output: { speed: 1.25 } } } },
  {
    name: 'pcm16 input',
    preview: { input_audio_format: 'pcm16' },
    ga: { audio: { input: { format: { type: 'audio/pcm', rate: 24000 } } } },
  },
  {
    name: 'g711_ulaw input',
    preview: { input_audio_format: 'g711_ulaw' },
    ga: { audio: { input: { format: { type: 'audio/pcmu' } } } },
  },
  {
    name: 'g711_alaw input',
    preview: { input_audio_format: 'g711_alaw' },
    ga: { audio: { input: { format: { type: 'audio/pcma' } } } },
  },
  {
    name: 'pcm16 output',
    preview: { output_audio_format: 'pcm16' },
    ga: { audio: { output: { format: { type: 'audio/pcm', rate: 24000 } } } },
  },
  {
    name: 'g711_ulaw output',
    preview: { output_audio_format: 'g711_ulaw' },
    ga: { audio: { output: { format: { type: 'audio/pcmu' } } } },
  },
  {
    name: 'g711_alaw output',
    preview: { output_audio_format: 'g711_alaw' },
    ga: { audio: { output: { format: { type: 'audio/pcma' } } } },
  },
  {
    name: 'a format nobody knows',
    preview: { output_audio_format: 'toString' },
    ga: { audio: { output: { format: 'toString' } } },
  },
  {
    name: 'a rate preview does not mean',
    preview: { input_audio_format: { type: 'audio/pcm', rate: 16000 } },
    ga: { audio: { input: { format: { type: 'audio/pcm', rate: 16000 } } } },
    holds: ['updateToPreview', 'shownToPreview'],
  },
  {
    name: 'transcription off',
    preview: { input_audio_transcription: null },
    ga: { audio: { input: { transcription: null } } },
  },
  {
    name: 'transcription',
    preview: { input_audio_transcription: { model: 'm', language: 'en', prompt: 'p' } },
    ga: { audio: { input: { transcription: { model: 'm', language: 'en', prompt: 'p' } } } },
  },
  {
    name: 'GA transcription options',
    preview: { input_audio_transcription: { model: 'm' } },
    ga: { audio: { input: { transcription: { model: 'm', languages: ['en'], keywords: ['k'], delay: 'low' } } } },
    holds: ['updateToPreview', 'shownToPreview'],
  },
  {
    name: 'noise reduction off',
    preview: { input_audio_noise_reduction: null },
    ga: { audio: { input: { noise_reduction: null } } },
  },
  {
    name: 'noise reduction',
    preview: { input_audio_noise_reduction: { type: 'near_field' } },
    ga: { audio: { input: { noise_reduction: { type: 'near_field' } } } },
  },
  {
    name: 'strength of noise reduction',
    preview: { input_audio_noise_reduction: { type: 'near_field' } },
    ga: { audio: { input: { noise_reduction: { type: 'near_field', strength: 0.5 } } } },
    holds: ['updateToPreview', 'shownToPreview'],
  },
  { name: 'turn detection off', preview: { turn_detection: null }, ga: { audio: { input: { turn_detection: null } } } },
  {
    name: 'turn detection none',
    preview: { turn_detection: { type: 'none' } },
    ga: { audio: { input: { turn_detection: null } } },
    holds: ['updateToGa', 'shownToGa'],
  },
  {
    name: 'turn detection',
    preview: { turn_detection: vad },
    ga: { audio: { input: { turn_detection: vad } } },
    holds: ['updateToGa', 'updateToPreview', 'shownToPreview'],
  },
  {
    name: 'idle time-out',
    preview: { turn_detection: vad },
    ga: { audio: { input: { turn_detection: { ...vad, idle_timeout_ms: null } } } },
    holds: ['updateToPreview', 'shownToPreview', 'shownToGa'],
  },
  {
    name: 'semantic turn detection',
    preview: { turn_detection: { type: 'semantic_vad', eagerness: 'low' } },
    ga: { audio: { input: { turn_detection: { type: 'semantic_vad', eagerness: 'low' } } } },
  },
  { name: 'function tools', preview: { tools: [functionTool] }, ga: { tools: [functionTool] } },
  {
    name: 'nested function tools',
    preview: { tools: [{ type: 'function', function: { name: 'f', parameters: { type: 'object' } } }] },
    ga: { tools: [functionTool] },
    holds: ['updateToGa', 'shownToGa'],
  },
  {
    name: 'MCP tools',
    preview: { tools: [functionTool] },
    ga: { tools: [{ type: 'mcp', server_label: 'x' }, functionTool] },
    holds: ['shownToPreview'],
  },
  { name: 'tool_choice word', preview: { tool_choice: 'required' }, ga: { tool_choice: 'required' } },
  {
    name: 'tool_choice function',
    preview: { tool_choice: { type: 'function', name: 'f' } },
    ga: { tool_choice: { type: 'function', name: 'f' } },
  },
  {
    name: 'nested tool_choice function',
    preview: { tool_choice: { type: 'function', function: { name: 'f' } } },
    ga: { tool_choice: { type: 'function', name: 'f' } },
    holds: ['updateToGa', 'shownToGa'],
  },
  {
    name: 'tool_choice MCP',
    preview: { tool_choice: 'auto' },
    ga: { tool_choice: { type: 'mcp', server_label: 'x' } },
    holds: ['shownToPreview'],
  },
  { name: 'output tokens', preview: { max_response_output_tokens: 'inf' }, ga: { max_output_tokens: 'inf' } },
  { name: 'temperature', preview: { temperature: 0.8 }, ga: {}, holds: ['updateToGa', 'shownToGa'] },
  { name: 'tracing', preview: { tracing: null }, ga: { tracing: null } },
  { name: 'include', preview: { include: ['x'] }, ga: { include: ['x'] } },
  {
    name: 'prompt',
    preview: { prompt: { id: 'p' } },
    ga: { prompt: { id: 'p' } },
    holds: ['updateToGa', 'shownToPreview', 'shownToGa'],
  },
  {
    name: 'no prompt',
    preview: { prompt: null },
    ga: { prompt: null },
    holds: ['updateToGa', 'shownToPreview', 'shownToGa'],
  },
  { name: 'no prompt in a GA update', preview: {}, ga: { prompt: null }, holds: ['updateToPreview'] },
  { name: 'client_secret', preview: { client_secret: { value: 'ek_1' } }, ga: {}, holds: ['updateToGa', 'shownToGa'] },
  {
    name: 'what only GA has',
    preview: {},
    ga: { truncation: 'disabled', reasoning: { effort: 'low' }, parallel_tool_calls: true },
    holds: ['shownToPreview'],
  },
  {
    name: 'what only GA has, but changes nothing',
    preview: {},
    ga: { truncation: 'auto', reasoning: null, parallel_tool_calls: null },
    holds: ['updateToPreview', 'shownToPreview'],
  },
  { name: 'fields nobody knows', preview: { shiny: { a: null } }, ga: { shiny: { a: null } } },
  {
    name: 'deep fields nobody knows',
    preview: { audio: { input: { shiny: 1 } }, voice: 'echo' },
    ga: { audio: { input: { shiny: 1 }, output: { voice: 'echo' } } },
  },
  { name: 'nothing', preview: {}, ga: {} },
  {
    name: 'empty parents',
    preview: {},
    ga: { audio: { input: {}, output: {} } },
    holds: ['updateToPreview', 'shownToPreview'],
  },
];

const holding = (where: NonNullable<Row['holds']>[number]) =>
  rows.filter(({ holds }) => holds === undefined || holds.includes(where));

describe('session fields', () => {
  it.each(holding('updateToGa'))('$name of a preview update becomes GA', ({ preview, ga }) => {
    const { fromClient } = previewClient(recordingPorts());
    const [sent] = run(fromClient, [{ type: 'session.update', event_id: 'e', session: preview }]);
    expect(sent).toStrictEqual({ type: 'session.update', event_id: 'e', session: { type: 'realtime', ...ga } });
  });

  it.each(holding('updateToPreview'))('$name of a GA update becomes preview', ({ preview, ga }) => {
    const { toUpstream } = previewUpstream(recordingPorts());
    const [sent] = run(toUpstream, [{ type: 'session.update', event_id: 'e', session: { type: 'realtime', ...ga } }]);
    expect(sent).toStrictEqual({ type: 'session.update', event_id: 'e', session: preview });
  });

  it.each(holding('shownToPreview'))('$name of a GA session is shown as preview', ({ preview, ga }) => {
    const { toClient } = previewClient(recordingPorts());
    const [shown] = run(toClient, [{ type: 'session.updated', event_id: 'e', session: { type: 'realtime', ...ga } }]);
    const session = { ...preview, temperature: 0.8, client_secret: null };
    expect(shown).toStrictEqual({ type: 'session.updated', event_id: 'e', session });
  });

  it.each(holding('shownToGa'))('$name of a preview session is shown as GA', ({ preview, ga }) => {
    const { fromUpstream } = previewUpstream(recordingPorts());
    const [shown] = run(fromUpstream, [{ type: 'session.updated', event_id: 'e', session: preview }]);
    expect(shown).toMatchObject({ type: 'session.updated', event_id: 'e', session: ga });
    expect(shown?.session).not.toHaveProperty('temperature');
    expect(shown?.session).not.toHaveProperty('client_secret');
  });
});

describe('a GA client', () => {
  it('sees a complete session of a preview service that says little', () => {
    const { fromUpstream } = previewUpstream(recordingPorts());
    const [shown] = run(fromUpstream, [
      { type: 'session.created', event_id: 'e', session: { id: 's', voice: 'echo' } },
    ]);
    expect(shown?.session).toStrictEqual({
      type: 'realtime',
      id: 's',
      object: 'realtime.session',
      output_modalities: ['audio'],
      tools: [],
      tool_choice: 'auto',
      max_output_tokens: 'inf',
      tracing: null,
      truncation: 'auto',
      prompt: null,
      include: null,
      audio: {
        input: { format: { type: 'audio/pcm', rate: 24000 }, transcription: null, noise_reduction: null },
        output: { format: { type: 'audio/pcm', rate: 24000 }, voice: 'echo', speed: 1 },
      },
    });
  });
});

describe('a preview client', () => {
  it('never sees a live client secret', () => {
    const { toClient } = previewClient(recordingPorts());
    const session = { type: 'transcription', client_secret: { value: 'ek_1' } };
    const [shown] = run(toClient, [{ type: 'session.created', session }]);
    expect(shown).toStrictEqual({ type: 'transcription_session.created', session: { client_secret: null } });
  });

  it('is shown the temperature it last set, for the session and for one response', () => {
    const { fromClient, toClient } = previewClient(recordingPorts());
    const temperatures = (...bodies: JsonObject[]) =>
      run(toClient, bodies).map((body) => ((body.session ?? body.response) as JsonObject).temperature);
    const created = { type: 'response.created', response: { id: 'r1' } };
    const done = { type: 'response.done', response: { id: 'r1' } };

    expect(temperatures({ type: 'session.updated', session: {} }, created, done)).toEqual([0.8, 0.8, 0.8]);
    run(fromClient, [{ type: 'session.update', session: { temperature: 0.7 } }]);
    expect(temperatures({ type: 'session.updated', session: {} }, created, done)).toEqual([0.7, 0.7, 0.7]);
    run(fromClient, [{ type: 'response.create', response: { temperature: 1.1 } }]);
    expect(temperatures(created, done, { ...created, response: { id: 'r2' } })).toEqual([1.1, 1.1, 0.7]);
  });

  it('is not shown the temperature of a response that was refused', () => {
    const { fromClient, toClient } = previewClient(recordingPorts());
    run(fromClient, [{ type: 'response.create', event_id: 'c1', response: { temperature: 1.1 } }]);
    run(toClient, [{ type: 'error', error: { event_id: 'c1' } }]);
    const [shown] = run(toClient, [{ type: 'response.created', response: { id: 'r1' } }]);
    expect(shown?.response).toEqual({ id: 'r1', temperature: 0.8 });
  });

  it('is shown the temperature of a response after an error about something else', () => {
    const { fromClient, toClient } = previewClient(recordingPorts());
    run(fromClient, [{ type: 'response.create', event_id: 'c1', response: { temperature: 1.1 } }]);
    run(toClient, [{ type: 'error', error: { event_id: 'c0' } }]);
    const [shown] = run(toClient, [{ type: 'response.created', response: { id: 'r1' } }]);
    expect(shown?.response).toEqual({ id: 'r1', temperature: 1.1 });
  });
});
