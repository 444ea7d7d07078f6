import { describe, expect, it } from 'vitest';
import { faultNames } from '../../src/emulator/faults.js';
import { ofCalls, ofReplays, ofTools } from '../support/faults.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';
import { canaries } from './arena.js';

/** Those that a conversation does not meet by itself. */
const apart: readonly string[] = [...ofCalls, ...ofTools, ...ofReplays];

describe('an upstream that fails', () => {
  const limits = '{ dial_seconds: 0.4, configure_seconds: 0.4, stall_seconds: 0.4, buffer_bytes: 65536 }';
  // Those that never end by themselves are told apart: the session goes on.
  const noEvents = ['garbage', 'binary', 'array', 'huge'];
  const goesOn = ['mute', 'slow', 'flood', 'unknown_event', 'stop_reading', ...noEvents];

  it.each(faultNames.filter((name) => !apart.includes(name)))(
    'by %s is told in time, tells nothing, and hurts no other session',
    async (name) => {
      const emulator = await startTestEmulator();
      const { connect, token } = await startTestRelay({
        upstream: emulator.url,
        yaml: `limits: ${limits}\nprofiles: { default: { session: { instructions: ${canaries.instructions} } } }`,
        level: 'fatal',
      });
      const other = await connect({ token: token({ subject: 'other' }) });
      await other.next('session.created');
      emulator.control.faults.arm({
        fault: name,
        count: 2,
        delayMs: 20,
        bytes: name === 'flood' ? 1_000_000 : 33_000_000,
      });
      const client = await connect();
      client.send({ type: 'response.create', response: { output_modalities: ['audio'] } });
      if (goesOn.includes(name)) {
        client.send({
          type: 'conversation.item.create',
          item: { id: 'fence', type: 'message', role: 'user', content: [{ type: 'input_text', text: 'a' }] },
        });
        if (name === 'stop_reading') await client.next('session.created');
        else await client.next(({ item }) => (item as { id?: string } | undefined)?.id === 'fence');
      } else {
        const { code, reason } = await client.closed;
        expect([1001, 1011, 1013]).toContain(code);
        const last = client.events.at(-1);
        expect(last?.type).toBe('error');
        expect(last?.error).toMatchObject({ code: reason });
      }
      client.ws.terminate();
      const seen = client.raw.join('\n');
      const secrets = [
        canaries.instructions,
        'CANARY',
        'emulator-key',
        'gpt-realtime',
        `:${new URL(emulator.url).port}`,
        '127.0.0.1',
      ];
      for (const secret of secrets) expect(seen).not.toContain(secret);
      emulator.control.faults.clear();
      expect((await other.ask('Still there?')).status).toBe('completed');
    },
  );
});
