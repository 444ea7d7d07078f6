import { describe, expect, it, vi } from 'vitest';
import type { TestClient } from '../support/client.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';

const ga = '/openai/v1/realtime?model=x&relay_events=on';
const preview = '/openai/realtime?api-version=2025-04-01-preview&deployment=x&relay_events=on';
const type = 'relay.ignored_fields';

async function start(path: string, profile = '') {
  const emulator = await startTestEmulator();
  const relay = await startTestRelay({
    upstream: emulator.url,
    yaml: `profiles: { default: { session: { instructions: CANARY, max_output_tokens: 100, audio: { output: { voice: alloy } } } ${profile} } }`,
  });
  const client = await relay.connect({ path });
  await client.next('session.created');
  return { ...relay, client };
}

/** All that is told until the relay has answered a question that ignores nothing. */
async function toldBy(client: TestClient): Promise<unknown[]> {
  client.send({ type: 'conversation.item.retrieve', item_id: 'nothing' });
  await client.next('error');
  return client.events.filter((event) => event.type === type);
}

describe('relay.ignored_fields', () => {
  it('names what the profile did not let through of a session update, in the words of GA', async () => {
    const { client, metric } = await start(ga);
    client.send({
      type: 'session.update',
      event_id: 'mine',
      session: {
        type: 'realtime',
        instructions: 'evil',
        tools: [{ type: 'function', name: 'x' }],
        tracing: null,
        audio: { input: { transcription: { model: 'x' } }, output: { voice: 'verse', speed: 1.2 } },
        shiny: 1,
      },
    });
    expect(await client.next(type)).toEqual({
      type,
      event_id: 'mine',
      fields: [
        'session.instructions',
        'session.tools',
        'session.audio.input.transcription',
        'session.audio.output.voice',
        'session.shiny',
      ],
    });
    expect(await metric('relay_events_total', { type: 'session.update', decision: 'trimmed' })).toBe(1);
    expect(client.raw.join('')).not.toContain('CANARY');
  });

  it('names it in the words of preview for a preview client', async () => {
    const { client } = await start(preview);
    client.send({
      type: 'session.update',
      session: {
        voice: 'verse',
        instructions: 'evil',
        input_audio_transcription: { model: 'x' },
        turn_detection: null,
      },
    });
    const { fields, event_id } = await client.next(type);
    expect(event_id).toMatch(/^event_rly_/);
    expect(new Set(fields as string[])).toEqual(
      new Set(['session.voice', 'session.instructions', 'session.input_audio_transcription']),
    );
  });

  it.each([
    [
      'a response',
      { type: 'response.create', response: { instructions: 'evil', tool_choice: 'required' } },
      ['response.instructions', 'response.tool_choice'],
    ],
    [
      'a value that is cut',
      { type: 'response.create', response: { max_output_tokens: 4000 } },
      ['response.max_output_tokens'],
    ],
    [
      'an item',
      {
        type: 'conversation.item.create',
        item: {
          type: 'message',
          role: 'user',
          status: 'completed',
          content: [{ type: 'input_text', text: 'a', x: 1 }],
        },
      },
      ['item.status', 'item.content[0].x'],
    ],
    ['an event', { type: 'input_audio_buffer.clear', extra: true }, ['extra']],
    ['names that are none', { type: 'input_audio_buffer.clear', '<b>': 1, 'a b': 1 }, ['?', '?']],
  ])('names what is dropped of %s', async (_, event, fields) => {
    const { client } = await start(ga);
    client.send(event);
    expect(await client.next(type)).toMatchObject({ fields });
  });

  it('names twenty fields at most, once a second at most, and counts all', async () => {
    const { client, metric } = await start(ga);
    const many = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`field_${i}`, i]));
    for (let i = 0; i < 5; i++) client.send({ type: 'session.update', session: { type: 'realtime', ...many } });
    const told = (await toldBy(client)) as { fields: string[] }[];
    expect(told).toHaveLength(1);
    expect(told[0]?.fields).toHaveLength(20);
    expect(await metric('relay_events_total', { type: 'session.update', decision: 'trimmed' })).toBe(5);
    const now = performance.now();
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => now + 1100);
    client.send({ type: 'session.update', session: { type: 'realtime', again: 1 } });
    expect(
      await client.next(({ type: name, fields }) => name === type && String(fields) === 'session.again'),
    ).toBeTruthy();
    clock.mockRestore();
  });

  it('comes to a trusted client for what the profile has locked', async () => {
    const { client } = await start(ga, ', client: { trust: trusted }');
    client.send({ type: 'session.update', session: { type: 'realtime', instructions: 'evil', tool_choice: 'none' } });
    expect(await client.next(type)).toMatchObject({ fields: ['session.instructions'] });
  });

  it.each([
    [
      'nothing was dropped',
      ga,
      '',
      { type: 'session.update', session: { type: 'realtime', output_modalities: ['text'] } },
    ],
    ['the profile only reports', ga, ', client: { report_only: true }', { type: 'input_audio_buffer.clear', x: 1 }],
    ['nobody asked for it', ga.replace('&relay_events=on', ''), '', { type: 'input_audio_buffer.clear', x: 1 }],
    [
      'the event was refused',
      ga,
      '',
      { type: 'session.update', session: { type: 'transcription', instructions: 'x' } },
    ],
  ])('does not come when %s', async (_, path, profile, event) => {
    const { client } = await start(path, profile);
    client.send(event);
    expect(await toldBy(client)).toEqual([]);
  });
});
