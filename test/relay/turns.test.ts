import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { closing, connectRaw, frame, opcode, type RawClient } from '../support/raw.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';
import { cutAll, type Stage, sockets, strikeBefore, strikes } from '../support/turns.js';

const { continuation, text, close, ping, pong } = opcode;
const clear = '{"type":"input_audio_buffer.clear"}';
const append = JSON.stringify({ type: 'input_audio_buffer.append', audio: Buffer.alloc(4800).toString('base64') });

/** Every second turn: all of them take as long as there is patience for here. */
const stride = 2;

let lives = 0;

/** A session's life with everything that a leg can be sent; it may end at any point of it. */
async function life({ server }: Stage): Promise<void> {
  let client: RawClient;
  try {
    // Each is somebody else: one user may not open so many so fast.
    client = await connectRaw(server.address, server.token({ subject: `user ${lives++}` }));
  } catch {
    return; // cut in the middle of the handshake
  }
  await Promise.race([client.event('session.created').then(() => talk(client)), client.closed]).catch(() => undefined);
  await client.closed;
}

async function talk(client: RawClient): Promise<void> {
  client.write(
    frame(text, append),
    frame(ping, 'p'),
    frame(text, clear.slice(0, 9), { fin: false }),
    frame(pong, 'unasked'),
    frame(continuation, clear.slice(9)),
    frame(text, append),
    frame(text, '{"type":"made.up"}'),
    // What stands behind a frame that is no event is what might be put off.
    ...Array.from({ length: 4 }, () => [frame(ping), frame(text, clear)]).flat(),
  );
  client.send({ type: 'response.create', response: { output_modalities: ['audio'] } });
  await client.event('response.done');
  client.write(frame(text, append), frame(ping), frame(close, closing(1000)));
}

describe('a session', () => {
  it.each(Object.entries(strikes))(
    'ends alone and whole at every turn at which %s',
    { timeout: 60_000 },
    async (_, aim) => {
      const errors: unknown[] = [];
      const note = (error: unknown) => void errors.push(error);
      process.on('uncaughtException', note);
      process.on('unhandledRejection', note);
      onTestFinished(() => {
        process.off('uncaughtException', note);
        process.off('unhandledRejection', note);
      });
      const emulator = await startTestEmulator();
      const server = await startTestRelay({ upstream: emulator.url, yaml: 'limits: { dial_seconds: 2 }' });
      const stage = { emulator, server };
      const other = await server.connect({ token: server.token({ subject: 'bob' }) });
      await other.next('session.created');
      const spared = new Set(
        [server.address, emulator.url].flatMap((url) => [...sockets(url, true), ...sockets(url, false)]),
      );

      const alone = () => vi.waitFor(() => expect(server.relay.sessions.size).toBe(1), { timeout: 8000, interval: 2 });
      const turns = strikeBefore(0, () => undefined);
      await life(stage);
      await alone();
      turns.stop();
      expect(turns.count).toBeGreaterThan(20);
      const opened = () => server.log.filter(({ msg }) => msg === 'session.ended').length;
      for (let number = 1; number <= turns.count; number += stride) {
        const before = opened();
        const strike = strikeBefore(number, () => {
          const [all, how] = aim(stage);
          cutAll(all, spared, how);
        });
        await life(stage);
        await alone();
        strike.stop();
        expect(opened() - before).toBeLessThanOrEqual(1);
        expect(errors).toEqual([]);
      }
      await emulator.control.received.waitFor(({ openCount }) => openCount === 1);
      expect(server.log.filter(({ reason }) => reason === 'internal')).toEqual([]);
      expect(await other.ask('do you notice?')).toMatchObject({ status: 'completed' });
    },
  );
});
