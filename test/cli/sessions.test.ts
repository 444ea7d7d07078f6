import { describe, expect, it } from 'vitest';
import { createWatching } from '../../src/commands/watching.js';
import type { Description } from '../../src/control/description.js';
import { run } from '../support/process.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { call } from '../webrtc/caller.js';

const both = 'relay.sessions.read relay.sessions.write';

async function opened(yaml = '', speed = Number.POSITIVE_INFINITY) {
  const emulator = await startTestEmulator({ speed });
  const relay = await startTestRelay({ upstream: emulator.url, yaml });
  return { emulator, relay };
}

async function talking(relay: TestRelay, subject: string) {
  const client = await relay.connect({ token: relay.token({ subject }) });
  const { session } = await client.next('session.created');
  return { client, id: (session as { id: string }).id };
}

/** The command against a relay, as a backend with these scopes. */
function sessions(relay: TestRelay, args: string[], scope = both) {
  const token = relay.token({ subject: 'backend', claims: { scope } });
  return run(['sessions', ...args], { RELAY_URL: relay.relay.url, RELAY_TOKEN: token });
}

async function outputOf(relay: TestRelay, args: string[], scope = both) {
  const { exited, lines } = sessions(relay, args, scope);
  return { code: await exited, text: lines.join('\n'), lines };
}

