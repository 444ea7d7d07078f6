import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { encodeUlaw } from '../../src/audio/g711.js';
import { resample } from '../../src/audio/resample.js';
import { readWav } from '../../src/audio/wav.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';
import { Caller, call, post } from './caller.js';

const hello = {
  type: 'conversation.item.create',
  item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Hello' }] },
};

const yaml = `
profiles:
  default:
    session:
      instructions: CANARY-INSTRUCTIONS for {{claims.sub}}
      audio: { input: { transcription: { model: gpt-realtime-whisper } }, output: { voice: marin } }
`;

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
    expect(
      caller.heard.flatMap((payload) => [...payload]).filter((byte) => byte < 0xf0 && byte !== 0x7f).length,
    ).toBeGreaterThan(100);
    expect(await relay.metric('relay_sessions_active')).toBe(1);
    await caller.close();
    const ended = await relay.logged('session.ended');
    expect(ended).toMatchObject({ reason: 'normal', initiator: 'upstream', transport: 'webrtc', turns: 1 });
    expect(await relay.logged('session.usage')).toMatchObject({ responses: 1, complete: true });
    expect(await relay.metric('relay_sessions_active')).toBe(0);
    expect(relay.log.filter(({ level }) => level === 'warn' || level === 'error')).toEqual([]);
  });

  it('carries speech: the user is heard, and answered in sound', async () => {
    const emulator = await startTestEmulator();
    const relay = await startTestRelay({ upstream: emulator.url });
    const { caller } = await call(relay);
    const { samples, sampleRate } = readWav(
      readFileSync(new URL('../../assets/speech/question-order.wav', import.meta.url)),
    );
    const speech = Buffer.concat([
      Buffer.from(encodeUlaw(resample(samples, sampleRate, 8000))),
      Buffer.alloc(8000, 0xff),
    ]);
    for (let at = 0; at + 160 <= speech.length; at += 160) {
      caller.speak(speech.subarray(at, at + 160));
      if (at % 3200 === 0) await new Promise(setImmediate);
    }
    await caller.event('input_audio_buffer.speech_started');
    await caller.event('input_audio_buffer.speech_stopped');
    await caller.event('output_audio_buffer.started');
    await caller.until(() => caller.heard.length > 5);
  });

  it('is configured by the profile, and shows the browser nothing of it', async () => {
    const deployments = { 'CANARY-DEPLOYMENT': { model: 'gpt-realtime', kind: 'realtime' } } as const;
    const emulator = await startTestEmulator({ deployments });
    const env = { AZURE_OPENAI_REALTIME_DEPLOYMENT: 'CANARY-DEPLOYMENT' };
    const relay = await startTestRelay({ upstream: emulator.url, yaml, env });
    const caller = await Caller.create();
    const form = new FormData();
    form.set('sdp', caller.offer);
    form.set('session', JSON.stringify({ type: 'realtime', instructions: 'mine', model: 'gpt-4o' }));
    const answer = await post(relay, form);
    expect(answer.status).toBe(201);
    expect(answer.headers.get('content-type')).toBe('application/sdp');
    const sdp = await answer.text();
    await caller.accept(sdp);
    await relay.logged('session.opened');
    expect(emulator.control.calls.records.minted).toMatchObject([
      {
        model: 'CANARY-DEPLOYMENT',
        instructions: 'CANARY-INSTRUCTIONS for alice',
        audio: { output: { voice: 'marin' } },
      },
    ]);
    caller.send(hello);
    caller.send({ type: 'response.create' });
    await caller.event('response.output_audio_transcript.done');
    const seen = [sdp, ...[...answer.headers].flat(), JSON.stringify(caller.events)].join('\n');
    expect(seen).not.toMatch(/CANARY|rtc_|ek_|emulator-key|sess_|Emulator|session\.(created|updated)/);
    expect(seen).not.toContain(new URL(emulator.url).host);
  });

  it('transcribes although upstream cannot mint a key for that', async () => {
    const emulator = await startTestEmulator();
    emulator.control.faults.arm('mint_transcription', 1);
    const relay = await startTestRelay({ upstream: emulator.url, yaml });
    await call(relay);
    await relay.logged('session.opened');
    const { minted } = emulator.control.calls.records;
    expect(minted.map(({ audio }) => 'transcription' in ((audio as { input?: object }).input ?? {}))).toEqual([
      true,
      false,
    ]);
    const [update] = emulator.control.received.events('session.update');
    expect(update?.body.session).toMatchObject({
      audio: { input: { transcription: { model: 'gpt-realtime-whisper' } } },
    });
    expect(await relay.metric('relay_call_violations_total')).toBe(0);
  });

  it('is attached to although upstream does not know it at first', async () => {
    const emulator = await startTestEmulator({ callHiddenTries: 3 });
    const relay = await startTestRelay({ upstream: emulator.url });
    await call(relay);
    await relay.logged('session.opened');
    expect(emulator.control.received.connections.map(({ refused }) => refused)).toEqual([404, 404, 404, null]);
  });

  it('is started with a client secret, once', async () => {
    const emulator = await startTestEmulator();
    const relay = await startTestRelay({ upstream: emulator.url, env: { RELAY_ALLOWED_ORIGINS: 'https://app.test' } });
    const minted = await fetch(`${relay.relay.url}/v1/realtime/client_secrets`, {
      method: 'POST',
      headers: { authorization: `Bearer ${relay.token()}` },
    });
    const { value } = (await minted.json()) as { value: string };
    // What @openai/agents-realtime sends.
    const headers = {
      authorization: `Bearer ${value}`,
      origin: 'https://app.test',
      'x-openai-agents-sdk': 'openai-agents-sdk.0.1',
    };
    const caller = await Caller.create();
    const answer = await post(relay, caller.offer, headers);
    expect(answer.status).toBe(201);
    expect(answer.headers.get('access-control-allow-origin')).toBe('https://app.test');
    expect(answer.headers.get('access-control-expose-headers')).toMatch(/\bLocation\b/);
    await caller.accept(await answer.text());
    expect((await post(relay, caller.offer, headers)).status).toBe(401);
  });
});
