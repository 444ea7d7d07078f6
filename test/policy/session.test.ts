import { describe, expect, it } from 'vitest';
import { publicSession } from '../../src/policy/policy.js';
import { defaultMayUpdate, profileSchema } from '../../src/policy/profile.js';
import { renderSession, renderText } from '../../src/policy/render.js';
import { bench, effective, profileOf } from './bench.js';

const options = { id: 'sess_relay', model: 'public-model', expiresAt: 1_795_341_600 };

describe('the session a client sees', () => {
  it('has the fields of its own and nothing of the server', () => {
    expect(publicSession(effective({ unknown: 'secret' }), options)).toEqual({
      type: 'realtime',
      object: 'realtime.session',
      id: 'sess_relay',
      model: 'public-model',
      output_modalities: ['audio'],
      instructions: '',
      tools: [],
      tool_choice: 'auto',
      max_output_tokens: 'inf',
      tracing: null,
      truncation: 'auto',
      prompt: null,
      include: null,
      expires_at: 1_795_341_600,
      audio: {
        input: {
          format: { type: 'audio/pcm', rate: 24000 },
          transcription: null,
          noise_reduction: null,
          turn_detection: { type: 'server_vad', threshold: 0.5, create_response: true },
        },
        output: { format: { type: 'audio/pcm', rate: 24000 }, voice: 'marin', speed: 1 },
      },
    });
  });

  it('has the defaults of GA where nothing is known yet', () => {
    const session = publicSession(
      renderSession(profileOf({ session: { audio: { output: { voice: 'cedar' } } } }), {}),
      {
        ...options,
        expiresAt: 0,
      },
    );
    expect(session).toMatchObject({
      type: 'realtime',
      expires_at: 0,
      output_modalities: ['audio'],
      audio: {
        input: {
          format: { type: 'audio/pcm', rate: 24000 },
          noise_reduction: null,
          turn_detection: { type: 'server_vad' },
        },
        output: { format: { type: 'audio/pcm', rate: 24000 }, voice: 'cedar', speed: 1 },
      },
    });
  });

  it('keeps turn detection off where it is off', () => {
    const audio = { input: { turn_detection: null, noise_reduction: { type: 'near_field' } } };
    expect(publicSession(effective({ audio }), options)).toMatchObject({ audio });
  });

  it.each([{}, { audio: null }, { audio: [] }, { audio: { input: 'x', output: 5 } }, { output_modalities: 'x' }])(
    'is whole whatever upstream says: %j',
    (fields) => {
      expect(publicSession(fields, options)).toMatchObject({
        audio: { input: { format: {} }, output: { voice: 'alloy' } },
      });
    },
  );

  it('of transcription has no voice, model or transcriber', () => {
    const session = publicSession(effective({ type: 'transcription' }), options);
    expect(session).toMatchObject({
      type: 'transcription',
      object: 'realtime.transcription_session',
      id: 'sess_relay',
    });
    expect(Object.keys(session)).toEqual(['type', 'object', 'id', 'expires_at', 'include', 'audio']);
    expect(JSON.stringify(session)).not.toContain('secret');
  });

  it('is that of session.created', () => {
    expect(bench().policy.sessionCreated(effective(), 'sess_relay', 1_795_341_600)).toEqual(
      publicSession(effective(), options),
    );
  });
});

