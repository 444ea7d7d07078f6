import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { TestClient } from '../support/client.js';
import { say, startToolRelay, type ToolRelay } from '../support/tools.js';
import { cutAll, sockets, strikeBefore, strikes } from '../support/turns.js';

/** Every twelfth turn: the others look much the same. */
const stride = 12;

let lives = 0;

/** A session whose tools are called, fail and are answered; it may end at any point of it. */
async function life(test: ToolRelay): Promise<void> {
  let client: TestClient;
  try {
    client = await test.connect({ token: test.token({ subject: `user ${lives++}` }) });
  } catch {
    return; // cut in the middle of the handshake
  }
  await client
    .next('session.created')
    .then(async () => {
      const content = [{ type: 'input_text', text: 'go' }];
      client.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
      client.send({ type: 'response.create', response: { output_modalities: ['text'] } });
      await client.next('response.done');
      await client.next('response.done');
    })
    .catch(() => undefined);
  client.ws.close();
  await client.closed;
}

describe('a session whose tools run', () => {
  it.each(Object.entries(strikes))(
    'ends alone and whole at every turn at which %s',
    { timeout: 60_000 },
    async (_, aim) => {
      const errors: unknown[] = [];
      const note = (error: unknown) => errors.push(error);
      process.on('uncaughtException', note);
      process.on('unhandledRejection', note);
      onTestFinished(() => {
        process.off('uncaughtException', note);
        process.off('unhandledRejection', note);
      });
      const test = await startToolRelay(
        ({ name }, response) => (name === 'broken' ? response.destroy() : say(response, 'found')),
        { tools: { lookup: '', broken: '' }, limits: 'tools_at_once: 8', profile: 'limits: { connects_burst: 1000 }' },
      );
      test.emulator.control.script({
        when: 'go',
        text: 'One moment.',
        functionCall: [{ name: 'lookup' }, { name: 'broken' }, { name: 'unlisted' }],
      });
      const stage = { emulator: test.emulator, server: test };
      const other = await test.connect({ token: test.token({ subject: 'bob' }) });
      await other.next('session.created');
      const ends = [test.address, test.emulator.url];
      const spared = new Set(ends.flatMap((url) => [...sockets(url, true), ...sockets(url, false)]));
      const alone = () => vi.waitFor(() => expect(test.relay.sessions.size).toBe(1), { timeout: 8000, interval: 2 });

      const turns = strikeBefore(0, () => undefined);
      await life(test);
      await alone();
      turns.stop();
      expect(test.outputs()).toHaveLength(3);
      expect(turns.count).toBeGreaterThan(40);
      for (let number = 1; number <= turns.count; number += stride) {
        const strike = strikeBefore(number, () => {
          const [all, how] = aim(stage);
          cutAll(all, spared, how);
        });
        await life(test);
        await alone();
        strike.stop();
        expect(errors).toEqual([]);
      }
      expect(test.log.filter(({ reason }) => reason === 'internal')).toEqual([]);
      expect(await other.ask('lookup')).toMatchObject({ status: 'completed' });
      // Had places been kept, there would be none for it.
      await vi.waitFor(() =>
        expect(test.log.findLast(({ msg }) => msg === 'tool.called')).toMatchObject({ outcome: 'ok' }),
      );
    },
  );
});