describe('realtime-relay sessions', () => {
  it('lists and shows sessions, for people and for programs', async () => {
    const { relay } = await opened();
    const { id } = await talking(relay, 'alice');
    const bob = await talking(relay, 'bob');
    const list = await outputOf(relay, ['list']);
    expect(list).toMatchObject({ code: 0, lines: [expect.stringMatching(bob.id), expect.stringMatching(id)] });
    expect(list.lines[1]).toMatch(/alice {2}default {2}websocket {2}open {2}since \S+Z {2}0 turns {2}0 tokens/);
    const filtered = await outputOf(relay, ['list', '--subject', 'alice', '--json']);
    expect(JSON.parse(filtered.text)).toMatchObject([{ object: 'relay.session', id, subject: 'alice' }]);
    const one = await outputOf(relay, ['list', '--limit', '1']);
    expect(one.lines).toEqual([expect.stringContaining(bob.id), expect.stringMatching(/others/)]);
    expect((await outputOf(relay, ['list', '--tenant', 'none'])).text).toBe('No live session.');
    expect((await outputOf(relay, ['list', '--tenant', 'none', '--json'])).text).toBe('[]');
    expect((await outputOf(relay, ['show', id])).text).toMatch(/subject +alice/);
    expect(JSON.parse((await outputOf(relay, ['show', id, '--json'])).text)).toMatchObject({ id, state: 'open' });
  });

  it('follows the pages of a list', { timeout: 60_000 }, async () => {
    const { relay } = await opened();
    await Promise.all(Array.from({ length: 103 }, (_, user) => talking(relay, `user-${user}`)));
    const all = JSON.parse((await outputOf(relay, ['list', '--limit', '500', '--json'])).text) as { id: string }[];
    expect(new Set(all.map(({ id }) => id)).size).toBe(103);
    const some = JSON.parse((await outputOf(relay, ['list', '--limit', '101', '--json'])).text) as unknown[];
    expect(some).toHaveLength(101);
  });

  it('ends one', async () => {
    const { relay } = await opened();
    const { client, id } = await talking(relay, 'alice');
    expect(await outputOf(relay, ['end', id])).toMatchObject({ code: 0, text: `ended ${id}` });
    expect(await client.closed).toEqual({ code: 1008, reason: 'ended_by_backend' });
    expect(await outputOf(relay, ['end', id])).toMatchObject({ code: 1, text: expect.stringMatching(/404 not_found/) });
  });

  it('has the model say something, also where it is just answering', async () => {
    const { relay, emulator } = await opened('', 1);
    const { client, id } = await talking(relay, 'alice');
    const said = await outputOf(relay, ['say', id, 'We close at noon.']);
    expect(said.code).toBe(0);
    expect(said.lines).toEqual([expect.stringMatching(/^event_/), expect.stringMatching(/^event_/)]);
    await client.next('response.done');
    const [item] = emulator.control.received.events('conversation.item.create');
    const content = [{ type: 'input_text', text: 'Say to the user now: We close at noon.' }];
    expect(item?.body).toMatchObject({ item: { type: 'message', role: 'system', content } });

    client.send({ type: 'response.create' });
    await client.next('response.created');
    const again = await outputOf(relay, ['say', id, 'Stop.', '--json']);
    expect(again.code).toBe(0);
    expect(JSON.parse(again.text)).toMatchObject({ object: 'list', event_ids: expect.any(Array) });
    const statusOf = async () => (await client.next('response.done')).response as Record<string, unknown>;
    expect(await statusOf()).toMatchObject({ status: 'cancelled' });
    await client.next('response.created');
  });

  it('has the model say something in a call without an item that the browser would be shown', async () => {
    const { relay, emulator } = await opened('profiles: { default: { webrtc: { enabled: true } } }');
    const { id } = await call(relay, { authorization: `Bearer ${relay.token()}` });
    const said = await outputOf(relay, ['say', id, 'We close at noon.']);
    expect(said).toMatchObject({ code: 0 });
    await emulator.control.received.waitFor((received) => received.events('response.create').length === 1);
    expect(emulator.control.received.events('conversation.item.create')).toHaveLength(0);
    const [{ body } = { body: null }] = emulator.control.received.events('response.create');
    expect(body).toMatchObject({
      response: { instructions: expect.stringContaining('Say to the user now: We close') },
    });
  });

  it('watches: a line for each that opens, answers and ends', async () => {
    const { relay } = await opened();
    const { client, id } = await talking(relay, 'alice');
    const watch = sessions(relay, ['watch', '--json']);
    const next = async (event: string) =>
      JSON.parse(await watch.line((line) => line.includes(`"event":"${event}"`))) as Record<string, unknown>;
    expect(await next('opened')).toMatchObject({ at: expect.any(Number), session: { id, turns: 0 } });
    await client.ask('Hi');
    expect(await next('turn')).toMatchObject({ session: { id, turns: 1 } });
    client.ws.close();
    expect(await next('ended')).toMatchObject({ session: { id } });
    watch.child.kill('SIGINT');
    expect(await watch.exited).toBe(0);
  });

  it('watches one as it goes on: a line for each turn, with its words, until it ends', async () => {
    const { emulator, relay } = await opened();
    const { client, id } = await talking(relay, 'alice');
    const people = sessions(relay, ['watch', id]);
    const programs = sessions(relay, ['watch', id, '--json'], 'relay.sessions.read');
    await expect.poll(() => relay.metric('relay_sidebands_active'), { timeout: 10_000 }).toBe(2);
    await client.ask('Where is my order?');
    expect(await people.line((line) => line.includes(' user '))).toMatch(
      /^\d\d:\d\d:\d\d user {3}Where is my order\?$/,
    );
    expect(await people.line((line) => line.includes(' model '))).toMatch(/ model {2}You said: Where is my order\?$/);
    const next = async (event: string) =>
      JSON.parse(await programs.line((line) => line.includes(`"event":"${event}"`))) as Record<string, unknown>;
    expect(await next('user')).toEqual({
      event: 'user',
      at: expect.any(Number),
      session: id,
      text: 'Where is my order?',
    });
    expect(await next('model')).toMatchObject({ text: expect.stringContaining('order'), status: 'completed' });
    emulator.control.script({ functionCall: { name: 'look_up' } });
    client.send({ type: 'response.create' });
    expect(await people.line((line) => line.includes(' call '))).toMatch(/ call {3}look_up$/);
    client.ws.close();
    expect(await people.line((line) => line.includes(' ended '))).toMatch(/ ended {2}normal$/);
    expect(await next('ended')).toMatchObject({ text: 'normal' });
    expect([await people.exited, await programs.exited]).toEqual([0, 0]);
  });

  it('stops watching one when it is told to', async () => {
    const { relay } = await opened();
    const { client, id } = await talking(relay, 'alice');
    const watch = sessions(relay, ['watch', id]);
    await expect.poll(() => relay.metric('relay_sidebands_active'), { timeout: 10_000 }).toBe(1);
    watch.child.kill('SIGINT');
    expect(await watch.exited).toBe(0);
    expect((await client.ask('Hi')).status).toBe('completed');
  });

  it.each([
    ['one of nobody that is to be watched', ['watch', `sess_${'0'.repeat(32)}`], both, /404 not_found/],
    ['a token that may not watch one', ['watch', `sess_${'0'.repeat(32)}`], 'other', /403 forbidden/],
    ['an id of nobody', ['show', 'sess_1'], both, /404 not_found/],
    ['an unknown id', ['say', 'sess_1', 'Hi'], both, /404 not_found/],
    ['a token without the scope', ['list'], 'other', /403 forbidden/],
    ['a token that may only read', ['end', 'sess_1'], 'relay.sessions.read', /403 forbidden/],
    ['a token that may not watch', ['watch'], 'other', /403 forbidden/],
  ])('exits 1 for %s, and says why', async (_, args, scope, message) => {
    const { relay } = await opened();
    const { code, text } = await outputOf(relay, args, scope);
    expect(code).toBe(1);
    expect(text).toMatch(message);
    expect(text).not.toContain('eyJ');
  });

  it('exits 1 where nothing listens', async () => {
    const { exited, lines } = run(['sessions', 'list', '--url', 'http://127.0.0.1:1', '--token', 'x']);
    expect(await exited).toBe(1);
    expect(lines.join('\n')).toMatch(/nothing listens there/);
  });

  it.each([
    [['sessions'], /expected list, watch/],
    [['sessions', 'toString'], /expected list, watch/],
    [['sessions', 'show'], /expected an id/],
    [['sessions', 'say', 'sess_1', 'two', 'words'], /text in quotes/],
    [['sessions', 'end', 'sess_1', '--subject', 'bob'], /--subject is for lists/],
    [['sessions', 'watch', 'sess_1', '--subject', 'bob'], /--subject is for lists/],
    [['sessions', 'watch', 'sess_1', 'sess_2'], /watch: expected/],
    [['sessions', 'list', '--limit', '0'], /--limit/],
    [['sessions', 'list', '--limit', '1.5'], /--limit/],
    [['sessions', 'list', '--url', 'ftp://x'], /not the URL of a relay/],
  ])('exits 64 for %j', async (args, message) => {
    const { exited, lines } = run(args, { RELAY_TOKEN: 'x' });
    expect(await exited).toBe(64);
    expect(lines.join('\n')).toMatch(message);
  });
});

