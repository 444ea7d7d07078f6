import { describe, expect, it } from 'vitest';
import { type Envelope, Envelopes } from '../../src/store/redis/envelopes.js';
import { Letters } from '../../src/store/redis/letters.js';
import { Questions } from '../../src/store/redis/questions.js';
import type { Fields } from '../../src/store/redis/reader.js';

const secret = Buffer.alloc(32, 1).toString('base64');
const other = Buffer.alloc(32, 2).toString('base64');
const now = 1_000_000;

function envelopes(replica: string, { secrets = [secret], identity = 'i' } = {}) {
  let invalid = 0;
  const own = new Envelopes({ replica, identity, secrets, invalid: () => invalid++ });
  return { own, invalid: () => invalid };
}

const letter = { kind: 'letter', to: 'b', id: '1', text: 'Hello' } as const;
const sealed = () => envelopes('a').own.close('c:b', letter, now);

describe('what a replica says to another', () => {
  it('is opened by who it is for, with any of its keys', () => {
    const { own, invalid } = envelopes('b', { secrets: [other, secret] });
    expect(own.open('c:b', sealed(), now)).toEqual({ ...letter, from: 'a' });
    expect(invalid()).toBe(0);
  });

  it.each<[string, (fields: Fields) => Fields]>([
    ['with another sender', (fields) => ({ ...fields, f: 'x' })],
    ['for another replica', (fields) => ({ ...fields, d: '*' })],
    ['under another number', (fields) => ({ ...fields, r: '2' })],
    ['as something else', (fields) => ({ ...fields, t: 'ask' })],
    ['with a later end', (fields) => ({ ...fields, u: String(Number(fields.u) + 1) })],
    ['of another version', (fields) => ({ ...fields, v: '2' })],
    ['with more in it', (fields) => ({ ...fields, more: '1' })],
    ['that is cut', (fields) => ({ ...fields, s: fields.s?.slice(0, 30) ?? '' })],
    ['with nothing in it', () => ({})],
  ])('is dropped and counted where somebody wrote it %s', (_, forged) => {
    const { own, invalid } = envelopes('b');
    expect(own.open('c:b', forged(sealed()), now)).toBeNull();
    expect(invalid()).toBe(1);
  });

  it('is dropped when it is old, stands elsewhere, or is of another relay or key', () => {
    const { own, invalid } = envelopes('b');
    expect(own.open('c:b', sealed(), now + 13_000)).toBeNull();
    expect(own.open('c:b', sealed(), now - 13_000)).toBeNull();
    expect(own.open('c', sealed(), now)).toBeNull();
    expect(invalid()).toBe(3);
    for (const options of [{ identity: 'j' }, { secrets: [other] }]) {
      expect(envelopes('b', options).own.open('c:b', sealed(), now)).toBeNull();
    }
    const { own: third, invalid: mistaken } = envelopes('c');
    expect([third.open('c:b', sealed(), now), mistaken()]).toEqual([null, 1]);
  });
});

/** Replicas whose letters pass as long as they may. */
function correspondents() {
  const passing = { may: true, drops: false };
  const heard: Record<string, unknown[]> = { a: [], b: [] };
  const letters: Record<string, Letters> = {};
  const sent: Envelope[] = [];
  for (const name of ['a', 'b']) {
    const own = new Letters(async (envelope) => {
      await Promise.resolve();
      if (!passing.may) throw new Error('away');
      const whole = { ...envelope, from: name };
      sent.push(whole);
      if (!passing.drops) queueMicrotask(() => letters[envelope.to]?.received(whole));
      return ['a', 'b'];
    });
    own.attend({
      told: (from, what) => heard[name]?.push([from, what]),
      lost: (replica, hasDied) => heard[name]?.push([replica, hasDied ? 'died' : 'lost']),
    });
    letters[name] = own;
  }
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  const { a, b } = letters as { a: Letters; b: Letters };
  return { a, b, heard: heard as { a: unknown[]; b: unknown[] }, passing, sent, settle };
}

