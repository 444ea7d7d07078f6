import { describe, expect, it, vi } from 'vitest';
import { holdTime } from '../support/clock.js';
import { end, endOf } from '../support/ends.js';
import { closing, connectRaw, frame, opcode, type RawClient } from '../support/raw.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { startUpstream } from '../support/upstream.js';

const clear = { type: 'input_audio_buffer.clear' };
const strict = 'profiles: { default: { limits: { events_burst: 1, events_per_second: 0.001 } } }';

/** Resolves once a session holds more than these bytes on their way up. */
async function holds(server: TestRelay, bytes: number): Promise<void> {
  await vi.waitFor(() => {
    expect([...server.relay.sessions][0]?.buffered.up).toBeGreaterThan(bytes);
  });
}

describe('a client that is held', () => {
  it('has its pings answered and its goodbye seen while there is no upstream yet', async () => {
    const emulator = await startTestEmulator();
    emulator.control.faults.arm('hang');
    const server = await startTestRelay({ upstream: emulator.url });
    const client = await connectRaw(server.address, server.token());
    for (let i = 0; i < 100; i++) client.send(clear);
    client.write(frame(opcode.ping, 'there?'));
    await client.frame((one) => one.opcode === opcode.pong && one.payload.toString() === 'there?');
    await holds(server, 3000);
    client.write(frame(opcode.close, closing(1000)));
    expect(await server.logged('session.ended')).toMatchObject({ reason: 'normal', initiator: 'client', eventsUp: 0 });
  });

  it.each([
    ['on', 1],
    ['off', 0],
  ])('is told once that it waits, after five seconds, with ?relay_events=%s', async (wish, times) => {
    const time = holdTime();
    const emulator = await startTestEmulator();
    const server = await startTestRelay({ upstream: emulator.url, yaml: strict });
    const client = await server.connect({ path: `/openai/v1/realtime?relay_events=${wish}` });
    await client.next('session.created');
    for (let i = 0; i < 3; i++) client.send(clear);
    await holds(server, 2 * JSON.stringify(clear).length);
    await time.live(4);
    expect(server.log.filter(({ msg }) => msg === 'session.held')).toEqual([]);
    await time.live(6);
    const line = { level: 'info', why: 'rate', heldSeconds: expect.any(Number) };
    expect(server.log.filter(({ msg }) => msg === 'session.held')).toEqual([expect.objectContaining(line)]);
    const told = client.events.filter(({ type }) => type === 'relay.held');
    const event = { type: 'relay.held', event_id: expect.any(String), why: 'rate', seconds: expect.any(Number) };
    expect(told).toEqual(Array(times).fill(event));
    for (const { seconds } of told) expect(Number(seconds)).toBeGreaterThanOrEqual(5);
  });
});

describe('an upstream that says goodbye before the client has read everything', () => {
  it('has said it all to a client that reads on', async () => {
    const upstream = await startUpstream();
    const server = await startTestRelay({ upstream: upstream.url, yaml: 'limits: { hold_bytes: 65536 }' });
    const client = await server.connect();
    await client.next('session.created');
    const { ws } = await upstream.connected();
    const response = { object: 'realtime.response', id: 'resp_1', status: 'in_progress', output: [], metadata: null };
    const item = { id: 'item_1', type: 'message', role: 'assistant', status: 'in_progress', content: [] };
    const about = { event_id: 'e', response_id: 'resp_1', output_index: 0 };
    ws.send(JSON.stringify({ type: 'response.created', event_id: 'e', response }));
    ws.send(JSON.stringify({ type: 'response.output_item.added', ...about, item }));
    client.ws.pause();
    const delta = Buffer.alloc(48_000).toString('base64');
    for (let i = 0; i < 200; i++) {
      ws.send(
        JSON.stringify({ type: 'response.output_audio.delta', ...about, item_id: 'item_1', content_index: 0, delta }),
      );
    }
    ws.close(1000);
    await vi.waitFor(() => expect([...server.relay.sessions][0]?.buffered.down).toBeGreaterThan(2 * 65_536));
    client.ws.resume();
    expect(await endOf(server, client)).toEqual(end('normal', 1000, 'upstream'));
    expect(client.types().filter((type) => type === 'response.output_audio.delta')).toHaveLength(200);
  });
});

describe('a client that is not heard', () => {
  async function silent(): Promise<{ server: TestRelay; client: RawClient; time: ReturnType<typeof holdTime> }> {
    const time = holdTime();
    const emulator = await startTestEmulator();
    const server = await startTestRelay({ upstream: emulator.url });
    const client = await connectRaw(server.address, server.token());
    await client.event('session.created');
    client.answersPings = false;
    await time.live(2);
    return { server, client, time };
  }
  const pings = ({ frames }: RawClient) => frames.filter((one) => one.opcode === opcode.ping).length;

  it('client_lost: is asked every twenty-five seconds, and given up after seventy-five', async () => {
    const { server, client, time } = await silent();
    const before = pings(client);
    await time.live(65);
    expect(server.relay.sessions.size).toBe(1);
    await vi.waitFor(() => expect(pings(client)).toBe(before + 2));
    await time.live(14);
    expect(await client.closed).toEqual({ code: 1001, reason: 'client_lost' });
    expect(client.events.map(({ type }) => type)).toEqual(['session.created']);
    expect(await server.logged('session.ended')).toMatchObject({ reason: 'client_lost', initiator: 'client' });
  });

  it('is not given up while a large event of it is still on its way', async () => {
    const { server, client, time } = await silent();
    const audio = Buffer.alloc(120_000).toString('base64');
    const whole = frame(opcode.text, JSON.stringify({ type: 'input_audio_buffer.append', audio }));
    for (let part = 0; part < 4; part++) {
      client.write(whole.subarray((part * whole.length) / 4, ((part + 1) * whole.length) / 4));
      await time.live(50);
      expect(server.relay.sessions.size).toBe(1);
    }
  });

  it('is not given up because the relay stood still', async () => {
    const { server, time } = await silent();
    for (let i = 0; i < 3; i++) await time.pass(120);
    expect(server.relay.sessions.size).toBe(1);
  });
});