describe('what has changed since the last look', () => {
  const session = (id: string, more: Partial<Description> = {}) =>
    ({ id, state: 'open', turns: 0, ...more }) as Description;
  const told = (look: ReturnType<typeof createWatching>, list: Description[], hasMore = false) =>
    look({ sessions: list, hasMore }).map(({ event, session: { id } }) => `${event} ${id}`);

  it('is told in the order of time, and nothing twice', () => {
    const look = createWatching();
    expect(told(look, [session('b'), session('a')])).toEqual(['opened a', 'opened b']);
    expect(told(look, [session('b'), session('a')])).toEqual([]);
    expect(told(look, [session('c'), session('a', { turns: 2 })])).toEqual(['ended b', 'turn a', 'opened c']);
    expect(told(look, [])).toEqual(['ended c', 'ended a']);
  });

  it('says nothing of what may still come to nothing, and of what is too old to be listed', () => {
    const look = createWatching();
    expect(told(look, [session('c', { state: 'opening' }), session('a')])).toEqual(['opened a']);
    expect(told(look, [session('a')])).toEqual([]);
    expect(told(look, [session('d'), session('b')], true)).toEqual(['opened b', 'opened d']);
    expect(told(look, [session('a')])).toEqual(['ended d', 'ended b']);
  });
});
