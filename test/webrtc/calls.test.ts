import { describe, expect, it } from 'vitest';
import { startTestEmulator, startTestRelay } from '../support/relay.js';
import { call } from './caller.js';

const hello = {
  type: 'conversation.item.create',
  item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Hello' }] },
};

describe('a call', () => {
  it('connects the browser to upstream, with the relay beside it', async () => {
    const emulator = await startTestEmulator();
    const relay = await startTestRelay({ upstream: emulator.url });
    const { caller, id } = await call(relay);
    expect(id).toMatch(/^call_[0-9a-f]{32}$/);
    const opened = await relay.logged('session.opened');
    expect(opened).toMatchObject({ subject: 'alice', transport: 'webrtc', upstream: 'default' });
    caller.send(hello);
    caller.send({ type: 'response.create' });
    const said = await caller.event('response.output_audio_transcript.done');
    expect(said.transcript).toBe('You said: Hello');
    await caller.until(() => caller.heard.length > 10);
    expect(caller.events.map(({ type }) => type)).not.toContain('session.created');
    expect(await relay.metric('relay_sessions_active')).toBe(1);
    await caller.close();
    const ended = await relay.logged('session.ended');
    expect(ended).toMatchObject({ reason: 'normal', initiator: 'upstream', transport: 'webrtc', turns: 1 });
    expect(await relay.logged('session.usage')).toMatchObject({ responses: 1, complete: true });
    expect(relay.log.filter(({ level }) => level === 'warn' || level === 'error')).toEqual([]);
  });
});
