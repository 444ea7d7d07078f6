import { describe, expect, it } from 'vitest';
import type { Emulator } from '../../src/emulator/emulator.js';
import type { Script } from '../../src/emulator/script.js';
import { Caller as Browser } from '../webrtc/caller.js';
import { Caller, emulate, type Seen } from './caller.js';
import {
  differences,
  type Event,
  isDelta,
  isTranscription,
  type Skeleton,
  skeletonNames,
  skeletonOf,
} from './skeleton.js';
import { appends, spoken } from './speech.js';

interface Item {
  readonly type: string;
  readonly name?: string;
  readonly arguments?: string;
  readonly content?: readonly { readonly type: string; readonly text?: string; readonly transcript?: string }[];
}

/** Scripts by which the emulator says what was said in the recording. */
function scriptsOf({ frames }: Skeleton): Script[] {
  return frames
    .filter(({ event }) => event.type === 'response.done')
    .map(({ event }) => {
      const { output } = event.response as { output: readonly Item[] };
      const said = output.find(({ type }) => type === 'message')?.content?.[0];
      const calls = output.filter(({ type }) => type === 'function_call');
      const text = said?.text ?? said?.transcript;
      return {
        ...(text !== undefined && { text }),
        ...(calls.length > 0 && {
          functionCall: calls.map(({ name = '', arguments: given = '' }) => ({ name, arguments: given })),
        }),
      };
    });
}

/** A client on the path of the recording: beside a call, or by itself. */
async function callerOf(skeleton: Skeleton, emulator: Emulator): Promise<Caller> {
  if (skeleton.name !== 'azure-sideband-text') {
    const model = skeleton.name.startsWith('openai') ? 'gpt-realtime-2.1' : 'gpt-realtime';
    return new Caller(emulator, `/openai/v1/realtime?model=${model}`);
  }
  const minted = await fetch(`${emulator.url}/openai/v1/realtime/client_secrets`, {
    method: 'POST',
    headers: { 'api-key': 'emulator-key' },
    body: JSON.stringify({ session: { type: 'realtime', model: 'gpt-realtime' } }),
  });
  const { value } = (await minted.json()) as { value: string };
  const browser = await Browser.create();
  const created = await fetch(`${emulator.url}/openai/v1/realtime/calls`, {
    method: 'POST',
    headers: { authorization: `Bearer ${value}`, 'content-type': 'application/sdp' },
    body: browser.offer,
  });
  await created.text();
  const id = created.headers.get('location')?.split('/').at(-1) ?? '';
  return new Caller(emulator, `/openai/v1/realtime?call_id=${id}`);
}

/** Sends what the recorded client sent, each when it did; resolves to what the emulator said. */
async function play(skeleton: Skeleton): Promise<Seen[]> {
  const emulator = await emulate({
    like: skeleton.name.startsWith('openai') ? 'openai' : 'azure',
    callHiddenTries: 0,
    speed: 50,
  });
  emulator.control.script(...scriptsOf(skeleton));
  const caller = await callerOf(skeleton, emulator);
  const last: Seen[] = [];
  let awaited: string | null = null;
  let hasSpoken = false;
  await new Promise((resolve) => caller.socket.once('open', resolve));
  for (const { from, event } of skeleton.frames) {
    if (from === 'service') {
      // Deltas come in any number, and transcripts at a moment of their own.
      if (!isDelta(event) && !isTranscription(event)) {
        if (awaited !== null) last.push(...(await caller.until(awaited)));
        awaited = event.type;
      }
      continue;
    }
    if (awaited !== null) last.push(...(await caller.until(awaited)));
    awaited = null;
    if (event.type !== 'input_audio_buffer.append') caller.send(sendable(event, last));
    else if (!hasSpoken) caller.send(...appends(spoken()));
    hasSpoken ||= event.type === 'input_audio_buffer.append';
  }
  if (awaited !== null) last.push(...(await caller.until(awaited)));
  return last;
}

/** A recorded event of the client, with the names of things as they are here. */
function sendable(event: Event, seen: readonly Seen[]): Event {
  const call = seen.findLast(({ item }) => (item as Item | undefined)?.type === 'function_call');
  const callId = (call?.item as { call_id?: string } | undefined)?.call_id ?? '';
  const text = JSON.stringify(event).replaceAll(/"\$call\d+"/g, JSON.stringify(callId));
  return JSON.parse(text.replaceAll('"$transcriber"', '"gpt-realtime-whisper"')) as Event;
}

