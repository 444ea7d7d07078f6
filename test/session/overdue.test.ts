import { describe, expect, it } from 'vitest';
import { announced, deadlineOf, type Facts, noDeadline, overdue } from '../../src/session/overdue.js';

const now = 1_000_000;
/** A session that is well. */
const well: Facts = {
  state: 'open',
  clientIsAlive: true,
  upstreamIsAlive: true,
  tokenHasRunOut: false,
  configureBy: now - 60_000,
  configureSent: true,
  clientStalled: 0,
  upstreamStalled: 0,
  mostStalled: 75,
  upstreamSilent: 0,
  mostSilent: 20,
  endsAt: Number.POSITIVE_INFINITY,
  idleFor: 0,
  mostIdle: 600,
};

describe('the end of a session by time', () => {
  it('does not come while all is well, in whatever state', () => {
    expect(overdue(now, well)).toBeNull();
    expect(overdue(now, { ...well, state: 'draining' })).toBeNull();
    expect(overdue(now, { ...well, state: 'dialing' })).toBeNull();
    expect(overdue(now, { ...well, state: 'configuring', configureBy: now })).toBeNull();
  });

  it.each<[string, Partial<Facts>, string, string]>([
    ['the client is gone', { clientIsAlive: false }, 'client_lost', 'client'],
    ['upstream is gone', { upstreamIsAlive: false }, 'upstream_lost', 'upstream'],
    ['the token has run out', { tokenHasRunOut: true }, 'token_expired', 'relay'],
    [
      'the token has run out before there was a session',
      { state: 'dialing', tokenHasRunOut: true },
      'token_expired',
      'relay',
    ],
    [
      'upstream does not greet',
      { state: 'configuring', configureBy: now - 1, configureSent: false },
      'upstream_configuration_failed',
      'upstream',
    ],
    [
      'upstream does not acknowledge',
      { state: 'configuring', configureBy: now - 1 },
      'upstream_configuration_failed',
      'upstream',
    ],
    ['the client takes nothing', { clientStalled: 75.1 }, 'slow_consumer', 'client'],
    ['upstream takes nothing', { upstreamStalled: 10.1 }, 'slow_consumer', 'upstream'],
    [
      'upstream takes nothing, and may do so less',
      { upstreamStalled: 5.1, mostStalled: 5 },
      'slow_consumer',
      'upstream',
    ],
    ['upstream owes an answer and says nothing', { upstreamSilent: 20.1 }, 'upstream_timeout', 'upstream'],
    ['the time is up', { endsAt: now }, 'session_expired', 'relay'],
    ['nothing happens', { idleFor: 600.1 }, 'idle_timeout', 'relay'],
    ['nothing happens while it drains', { state: 'draining', idleFor: 600.1 }, 'idle_timeout', 'relay'],
  ])('comes when %s', (_, facts, id, initiator) => {
    expect(overdue(now, { ...well, ...facts })).toMatchObject({ id, initiator });
  });

  it('tells what upstream has not done', () => {
    const late = { ...well, state: 'configuring' as const, configureBy: now - 1 };
    expect(overdue(now, { ...late, configureSent: false })).toMatchObject({ phase: 'greeting' });
    expect(overdue(now, late)).toMatchObject({ phase: 'configuration' });
    expect(overdue(now, { ...well, upstreamSilent: 21 })).not.toHaveProperty('phase');
  });

  it.each<[string, Partial<Facts>]>([
    ['takes nothing', { clientStalled: 100, upstreamStalled: 100 }],
    ['is idle', { idleFor: 10_000 }],
    ['is at its end', { endsAt: now }],
    ['is owed an answer', { upstreamSilent: 100 }],
  ])('does not come before there is a session that %s', (_, facts) => {
    expect(overdue(now, { ...well, ...facts, state: 'dialing' })).toBeNull();
    expect(overdue(now, { ...well, ...facts, state: 'configuring', configureBy: now })).toBeNull();
  });

  it('has the cause that lies deepest where there are several', () => {
    const all = { clientStalled: 100, upstreamSilent: 100, endsAt: now, idleFor: 10_000 };
    expect(overdue(now, { ...well, ...all, clientIsAlive: false, upstreamIsAlive: false })?.id).toBe('client_lost');
    expect(overdue(now, { ...well, ...all, upstreamIsAlive: false, tokenHasRunOut: true })?.id).toBe('upstream_lost');
    expect(overdue(now, { ...well, ...all, tokenHasRunOut: true })?.id).toBe('token_expired');
    expect(overdue(now, { ...well, ...all })?.id).toBe('slow_consumer');
  });
});

describe('how long a session may go on', () => {
  const at = { now, wall: 1_700_000_000_000 };
  const limits = (session_seconds?: number) => ({ limits: { session_seconds } }) as Parameters<typeof deadlineOf>[0];
  const inSeconds = (seconds: number) => at.wall / 1000 + seconds;

  it.each<[string, number | undefined, unknown, number]>([
    ['what the profile says, from the beginning', 300, undefined, 290],
    ['half a minute less than upstream says', undefined, inSeconds(1800), 1770],
    ['a tenth less where upstream gives little', undefined, inSeconds(60), 54],
    ['two seconds less where a tenth is no look', undefined, inSeconds(10), 8],
    ['half of it where even that is too much', undefined, inSeconds(3), 1.5],
    ['the earlier of both', 300, inSeconds(1800), 290],
    ['whatever is said of a time that is past', 300, inSeconds(-1), 290],
    ['whatever is said that is no time', 300, 'soon', 290],
  ])('is %s', (_, own, upstreams, seconds) => {
    const deadline = deadlineOf(limits(own), now - 10_000, at, upstreams);
    expect(deadline.at - now).toBe(seconds * 1000);
    expect(deadline.wallAt - at.wall).toBe(seconds * 1000);
  });

  it('is told with the end that it will be, in whole seconds', () => {
    const deadline = deadlineOf(limits(300), now, at, undefined);
    expect(announced(deadline, at.wall + 1_000_000)).toEqual({ expiresAt: inSeconds(300), id: 'session_expired' });
    expect(announced(deadline, at.wall + 299_999)).toEqual({ expiresAt: inSeconds(299), id: 'token_expired' });
    expect(announced(noDeadline, at.wall)).toEqual({ expiresAt: inSeconds(0), id: 'token_expired' });
  });
});
