import { describe, expect, it } from 'vitest';
import { encodeUlaw } from '../../src/audio/g711.js';
import type { JsonObject } from '../../src/protocol/event.js';
import type { Session } from '../../src/session/session.js';
import { appends, silence, tone } from '../emulator/speech.js';
import type { TestClient } from '../support/client.js';
import { dice } from '../support/dice.js';
import type { TestRelay } from '../support/relay.js';
import { following } from '../support/sideband.js';
import { say, startToolRelay } from '../support/tools.js';
import { type Caller, call } from '../webrtc/caller.js';

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const steps = 60;
const turn = appends(Buffer.concat([silence(300), tone(400, -18), silence(800)]));
const typed = (text: string) => ({
  type: 'conversation.item.create',
  item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
});
const ask = { type: 'response.create' };
const texts = { type: 'response.create', response: { output_modalities: ['text'] } };
const detection = (turn_detection: object | null) => ({
  type: 'session.update',
  session: { type: 'realtime', audio: { input: { turn_detection } } },
});

interface Backend {
  readonly subject: string;
  /** Of the token it has now. */
  jti: string;
}

/** Takes over, gives back, and asks for answers. */
function backends(relay: TestRelay, id: string) {
  let tokens = 0;
  const tokenOf = ({ subject, jti }: Backend, scope = 'relay.sessions.write') =>
    relay.token({ subject, claims: { scope, jti } });
  const post = async (path: string, body: object, token: string) => {
    const reply = await fetch(`${relay.relay.url}/v1/relay/${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body: JSON.stringify(body),
    });
    return { status: reply.status, body: (await reply.json()) as Record<string, unknown> };
  };
  const made = (subject: string): Backend => ({ subject, jti: `${subject}-${id}-${++tokens}` });
  return {
    all: [made('anna'), made('bert')] as const,
    takeOver: (who: Backend, body: object) => post(`sessions/${id}/takeover`, body, tokenOf(who)),
    ask: (who: Backend) => post(`sessions/${id}/events`, texts, tokenOf(who)),
    /** Its token is withdrawn, and it gets another one. */
    async dies(who: Backend) {
      const admin = relay.token({ subject: 'admin', claims: { scope: 'relay.revoke' } });
      await post('revocations', { jti: who.jti }, admin);
      who.jti = made(who.subject).jti;
    },
  };
}

async function opened(dialect: 'ga' | 'preview', random: (below: number) => number, speed: number, rttMs = 0) {
  const test = await startToolRelay((_, response) => void setTimeout(() => say(response, 'found'), random(60)), {
    tools: { lookup: '' },
    dialect,
    speed,
    rttMs,
    profile: `webrtc: { tools: exposed }
    limits: { audio_burst_seconds: 600, responses_per_second: 1000, responses_burst: 1000, refusals: 1000, tool_calls_per_minute: 1000 }`,
  });
  test.emulator.control.script({ when: 'look', functionCall: { name: 'lookup' } });
  return test;
}

function speak(client: TestClient): void {
  for (const event of turn) client.send(event);
}

/** What a client may do at any moment. */
const moves: readonly ((client: TestClient, random: (below: number) => number) => void)[] = [
  speak,
  speak,
  (client) => {
    client.send(typed('Hello'));
    client.send(ask);
  },
  (client) => {
    client.send(typed('look'));
    client.send(texts);
  },
  (client) => client.send(typed('Anybody there?')),
  (client) => client.send(ask),
  (client) => client.send(texts),
  (client) => client.send({ type: 'response.cancel' }),
  (client) => client.send({ type: 'input_audio_buffer.clear' }),
  (client, random) => {
    const create_response = [true, false, undefined][random(3)];
    client.send(detection({ type: 'server_vad', threshold: 0.3 + random(4) / 10, create_response }));
  },
  (client, random) => client.send(detection(random(2) === 0 ? null : { type: 'semantic_vad', eagerness: 'high' })),
  (client) => client.send(detection({ type: 'server_vad', threshold: 7 })),
];

/**
 * What the client heard of answers between being told that the session is taken over, and that it is given back, beyond one for
 * each time that a backend had asked by then; `asks` is where in the client's events these times were.
 */
function slipped(client: TestClient, asks: readonly number[]): string[] {
  const heard: string[] = [];
  const answers = new Set<unknown>();
  let isTaken = false;
  for (const [at, { type, on, response, response_id: id }] of client.events.entries()) {
    if (type === 'relay.taken_over') {
      isTaken = on === true;
      const asked = asks.filter((one) => one <= at).length;
      if (answers.size > asked) heard.push(`${answers.size} answers for ${asked}`);
    } else if (!isTaken) continue;
    else if (type === 'response.created') answers.add((response as { id: string }).id);
    else if (/^response\..*\.delta$/.test(type)) answers.add(id);
  }
  return heard;
}

/** Lives one life at random. */
async function life(seed: number, dialect: 'ga' | 'preview') {
  const random = dice(seed * 2_654_435_761);
  const pick = <T>(all: readonly T[]): T => all[random(all.length)] as T;
  const speed = [3, 40, Number.POSITIVE_INFINITY, 8][seed % 4] as number;
  const test = await opened(dialect, random, speed, [60, 0, 20][seed % 3]);
  const client = await test.connect({ path: '/openai/v1/realtime?model=gpt-realtime&relay_events=on' });
  const { session } = (await client.next('session.created')) as unknown as { session: { id: string } };
  const desk = backends(test, session.id);
  const asks: number[] = [];
  const move = async () => {
    pick(moves)(client, random);
    if (random(3) > 0) await pause(random(12));
  };
  /** What is done while the user and the client go on. */
  const meanwhile = async <T>(work: Promise<T>): Promise<T> => {
    for (let left = random(6); left > 0; left--) await move();
    return work;
  };
  for (let step = 0; step < steps; step++) {
    const who = pick(desk.all);
    const what = random(12);
    if (what < 3) {
      const { status, body } = await meanwhile(desk.takeOver(who, { on: true, force: random(3) === 0 }));
      expect([200, 409]).toContain(status);
      if (status === 200) expect(body).toMatchObject({ taken_over: true, by: who.subject });
    } else if (what === 3) {
      expect(await meanwhile(desk.takeOver(who, { on: false }))).toMatchObject({ body: { taken_over: false } });
    } else if (what === 4 && seed % 2 === 0) {
      const at = client.events.length;
      if ((await desk.ask(who)).status === 202) asks.push(at);
    } else if (what === 5 && step % 20 === 0) await meanwhile(desk.dies(who));
    else if (what === 6) {
      const sideband = await following(test, session.id);
      sideband.send({ type: 'relay.takeover', on: true, force: random(2) === 0 });
      await meanwhile(Promise.race([sideband.next('relay.taken_over'), sideband.next('error')]));
      if (random(2) === 0) sideband.ws.terminate();
      else sideband.ws.close();
    } else await move();
  }
  for (const one of desk.all) await desk.takeOver(one, { on: false });
  await answersAgain(client);
  const ends = test.log.filter(({ msg }) => msg === 'session.ended' || msg === 'session.failed');
  const windows = client.events.filter(({ type, on }) => type === 'relay.taken_over' && on === true).length;
  return { heard: slipped(client, asks), windows, ends };
}

function hello(client: TestClient): void {
  client.send(typed('Hi'));
  client.send(texts);
}

/** The user is answered, by themselves and when their client asks. */
async function answersAgain(client: TestClient): Promise<void> {
  const settled = async () => {
    // Whatever is left from before is over when nothing has come for a while.
    for (let count = -1; count !== client.events.length; await pause(150)) count = client.events.length;
  };
  await settled();
  client.send({ type: 'response.cancel' });
  client.send({ type: 'input_audio_buffer.clear' });
  client.send(detection({ type: 'server_vad', create_response: true }));
  await settled();
  for (const begin of [() => speak(client), () => hello(client)]) {
    const from = client.events.length;
    begin();
    await expect.poll(() => client.types().slice(from), { timeout: 10_000 }).toContain('response.done');
    await settled();
  }
}

describe('a session that is taken over, whatever else happens', () => {
  it.each([1, 2, 3, 4, 5, 6].map((seed) => [seed, seed % 3 === 0 ? 'preview' : 'ga'] as const))(
    'lets no answer of the model slip through, and answers again behind it (life %i, %s upstream)',
    { timeout: 60_000 },
    async (seed, dialect) => {
      const { heard, windows, ends } = await life(seed, dialect);
      expect(heard).toEqual([]);
      expect(windows).toBeGreaterThan(0);
      expect(ends).toEqual([]);
    },
  );
});

const speech = Buffer.from(
  encodeUlaw(
    Int16Array.from({ length: 4000 }, (_, at) => (at < 3200 ? Math.sin((at / 8000) * 2 * Math.PI * 300) * 12_000 : 0)),
  ),
);

/** Speaks as a browser does, in its time. */
async function speakIn(caller: Caller): Promise<void> {
  const quiet = Buffer.alloc(160, 0xff);
  for (let at = 0; at < speech.length; at += 160) {
    caller.speak(speech.subarray(at, at + 160));
    await pause(5);
  }
  for (let i = 0; i < 50; i++) {
    caller.speak(quiet);
    await pause(5);
  }
}

/** What upstream says in a call, of which the browser is shown little. */
function overheard(test: TestRelay) {
  const events: JsonObject[] = [];
  const [session] = [...test.relay.sessions] as unknown as Session[];
  session?.taps.add({ came: ({ body }) => void (body && events.push(body)) });
  const responses = (type: string) =>
    events.filter((event) => event.type === type).map(({ response }) => response as unknown as { status: string });
  return {
    begun: () => responses('response.created'),
    isPlaying: () =>
      events.findLast(({ type }) => String(type).startsWith('output_audio_buffer.'))?.type ===
      'output_audio_buffer.started',
    ended: () => responses('response.done').map(({ status }) => status),
    /** Whether the model answers by itself, as far as upstream has said so. */
    answers: () => {
      const { session: last } = events.findLast(({ type }) => type === 'session.updated') ?? {};
      return (last as { audio?: { input: { turn_detection: { create_response: boolean } } } })?.audio?.input
        .turn_detection.create_response;
    },
  };
}

describe('a call that is taken over', () => {
  it.each([1, 2])(
    'has what the model begins cancelled, whatever the browser does (life %i)',
    { timeout: 60_000 },
    async (seed) => {
      const random = dice(seed * 2_654_435_761);
      const test = await opened('ga', random, 2);
      const { caller, id } = await call(test);
      await test.logged('session.opened');
      const desk = backends(test, id);
      const { begun, ended, answers, isPlaying } = overheard(test);
      caller.send(typed('Tell me a long story.'));
      caller.send(ask);
      await caller.event('output_audio_buffer.started');
      expect(await desk.takeOver(desk.all[0], { on: true })).toMatchObject({ status: 200, body: { taken_over: true } });
      expect(ended()).toEqual(['cancelled']);
      await expect.poll(isPlaying).toBe(false);
      for (let step = 0; step < 12; step++) {
        const what = random(4);
        if (what === 0) await speakIn(caller);
        else if (what === 1) caller.send(detection({ type: 'server_vad', create_response: true }));
        else if (what === 2) caller.send(detection({ type: 'server_vad', threshold: 0.4 }));
        else {
          caller.send(typed('Hello?'));
          caller.send(ask);
        }
        await pause(random(40));
      }
      await expect.poll(() => [begun().length - ended().length, answers()], { timeout: 3000 }).toEqual([0, false]);
      expect(begun().length).toBeGreaterThan(1);
      expect(isPlaying()).toBe(false);
      expect(new Set(ended())).toEqual(new Set(['cancelled']));
      const before = ended().length;
      expect((await desk.ask(desk.all[1])).status).toBe(202);
      await expect.poll(() => ended().slice(before), { timeout: 5000 }).toEqual(['completed']);

      await desk.takeOver(desk.all[1], { on: false });
      await expect.poll(answers).toBe(true);
      await speakIn(caller);
      await expect.poll(() => ended().slice(before + 1), { timeout: 10_000 }).toEqual(['completed']);
    },
  );
});