describe('the emulator and a live service', () => {
  it.each(skeletonNames)('agree on %s: order, fields, kinds, settings, ids and padding', async (name) => {
    const skeleton = skeletonOf(name);
    const recorded = skeleton.frames.filter(({ from }) => from === 'service').map(({ event }) => event);
    const seen = await play(skeleton);
    const plain = (events: readonly Event[]) => events.filter((event) => !isDelta(event) && !isTranscription(event));
    expect(plain(seen).map(({ type }) => type)).toEqual(plain(recorded).map(({ type }) => type));

    const bound = new Map<string, string>();
    const faults = plain(recorded).flatMap((event, index) =>
      differences(event, plain(seen)[index], bound).map((fault) => `${index} ${event.type}${fault}`),
    );
    expect(faults).toEqual([]);
    for (const type of new Set(recorded.filter(isDelta).map((event) => event.type))) {
      const first = recorded.find((event) => event.type === type);
      const here = seen.filter((event) => event.type === type);
      expect(here.length, type).toBeGreaterThan(0);
      for (const event of here) expect(differences(first, event, new Map()), type).toEqual([]);
      if (first?.obfuscation === undefined) continue;
      for (const { delta, obfuscation } of here) expect(`${delta}${obfuscation}`).toHaveLength(16);
    }
    for (const event of seen) expect(event.event_id).toMatch(/^event_[0-9A-Za-z]{21}$/);
  });

  it('agree on when speech becomes words: not before the answer has begun, when the sound came in a burst', async () => {
    const seen = await play(skeletonOf('azure-spoken-turn'));
    const order = seen.map(({ type }) => type);
    const first = order.indexOf('conversation.item.input_audio_transcription.delta');
    expect(first).toBeGreaterThan(order.indexOf('response.created'));
    expect(order.indexOf('conversation.item.input_audio_transcription.completed')).toBeGreaterThan(first);
    const item = seen.find(({ type }) => type === 'input_audio_buffer.committed')?.item_id;
    const words = seen.filter(isTranscription);
    expect(words.every(({ item_id }) => item_id === item)).toBe(true);
    const told = words.filter(isDelta).map(({ delta }) => delta);
    expect(told.join('').trim()).toBe(words.at(-1)?.transcript);
    // The user's item is done without its words, and never done again.
    const done = seen.filter(
      ({ type, item: one }) => type === 'conversation.item.done' && (one as { id?: string }).id === item,
    );
    expect(done.map(({ item: one }) => (one as Item).content)).toEqual([[{ type: 'input_audio', transcript: null }]]);
  });

  it('agree on a call: its key, its answer, and one session id for both', async () => {
    const emulator = await emulate({ callHiddenTries: 0 });
    const minted = await fetch(`${emulator.url}/openai/v1/realtime/client_secrets`, {
      method: 'POST',
      headers: { 'api-key': 'emulator-key' },
      body: JSON.stringify({ session: { type: 'realtime', model: 'gpt-realtime' } }),
    });
    const key = (await minted.json()) as { value: string; expires_at: number; session: { id: string } };
    expect(Math.abs(key.expires_at - Date.now() / 1000 - 7200)).toBeLessThan(10);
    const browser = await Browser.create();
    const created = await fetch(`${emulator.url}/openai/v1/realtime/calls?webrtcfilter=on`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key.value}`, 'content-type': 'application/sdp' },
      body: browser.offer,
    });
    await created.text();
    expect(created.status).toBe(201);
    expect(created.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(created.headers.get('location')).toMatch(/^\/v1\/realtime\/calls\/rtc_[0-9a-f]{32}$/);
    const id = created.headers.get('location')?.split('/').at(-1);
    const caller = new Caller(emulator, `/openai/v1/realtime?call_id=${id}`);
    await new Promise((resolve) => caller.socket.once('open', resolve));
    caller.send({ type: 'session.update', session: { type: 'realtime' } });
    const [first] = await caller.until('session.updated');
    expect(first?.type).toBe('session.updated');
    expect(first?.session).toMatchObject({ id: key.session.id });
  });
});