describe('letters between replicas', () => {
  it('arrive in order, many at once', async () => {
    const { a, b, heard, sent, settle } = correspondents();
    for (let i = 0; i < 100; i++) {
      a.tell('b', String(i));
      b.tell('a', String(-i));
    }
    await settle();
    expect(heard.b).toEqual(Array.from({ length: 100 }, (_, i) => ['a', i]));
    expect(heard.a).toHaveLength(100);
    expect(sent.length).toBeLessThan(10);
  });

  it('that are missing are missed by both, once, and those after that arrive', async () => {
    const { a, b, heard, passing, settle } = correspondents();
    a.tell('b', '1');
    b.tell('a', '-1');
    await settle();
    passing.drops = true;
    a.tell('b', '2');
    await settle();
    passing.drops = false;
    a.tell('b', '3');
    await settle();
    expect(heard.b).toEqual([
      ['a', 1],
      ['a', 'lost'],
      ['a', 'lost'],
    ]);
    expect(heard.a).toEqual([
      ['b', -1],
      ['b', 'lost'],
    ]);
    a.tell('b', '4');
    b.tell('a', '-4');
    await settle();
    expect(heard.b.at(-1)).toEqual(['a', 4]);
    expect(heard.a.at(-1)).toEqual(['b', -4]);
  });

  it('that could not be written are lost, and the other hears of it when it can', async () => {
    const { a, heard, passing, settle } = correspondents();
    a.tell('b', '1');
    await settle();
    passing.may = false;
    a.tell('b', '2');
    await settle();
    expect(heard.a).toEqual([['b', 'lost']]);
    passing.may = true;
    a.tend(['a', 'b']);
    await settle();
    expect(heard.b).toEqual([
      ['a', 1],
      ['a', 'lost'],
    ]);
    a.tell('b', '3');
    await settle();
    expect(heard.b.at(-1)).toEqual(['a', 3]);
  });

  it('are not heard twice, whoever repeats them', async () => {
    const { a, b, heard, sent, settle } = correspondents();
    a.tell('b', '1');
    await settle();
    b.received(sent[0] as Envelope);
    await settle();
    expect(heard.b.filter((one) => JSON.stringify(one) === '["a",1]')).toHaveLength(1);
  });

  it('to more than may wait are lost, not kept', async () => {
    const { a, heard, settle } = correspondents();
    const long = JSON.stringify('x'.repeat(1024 * 1024));
    for (let i = 0; i < 40; i++) a.tell('b', long);
    await settle();
    expect(heard.a).toContainEqual(['b', 'lost']);
    await a.close(1000);
  });

  it('of a replica that is no more are forgotten, and it is said to have died', async () => {
    const { a, heard, settle } = correspondents();
    a.tell('b', '1');
    await settle();
    const started = performance.now();
    a.tend(['a']);
    expect(heard.a).toEqual([]);
    const tended = () => {
      a.tend(['a']);
      return heard.a;
    };
    await expect.poll(tended, { timeout: 4000 }).toEqual([['b', 'died']]);
    expect(performance.now() - started).toBeGreaterThan(1500);
    expect(a.correspondents).toEqual([]);
  });
});

describe('a question between replicas', () => {
  it('is answered by all that live, once each, and those that do not are told apart', async () => {
    const questions = new Questions('a', async () => ['a', 'b', 'c', 'd']);
    const asked: Omit<Envelope, 'from'>[] = [];
    const asking = new Questions('a', async (envelope) => {
      asked.push(envelope);
      for (const from of ['b', 'c']) {
        void asking.received({ kind: 'answer', from, to: 'a', id: envelope.id, text: `${from}!` });
        void asking.received({ kind: 'answer', from, to: 'a', id: envelope.id, text: 'again' });
      }
      return ['a', 'b', 'c', 'd'];
    });
    expect(await asking.ask(null, '?', 50)).toEqual(['b!', 'c!', null]);
    expect(await asking.ask(null, '?', 5000, (text) => text === 'c!')).toEqual(['b!', 'c!', null]);
    expect(await asking.ask('c', '?', 5000)).toEqual(['c!']);
    expect(await asking.ask('x', '?', 5000)).toEqual([]);
    expect(asked.map(({ to }) => to)).toEqual(['*', '*', 'c', 'x']);
    await expect(questions.ask(null, '?', 10)).resolves.toEqual([null, null, null]);
  });

  it('is done once, however often it is heard, and no more than a thousand are asked at once', async () => {
    let done = 0;
    const answers: string[] = [];
    const questions = new Questions('a', async ({ kind, text }) => {
      if (kind === 'answer') answers.push(text);
      return kind === 'ask' ? ['b'] : [];
    });
    questions.attend(async () => String(++done));
    const question = { kind: 'ask', from: 'b', to: 'a', id: '1', text: '' } as const;
    await questions.received(question);
    await questions.received(question);
    await questions.received({ ...question, from: 'c' });
    expect(answers).toEqual(['1', '2']);
    const all = Array.from({ length: 1001 }, () =>
      questions.ask('b', '?', 20).catch((error: { id: string }) => error.id),
    );
    expect(await all[1000]).toBe('store_unavailable');
    await Promise.all(all);
  });
});
