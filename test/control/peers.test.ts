import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Principal } from '../../src/auth/principal.js';
import { type Command, command } from '../../src/control/commands.js';
import { type Control, createControl, createIdleControl } from '../../src/control/control.js';
import type { Following } from '../../src/control/following.js';
import { askAll, createPeers } from '../../src/control/peers.js';
import { createLocalStreams } from '../../src/control/streams.js';
import type { Profile } from '../../src/policy/profile.js';
import { SessionRegistry } from '../../src/session/registry.js';
import { hashed, Revocations } from '../../src/store/revocations.js';
import { nobody } from '../support/backend.js';
import { pair } from '../support/line.js';

const alice = { issuer: 'https://issuer.test', subject: 'alice', tenant: null };
const revoke: Command<'revoke'> = {
  verb: 'revoke',
  revocation: hashed({ kind: 'user', name: 'alice', issuer: null, tenant: null, issuedUntil: 1, expiresAt: 9e9 }),
  keep: true,
};
const home = { replica: 'here-abc123', hasSeveralIssuers: false };
const say = (id: string, reach: Command<'say'>['reach'] = null): Command<'say'> => ({
  verb: 'say',
  id,
  reach,
  by: alice,
  events: [{ type: 'input_audio_buffer.clear' }],
  isSingle: false,
  key: null,
  digest: 'd',
  waitMs: 0,
});
const hangUp = (id: string): Command<'hang_up'> => ({ verb: 'hang_up', id, owner: alice });

let processes = 0;

/** A process with sessions of alice: calls of these ids. */
function process(...digits: string[]) {
  const streams = createLocalStreams(`process-${++processes}`, queueMicrotask);
  const followed: string[] = [];
  const said: string[] = [];
  const asked: string[] = [];
  const following: Following = {
    count: () => followed.length,
    follow({ id }, _, join) {
      if (followed.length > 0) return false;
      followed.push(id);
      join().send(Buffer.from(id));
      return true;
    },
  };
  const registry = new SessionRegistry(10);
  const revocations = new Revocations(10);
  const ends: unknown[] = [];
  for (const one of digits) {
    const session = {
      id: `sess_${one}`,
      callId: `call_${one}`,
      admission: {
        renew: () => undefined,
        principal: { ...alice, claims: {} } as unknown as Principal,
        profile: {} as Profile,
      },
      isOpen: true,
      buffered: { up: 0, down: 0 },
      tick: () => undefined,
      quietMs: () => 0,
      ask: () => undefined,
      overview: () => null as never,
      backend: nobody,
      taps: { add: () => null },
      drain: () => undefined,
      end(id: string, initiator: string) {
        ends.push([one, id, initiator]);
        registry.remove(session);
      },
    };
    registry.reserve();
    registry.add(session);
  }
  const control = createControl({
    registry,
    ghosts: { end: async () => digits.length > 0 },
    revocations,
    home,
    streams,
    following,
    say: async (session) => {
      said.push(session.id);
      return { outcome: 'not_open' };
    },
  });
  /** Asks it as its leader does: over a line. */
  const { near } = pair(
    {},
    {
      asked(question) {
        const due = command.parse(question);
        asked.push(due.verb);
        return control(due);
      },
    },
  );
  return {
    control,
    streams,
    followed,
    said,
    asked,
    revocations,
    ends,
    ask: (due: Command, ms: number) => near.ask(due, ms),
  };
}

/** The first of several processes, with its peers. */
function peersOf(all: ReturnType<typeof process>[]) {
  const own = all[0] as ReturnType<typeof process>;
  const others = vi.fn((due: Command, to: string | null) =>
    askAll(
      due,
      all.filter(({ streams }) => to === null || streams.address === to).map(({ ask }) => ask),
    ),
  );
  return { peers: createPeers(own.control, own.streams, others), others };
}

const how = {
  wishes: { audio: false, clientEvents: false, mayWrite: false, isBound: false },
  by: alice,
  requestId: 'r',
};