describe('a profile rendered for a user', () => {
  const render = (instructions: string, claims: Record<string, unknown>): unknown =>
    renderSession(profileOf({ session: { instructions } }), claims).instructions;

  const rendered: [string, string, Record<string, unknown>, string][] = [
    ['a name', 'Help {{claims.name}}.', { name: 'Ada' }, 'Help Ada.'],
    ['a name with blanks inside', 'Help {{  claims.name  }}.', { name: 'Ada' }, 'Help Ada.'],
    ['a name twice', '{{claims.name}} {{claims.name}}', { name: 'Ada' }, 'Ada Ada'],
    ['a path', '{{claims.address.city}}', { address: { city: 'Oslo' } }, 'Oslo'],
    ['a claim named by URL', '{{claims.https://a.test/name}}', { 'https://a.test/name': 'Ada' }, 'Ada'],
    ['a number', '{{claims.age}}', { age: 36 }, '36'],
    ['zero', '{{claims.age}}', { age: 0 }, '0'],
    ['a boolean', '{{claims.vip}}', { vip: false }, 'false'],
    ['a missing claim', '[{{claims.name}}]', {}, '[]'],
    ['null', '[{{claims.name}}]', { name: null }, '[]'],
    ['an object', '[{{claims.name}}]', { name: { a: 1 } }, '[]'],
    ['a list', '[{{claims.name}}]', { name: ['a'] }, '[]'],
    ['what every object has', '[{{claims.constructor.name}}{{claims.toString}}{{claims.__proto__}}]', {}, '[]'],
    ['the length of a string', '[{{claims.name.length}}]', { name: 'Ada' }, '[]'],
    ['a placeholder in a claim', '{{claims.name}}', { name: '{{claims.secret}}', secret: 'x' }, '{{claims.secret}}'],
    ['a pattern of replace', '{{claims.name}}!', { name: "$&$1$'$`" }, "$&$1$'$`!"],
    ['line breaks in a claim', '{{claims.name}}', { name: 'A\nB\r\u0000C\u2028D\u0085E\u007f' }, 'ABCDE'],
    ['other braces', '{{name}} {claims.name} {{ claims }}', { name: 'Ada' }, '{{name}} {claims.name} {{ claims }}'],
    ['a long claim', '{{claims.name}}', { name: 'x'.repeat(1000) }, 'x'.repeat(256)],
    ['a long claim of emoji', '{{claims.name}}', { name: '😀'.repeat(300) }, '😀'.repeat(256)],
  ];
  it.each(rendered)('has %s filled in', (_, instructions, claims, expected) => {
    expect(render(instructions, claims)).toBe(expected);
  });

  it('has every string filled in, however deep', () => {
    const session = {
      tools: [
        { type: 'mcp', server_label: 's', authorization: 'Bearer {{claims.t}}', headers: { a: ['{{claims.t}}'] } },
      ],
      prompt: { id: 'p', variables: { name: '{{claims.t}}' } },
      audio: { output: { voice: '{{claims.t}}' } },
    };
    expect(renderSession(profileOf({ session }), { t: 'T' })).toEqual({
      type: 'realtime',
      tools: [{ type: 'mcp', server_label: 's', authorization: 'Bearer T', headers: { a: ['T'] } }],
      prompt: { id: 'p', variables: { name: 'T' } },
      audio: { output: { voice: 'T' } },
    });
  });

  it('has the tools of the client after those of the server', () => {
    const profile = profileOf({
      session: { tools: [{ type: 'function', name: 'server_tool' }] },
      tools: [
        { name: 'open_door', description: 'Opens', parameters: { type: 'object' }, runs: 'client' },
        { name: 'b', runs: 'client' },
      ],
    });
    expect(renderSession(profile, {}).tools).toEqual([
      { type: 'function', name: 'server_tool' },
      { type: 'function', name: 'open_door', description: 'Opens', parameters: { type: 'object' } },
      { type: 'function', name: 'b' },
    ]);
  });

  it('is filled in like any other text of the profile', () => {
    expect(renderText('A moment, {{claims.name}}{{claims.none}}.', { name: 'Ada\n' })).toBe('A moment, Ada.');
  });

  it('leaves the profile as it is', () => {
    const profile = profileOf({ session: { instructions: '{{claims.name}}' } });
    renderSession(profile, { name: 'Ada' });
    expect(profile.session.instructions).toBe('{{claims.name}}');
  });
});

it('tells the list of the operator from the default one', () => {
  expect(profileOf().client.may_update).toBeUndefined();
  expect(defaultMayUpdate).toContain('audio.input.turn_detection');
  expect(defaultMayUpdate).not.toContain('audio.output.voice');
});

describe('a transcription profile', () => {
  const audio = { input: { transcription: { model: 'whisper' } } };

  it('lets a client set its input and ask for nothing that upstream would refuse', () => {
    const session = bench({ session: { type: 'transcription', audio } });
    const output = { audio: { input: { noise_reduction: { type: 'near_field' } }, output: { speed: 1.2 } } };
    expect(session.up({ type: 'session.update', session: { type: 'transcription', ...output } })).toMatchObject({
      session: { type: 'transcription', audio: { input: { noise_reduction: { type: 'near_field' } } } },
    });
    expect(session.up({ type: 'response.create' })).toBeNull();
    expect(session.refusals.at(-1)).toMatchObject({ code: 'event_not_allowed' });
  });

  it.each([
    ['without a model', { session: { type: 'transcription' } }, 'session.audio.input.transcription.model'],
    ['with instructions', { session: { type: 'transcription', audio, instructions: 'x' } }, 'session.instructions'],
    ['with output', { session: { type: 'transcription', audio: { ...audio, output: {} } } }, 'session.audio.output'],
    ['with tools', { session: { type: 'transcription', audio }, tools: [{ name: 'a', runs: 'client' }] }, 'tools'],
  ])('is a configuration problem %s', (_, profile, path) => {
    const { error } = profileSchema.safeParse(profile);
    expect(error?.issues.map((issue) => issue.path.join('.'))).toContain(path);
  });

  it('is a problem of any profile when two places name one tool', () => {
    const tools = { session: { tools: [{ type: 'function', name: 'a' }] }, tools: [{ name: 'a', runs: 'client' }] };
    expect(profileSchema.safeParse(tools).error?.issues[0]?.message).toContain('session.tools');
  });
});
