import { describe, expect, it } from 'vitest';
import { expectNoCanary, talk } from '../support/continuity.js';
import { chance } from '../support/dice.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';
import { evil } from './arena.js';

const yaml = `profiles:
  default:
    session:
      instructions: CANARY-INSTRUCTIONS
      audio: { input: { transcription: { model: gpt-4o-transcribe } } }
      tools: [{ type: function, name: CANARY_tool, description: CANARY-DESCRIPTION, parameters: { type: object } }]
    tools: [{ name: client_tool, runs: client }]
    continuity: { enabled: true, words_bytes: 4096, re_anchor: CANARY-ANCHOR }
    limits: { events_per_second: 10000, events_burst: 10000, responses_per_second: 1000, responses_burst: 1000, refusals: 10000, audio_burst_seconds: 600 }
`;
const call = { name: 'CANARY_tool', arguments: { place: 'CANARY-ARGUMENTS' } };
const scripts = [
  { text: 'Certainly.' },
  { audio: true, text: 'Spoken.' },
  { functionCall: call },
  { functionCall: [call, { name: 'client_tool', arguments: { a: 1 } }] },
  { systemItem: 'CANARY-SYSTEM', text: 'Yes.' },
  { status: 'failed', reason: 'server_error' },
  { status: 'incomplete', reason: 'content_filter', text: 'It was a dark' },
] as const;

const item = (role: string, text: string) => ({
  type: 'conversation.item.create',
  item: { type: 'message', role, content: [{ type: 'input_text', text }] },
});

describe('a client that does as it likes while connections to upstream are lost', () => {
  it.each([1, 2, 3, 4])(
    'sees nothing of the server, changes nothing of it, and is answered in the end, seed %i',
    async (seed) => {
      const { random, pick } = chance(seed * 7919);
      const emulator = await startTestEmulator();
      const relay = await startTestRelay({ upstream: emulator.url, yaml });
      const client = await talk(relay);
      const { received, faults, script, clearScripts } = emulator.control;
      const ids = () => [
        'rly_anchor',
        'rly_history',
        ...client.events.flatMap(({ item: one }) => (one ? [(one as { id: string }).id] : [])),
      ];
      const anything = () => {
        const id = pick(ids());
        return pick<object>([
          item('user', 'Words.'),
          item('system', evil),
          { type: 'session.update', session: { type: 'realtime', instructions: evil, tools: [] } },
          { type: 'session.update', session: { type: 'realtime', audio: { output: { speed: 1.1 } } } },
          { type: 'conversation.item.retrieve', item_id: id },
          { type: 'conversation.item.delete', item_id: id },
          { type: 'conversation.item.truncate', item_id: id, content_index: 0, audio_end_ms: random(500) },
          { ...item('user', 'More words.'), previous_item_id: id },
          {
            type: 'conversation.item.create',
            item: { type: 'function_call_output', call_id: `call_${random(9)}`, output: evil },
          },
          { type: 'response.create', response: { metadata: { a: 'b' } } },
          { type: 'response.create', response: { conversation: 'none', instructions: evil } },
          { type: 'response.cancel' },
          { type: 'input_audio_buffer.append', audio: Buffer.alloc(4800, random(255)).toString('base64') },
          { type: 'input_audio_buffer.commit' },
          { type: 'input_audio_buffer.clear' },
        ]);
      };
      const losses = new Set([2 + random(3), 6 + random(3), 10 + random(3)]);
      for (let turn = 0; turn < 14; turn++) {
        clearScripts();
        script(...Array.from({ length: 20 }, () => pick(scripts)));
        const events = Array.from({ length: 8 }, anything);
        const at = random(8);
        for (const [index, event] of events.entries()) {
          client.send(event);
          if (index !== at || !losses.has(turn)) continue;
          await new Promise((resolve) => setTimeout(resolve, random(8)));
          faults.strike('die_mid_response');
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      clearScripts();
      await expect
        .poll(() => client.types().filter((type) => type === 'relay.upstream_replaced').length)
        .toBeGreaterThan(0);
      client.send({ type: 'response.cancel' });
      client.send(item('user', 'Are you still there?'));
      await expect
        .poll(
          () => {
            client.send({ type: 'response.create', response: { output_modalities: ['text'] } });
            return client.raw.some((text) => text.includes('You said: Are you still there?'));
          },
          { timeout: 8000, interval: 100 },
        )
        .toBe(true);
      expectNoCanary(client);
      expect(client.raw.join('\n')).not.toContain('rly_c');
      expect(JSON.stringify(received.events('session.update'))).not.toContain(evil);
      const told = received.events('conversation.item.create').map(({ body }) => body.item as { role?: string });
      expect(JSON.stringify(told.filter(({ role }) => role === 'system'))).not.toContain(evil);
      expect(relay.log.map((line) => JSON.stringify(line)).join('\n')).not.toMatch(/CANARY|EVIL_WORD|More words/);
    },
    30_000,
  );
});
