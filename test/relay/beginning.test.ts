import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../src/protocol/event.js';
import { added, type Bench, bench, userItem } from '../policy/bench.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';
import { startUpstream } from '../support/upstream.js';

const create = (id: string, previous?: string): JsonObject => ({
  type: 'conversation.item.create',
  ...(previous !== undefined && { previous_item_id: previous }),
  item: { id, type: 'message', role: 'user', content: [{ type: 'input_text', text: id }] },
});
const system = (id: string): JsonObject => ({ id, type: 'message', role: 'system', content: [] });
const paths = [
  ['GA', '/openai/v1/realtime?model=x', 'conversation.item.added'],
  ['preview', '/openai/realtime?api-version=2025-04-01-preview&deployment=x', 'conversation.item.created'],
] as const;

describe.each(paths)('the beginning of a conversation, for a %s client', (_, path, type) => {
  it('is where an item goes that is placed at the root', async () => {
    const emulator = await startTestEmulator();
    const { connect } = await startTestRelay({ upstream: emulator.url });
    const client = await connect({ path });
    await client.next('session.created');
    client.send(create('a'));
    client.send(create('b'));
    client.send(create('c', 'root'));
    const items = [await client.next(type), await client.next(type), await client.next(type)];
    expect(items.map(({ previous_item_id }) => previous_item_id)).toEqual([null, 'a', null]);
  });

  it.each(['end_user', 'trusted'])('is no name for an item of a client that is %s', async (trust) => {
    const emulator = await startTestEmulator();
    const { connect } = await startTestRelay({
      upstream: emulator.url,
      yaml: `profiles: { default: { client: { trust: ${trust} } } }`,
    });
    const client = await connect({ path });
    await client.next('session.created');
    client.send(create('root'));
    expect((await client.next('error')).error).toMatchObject({ code: 'invalid_value', param: 'item.id' });
  });

  it('is behind what the server says there', async () => {
    const upstream = await startUpstream();
    const { connect } = await startTestRelay({ upstream: upstream.url });
    const client = await connect({ path });
    await client.next('session.created');
    const { ws } = await upstream.connected();
    const say = (body: JsonObject) => ws.send(JSON.stringify(body));
    say(added(system('item_rules')));
    say(added(system('item_manners'), 'item_rules'));
    say(added(userItem('item_said'), 'item_manners'));
    say(added(system('item_later'), 'item_said'));
    say(added(userItem('item_again'), 'item_later'));
    await client.next(type);
    await client.next(type);
    client.send(create('c', 'root'));
    const [sent] = await upstream.received(1);
    expect(JSON.parse(sent as string)).toMatchObject({ previous_item_id: 'item_manners', item: { id: 'c' } });
  });
});

const placed = (session: Bench): unknown => session.up(create('item_new', 'root'))?.previous_item_id;

describe('an item at the root', () => {
  const deleted = (id: string): JsonObject => ({ type: 'conversation.item.deleted', item_id: id });
  const inject = (session: Bench, id: string, previous?: string) => {
    const place = previous === undefined ? {} : { previous_item_id: previous };
    session.policy.injected({ type: 'conversation.item.create', item: system(id), ...place });
  };
  const cases: [string, (session: Bench) => void, string][] = [
    ['is first where nothing was said', () => undefined, 'root'],
    ['is first where the client began', (s) => s.all(added(userItem('a')), added(system('s'), 'a')), 'root'],
    ['is behind an item that the relay has only just sent', (s) => inject(s, 's'), 's'],
    ['is behind all that the relay has only just sent', (s) => ['s', 't'].forEach((id) => void inject(s, id)), 't'],
    [
      'is first where what the relay sent came to stand behind the client',
      (s) => {
        inject(s, 's');
        s.all(added(userItem('a')), added(system('s'), 'a'));
      },
      'root',
    ],
    [
      'is first where the relay spoke after the client',
      (s) => {
        s.up(create('a'));
        inject(s, 's');
      },
      'root',
    ],
    [
      'is behind what the relay puts at the root later on',
      (s) => {
        s.all(added(userItem('a')));
        inject(s, 's', 'root');
      },
      's',
    ],
    [
      'is behind what is put between two of the server',
      (s) => s.all(added(system('s')), added(system('u'), 's'), added(system('t'), 's')),
      'u',
    ],
    ['is not behind what was deleted', (s) => s.all(added(system('s')), added(system('t'), 's'), deleted('t')), 's'],
    ['is first when all of the server is deleted', (s) => s.all(added(system('s')), deleted('s')), 'root'],
  ];
  it.each(cases)('%s', (_, before, place) => {
    const session = bench();
    before(session);
    expect(placed(session)).toBe(place);
  });

  it('does not tell its client of what is before it', () => {
    const session = bench();
    session.all(added(system('s')));
    placed(session);
    expect(session.down(added(userItem('item_new'), 's'))).toMatchObject([{ previous_item_id: null }]);
  });

  it('of a trusted client stands behind the words of the relay, too', () => {
    const session = bench({ client: { trust: 'trusted' } });
    inject(session, 'rly_words');
    expect(placed(session)).toBe('rly_words');
  });

  it('stands behind the server however much that says', () => {
    const session = bench();
    for (let i = 0; i < 5000; i++) session.all(added(system(`s${i}`), i === 0 ? null : `s${i - 1}`));
    expect(placed(session)).toBe('s4999');
  });
});