describe('a command', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('reaches the session of another process', async () => {
    const all = [process('1'), process('2')];
    expect(await peersOf(all).peers.ask(hangUp('call_2'))).toBe(true);
    expect(all[1]?.ends).toEqual([['2', 'normal', 'client']]);
    expect(await peersOf(all).peers.ask(hangUp('call_2'))).toBe(false);
  });

  it('troubles nobody else where its session is here', async () => {
    const { peers, others } = peersOf([process('1'), process('2')]);
    expect(await peers.ask(hangUp('call_1'))).toBe(true);
    expect(others).not.toHaveBeenCalled();
  });

  it('that is long goes to the process that has its session, and to no other', async () => {
    const all = [process('1'), process('2'), process('3')];
    const { peers, others } = peersOf(all);
    expect(await peers.ask(say('sess_1'))).toEqual({ outcome: 'not_open' });
    expect(others).not.toHaveBeenCalled();
    expect(await peers.ask(say('sess_3'))).toEqual({ outcome: 'not_open' });
    expect(all.map(({ said }) => said)).toEqual([['sess_1'], [], ['sess_3']]);
    expect(all.map(({ asked }) => asked)).toEqual([['locate'], ['locate'], ['locate', 'say']]);
  });

  it('that is long costs the same work for what is not there and for what is another tenant’s', async () => {
    const works = [];
    for (const due of [say('sess_9'), say('sess_2', { issuer: alice.issuer, tenant: 'acme' })]) {
      const all = [process('1'), process('2')];
      const { peers, others } = peersOf(all);
      expect(await peers.ask(due)).toBe(null);
      works.push([others.mock.calls.map(([{ verb }, to]) => [verb, to]), all.map(({ asked }) => asked)]);
    }
    expect(works[0]).toEqual(works[1]);
    expect(works[0]).toEqual([[['locate', null]], [['locate'], ['locate']]]);
  });

  it('finds nothing where the session ends between two steps', async () => {
    const all = [process(), process('2')];
    const { peers, others } = peersOf(all);
    others.mockImplementationOnce(async () => 'process-that-is-no-more');
    expect(await peers.ask(say('sess_2'))).toBe(null);
    expect(all.map(({ said }) => said)).toEqual([[], []]);
  });

  it.each([
    ['of somebody else', { ...hangUp('call_1'), owner: { ...alice, tenant: 'acme' } }],
    ['named as another kind of session', hangUp('sess_1')],
    ['that never was', hangUp('call_3')],
    ['named like what every object has', hangUp('__proto__')],
  ])('does not find a call %s', async (_, due) => {
    const all = [process(), process('1')];
    expect(await peersOf(all).peers.ask(due)).toBe(false);
    expect(all[1]?.ends).toEqual([]);
  });

  it('to all is carried out by all, and one answer is made of theirs', async () => {
    const all = [process('1'), process('2', '3'), process()];
    expect(await peersOf(all).peers.ask(revoke)).toEqual({ ended: 3, isKept: true });
    expect(all.map(({ revocations }) => revocations.size)).toEqual([1, 1, 1]);
    expect(await peersOf(all).peers.ask({ verb: 'end_ghost', user: alice })).toBe(true);
  });

  it('gives a way to a session that is here, and none to what is not within reach', async () => {
    const all = [process('1'), process('2')];
    const { peers } = peersOf(all);
    const came = new Promise((resolve) => {
      void peers.stream({ id: 'call_1', reach: null, ...how }).then((way) => {
        const nobody = () => undefined;
        way?.start({ received: (bytes) => resolve(Buffer.from(bytes).toString()), room: nobody, ended: nobody });
      });
    });
    expect(await came).toBe('sess_1');
    expect(await peers.stream({ id: 'sess_3', reach: null, ...how })).toBe(null);
    expect(await peers.stream({ id: 'sess_1', reach: { issuer: alice.issuer, tenant: 'acme' }, ...how })).toBe(null);
    await expect(peers.stream({ id: 'sess_1', reach: null, ...how })).rejects.toMatchObject({ id: 'rate_limited' });
    expect(all.map(({ followed }) => followed)).toEqual([['sess_1'], []]);
    expect(all[0]?.streams.size).toBe(2);
    const silent = createPeers(all[0]?.control as Control, createLocalStreams(), async () =>
      Promise.reject(new Error()),
    );
    await expect(silent.stream({ id: 'sess_3', reach: null, ...how })).rejects.toThrow();
  });

  it('that must be confirmed fails when a process does not answer, and is carried out by the others', async () => {
    const all = [process('1'), process('2')];
    const silent = () => new Promise(() => undefined);
    const timed = (_: Command, ms: number) => Promise.race([silent(), timeout(ms)]);
    const asked = askAll(revoke, [...all.map(({ ask }) => ask), timed]).catch((error: unknown) => error);
    await vi.advanceTimersByTimeAsync(1000);
    expect(await asked).toMatchObject({ id: 'overloaded', retryAfterMs: 1000 });
    expect(all.map(({ ends }) => ends.length)).toEqual([1, 1]);
  });

  it('is not said to have found nothing while a process does not answer that may have it', async () => {
    const silent = async () => Promise.reject(new Error('too late'));
    const has = async () => 'sess_1';
    const hasNot = async () => null;
    const end: Command<'end'> = { verb: 'end', id: 'sess_1', reach: null };
    await expect(askAll(end, [hasNot, silent])).rejects.toMatchObject({ id: 'overloaded' });
    expect(await askAll(end, [has, silent])).toBe('sess_1');
    expect(await askAll(end, [hasNot, hasNot])).toBe(null);
    // Who hangs up is told as if there were nothing: the call ends with its browser all the same.
    expect(await askAll(hangUp('call_1'), [hasNot, silent])).toBe(false);
  });

  it.each([
    ['of another kind', { found: true }],
    ['of nothing', undefined],
  ])('takes an answer %s for none', async (_, answer) => {
    expect(await askAll(hangUp('call_1'), [async () => answer])).toBe(false);
    await expect(askAll(revoke, [async () => answer])).rejects.toMatchObject({ id: 'overloaded' });
  });

  it('to a process that has no sessions yet keeps what is withdrawn, and nothing that is not to be kept', async () => {
    const revocations = new Revocations(10);
    const idle = createIdleControl(revocations, createLocalStreams());
    expect(await idle({ ...revoke, keep: false })).toEqual({ ended: 0, isKept: false });
    expect(revocations.size).toBe(0);
    expect(await idle(revoke)).toEqual({ ended: 0, isKept: true });
    expect(revocations.size).toBe(1);
    expect(await idle(hangUp('call_1'))).toBe(false);
    expect(await idle({ verb: 'end_ghost', user: alice })).toBe(false);
  });

  it.each([
    ['of no verb', { verb: 'dance' }],
    ['with more than it says', { ...hangUp('call_1'), more: 1 }],
    ['with an endless id', hangUp('x'.repeat(1001))],
    ['without an owner', { verb: 'hang_up', id: 'call_1' }],
  ])('%s is none', (_, due) => {
    expect(command.safeParse(due).success).toBe(false);
  });
});

function timeout(ms: number): Promise<never> {
  return new Promise((_, reject) => setTimeout(() => reject(new Error('too late')), ms));
}
