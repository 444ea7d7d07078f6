import { describe, expect, it, vi } from 'vitest';
import { admit } from '../../src/admission/admission.js';
import type { AdmissionServices } from '../../src/admission/candidate.js';
import { authenticate } from '../../src/admission/recognise.js';
import { signToken } from '../../src/auth/token.js';
import type { IssuerSettings } from '../../src/config/identity.js';
import { RelayError } from '../../src/errors.js';
import { profileSchema } from '../../src/policy/profile.js';
import { SessionRegistry } from '../../src/session/registry.js';
import { admissionServices, requestWith } from '../support/admission.js';
import { jwt } from '../support/relay.js';

let requests = 0;
const wishes = () => ({
  requestId: `00000000-0000-7000-8000-${String(requests++).padStart(12, '0')}`,
  dialect: 'ga' as const,
  apiVersion: null,
  relayEvents: false,
  traceparent: undefined,
});

const tokenOf = (subject: string, ttlSeconds = 600) => signToken({ ...jwt, subject, ttlSeconds });
const asking = (subject = 'ada', query = '', headers = {}) =>
  requestWith({ authorization: `Bearer ${tokenOf(subject)}`, ...headers }, query);

/** Comes in, or resolves to the refusal. */
async function outcome(services: AdmissionServices, request = asking()): Promise<string> {
  return admit(request, wishes(), services).then(
    () => 'in',
    (error: unknown) => RelayError.from(error).id,
  );
}

/** What is there of places: in the registry, and in the store under a key. */
async function isFree(services: AdmissionServices, key: string): Promise<boolean> {
  const place = { purpose: 'sessions' as const, group: null, key, limit: 1, ttlSeconds: 1 };
  const { outcome } = await services.store.enter({ place, holds: [], holder: 'who looks', owner: '' });
  if (outcome === 'in') await services.store.leave('who looks');
  return outcome === 'in';
}

const adasPlaces = JSON.stringify([jwt.issuer, null, 'ada']);

const limitedIssuer = (limits: IssuerSettings['limits']) =>
  [{ issuer: jwt.issuer, names: new Map([[jwt.issuer, null]]), limits }] as unknown as IssuerSettings[];

describe('who is let in', () => {
  it('gets an id, a profile, a model, a budget and the limits that hold then', async () => {
    const services = admissionServices();
    const admission = await admit(asking(), { ...wishes(), relayEvents: true }, services);
    expect(admission).toMatchObject({
      id: `sess_${admission.requestId.replaceAll('-', '')}`,
      principal: { subject: 'ada' },
      profile: { name: 'default' },
      model: 'realtime',
      dialect: 'ga',
      relayEvents: true,
    });
    expect(admission.limits).toBe(services.settings().limits);
    expect(admission.budget.start).toBeTypeOf('function');
  });

  it('keeps the settings of one reading, whatever is read while the store is asked', async () => {
    const services = admissionServices();
    const before = services.settings();
    let now = before;
    const { enter } = services.store;
    vi.spyOn(services.store, 'enter').mockImplementation((entry) => {
      const profile = { ...profileSchema.parse({ limits: { sessions_per_user: 7 } }), name: 'default' };
      now = { profiles: new Map([['default', profile]]), limits: { ...before.limits, hold_bytes: 1 } };
      return enter.call(services.store, entry);
    });
    const admission = await admit(asking(), wishes(), { ...services, settings: () => now });
    expect(admission.limits).toBe(before.limits);
    expect(admission.profile).toBe(before.profiles.get('default'));
    const next = await admit(asking('bob'), wishes(), { ...services, settings: () => now });
    expect(next.limits.hold_bytes).toBe(1);
    expect(next.profile.limits.sessions_per_user).toBe(7);
  });

  it('gives every place back, once', async () => {
    const services = admissionServices({
      profile: { limits: { sessions_per_user: 1 } },
      registry: new SessionRegistry(1),
    });
    const admission = await admit(asking(), wishes(), services);
    expect(services.registry.isFull).toBe(true);
    expect(await isFree(services, adasPlaces)).toBe(false);
    const leave = vi.spyOn(services.store, 'leave');
    admission.release();
    admission.release();
    expect(services.registry.isFull).toBe(false);
    expect(leave).toHaveBeenCalledTimes(1);
    expect(await isFree(services, adasPlaces)).toBe(true);
    // A place that was given back twice would let in one too many.
    await admit(asking(), wishes(), services);
    expect(services.registry.isFull).toBe(true);
  });

  it('leaves the place of the instance to the registry once it stands there', async () => {
    const services = admissionServices({ registry: new SessionRegistry(1) });
    const giveUp = vi.spyOn(services.registry, 'giveUp');
    const admission = await admit(asking(), wishes(), services);
    admission.seated();
    admission.release();
    expect(giveUp).not.toHaveBeenCalled();
    expect(await isFree(services, adasPlaces)).toBe(true);
  });

  it('keeps the places of the user and of the issuer by entering again, and nothing of a budget', async () => {
    const issuers = limitedIssuer({ sessions: 5 });
    const services = admissionServices({ profile: { limits: { minutes_per_day: 5 } }, issuers });
    const admission = await admit(asking(), wishes(), services);
    const enter = vi.spyOn(services.store, 'enter');
    admission.renew();
    const entered = enter.mock.calls.map(([{ place, holds, holder }]) => [place.purpose, holds, holder]);
    expect(entered).toEqual([
      ['issuers', [], `${admission.id}:issuer`],
      ['sessions', [], admission.id],
    ]);
  });

  it('goes on when the store cannot be reached for a renewal or at the end', async () => {
    const services = admissionServices();
    const admission = await admit(asking(), wishes(), services);
    vi.spyOn(services.store, 'enter').mockRejectedValue(new Error('out of reach'));
    vi.spyOn(services.store, 'leave').mockRejectedValue(new Error('out of reach'));
    admission.renew();
    admission.release();
    await new Promise((resolve) => setImmediate(resolve));
    expect(services.registry.isFull).toBe(false);
  });
});

describe('the steps of admission', () => {
  /** All that is wrong at once; each case mends the first of them, and shows the next. */
  const wrongs: readonly (readonly [string, string, (services: Mutable) => void])[] = [
    [
      'a page of another origin',
      'forbidden',
      (it) => {
        it.headers = {};
      },
    ],
    [
      'an instance that drains',
      'draining',
      (it) => {
        it.registry.isDraining = false;
      },
    ],
    [
      'a credential of nobody',
      'unauthorized',
      (it) => {
        it.token = tokenOf('ada');
      },
    ],
    [
      'a profile that is not there',
      'forbidden',
      (it) => {
        it.profile = 'default';
      },
    ],
    [
      'too many knocks',
      'rate_limited',
      (it) => {
        it.knocks = false;
      },
    ],
    [
      'another model',
      'forbidden',
      (it) => {
        it.query = '';
      },
    ],
    [
      'an upstream out of order',
      'upstream_unavailable',
      (it) => {
        it.error = null;
      },
    ],
    [
      'no place of the instance',
      'overloaded',
      (it) => {
        it.registry.places = 1;
      },
    ],
    [
      'no place of the user',
      'rate_limited',
      (it) => {
        it.sessions = 1;
      },
    ],
  ];

  interface Mutable {
    headers: Record<string, string>;
    token: string;
    query: string;
    profile: string;
    knocks: boolean;
    error: RelayError | null;
    sessions: number;
    registry: { isDraining: boolean; isFull: boolean; places: number; reserve(): boolean; giveUp(): void };
  }

  it('ask in order, each before whatever costs more', async () => {
    const it: Mutable = {
      headers: { origin: 'https://evil.test' },
      token: 'nonsense',
      query: '?model=another',
      profile: 'other',
      knocks: true,
      error: new RelayError('upstream_unavailable', 'Out of order.'),
      sessions: 0,
      registry: {
        isDraining: true,
        isFull: false,
        places: 0,
        reserve: () => it.registry.places-- > 0,
        giveUp: () => void it.registry.places++,
      },
    };
    const seen: (readonly [string, string])[] = [];
    const ask = async () => {
      const plain = admissionServices();
      const profile = {
        ...profileSchema.parse({ aliases: ['gpt'], limits: { sessions_per_user: 1 } }),
        name: 'default',
      };
      const limits = { ...profile.limits, sessions_per_user: it.sessions };
      const settings = { ...plain.settings(), profiles: new Map([[it.profile, { ...profile, limits }]]) };
      const connects = { ...plain.connects };
      connects.knock = () => {
        if (it.knocks) throw new RelayError('rate_limited', 'Too often.');
      };
      const services = {
        ...plain,
        connects,
        settings: () => settings,
        unavailable: () => it.error,
        registry: it.registry,
      };
      return outcome(services, requestWith({ authorization: `Bearer ${it.token}`, ...it.headers }, it.query));
    };
    for (const [name, , mend] of wrongs) {
      seen.push([name, await ask()]);
      mend(it);
    }
    expect(seen).toEqual(wrongs.map(([name, id]) => [name, id]));
    expect(await ask()).toBe('in');
  });

  it('count neither a knock nor a recognition again for whom the door knows', async () => {
    const services = admissionServices();
    const request = asking();
    const guest = await authenticate(request, services);
    const knock = vi.spyOn(services.connects, 'knock');
    const verify = vi.spyOn(services.verifier, 'verify');
    const { principal } = await admit(request, wishes(), services, guest);
    expect(principal).toBe(guest.principal);
    expect(knock).not.toHaveBeenCalled();
    expect(verify).not.toHaveBeenCalled();
  });

  it('look at the room of the instance again after recognising, and let nobody between that and the place', async () => {
    const registry = new SessionRegistry(1);
    const services = admissionServices({ registry });
    const crowd = await Promise.all(['ada', 'bob', 'eve'].map((name) => outcome(services, asking(name))));
    expect(crowd.sort()).toEqual(['in', 'overloaded', 'overloaded']);
  });

  it('let no crowd past an instance that is short of something, of which each takes some', async () => {
    const registry = new SessionRegistry(10);
    registry.letIn(2);
    const services = admissionServices({ registry });
    const crowd = await Promise.all(['ada', 'bob', 'eve', 'joe'].map((name) => outcome(services, asking(name))));
    expect(crowd.filter((one) => one === 'in')).toHaveLength(2);
  });
});

describe('a refusal', () => {
  const full = { sessions_per_user: 1 };

  it.each([
    ['no place of the user is left', { limits: full }, 'rate_limited'],
    ['a budget is spent', { limits: { sessions_per_day: 1 } }, 'quota_exceeded'],
    ['sessions begin too fast', { limits: { connects_burst: 1 } }, 'rate_limited'],
  ])('takes nothing when %s', async (_, profile, id) => {
    const services = admissionServices({ profile, issuers: limitedIssuer({ sessions: 2 }) });
    const first = await admit(asking(), wishes(), services);
    first.budget.start({ nearlySpent: () => undefined, spent: () => undefined }, 0);
    const giveUp = vi.spyOn(services.registry, 'giveUp');
    for (let i = 0; i < 3; i++) expect(await outcome(services)).toBe(id);
    expect(giveUp).toHaveBeenCalledTimes(3);
    // The second place of the issuer's is still there for somebody else.
    expect(await outcome(services, asking('bob'))).toBe('in');
  });

  it('is of the issuer when all its users together have no place left, and says no name of them', async () => {
    const services = admissionServices({ issuers: limitedIssuer({ sessions: 1 }) });
    await admit(asking(), wishes(), services);
    const refused = admit(asking('bob'), wishes(), services);
    await expect(refused).rejects.toThrow("No more sessions of this token's issuer at the same time.");
    expect(await isFree(services, JSON.stringify([jwt.issuer, null, 'bob']))).toBe(true);
  });

  it('leaves a client secret good that a session has not used', async () => {
    const services = admissionServices({ profile: { limits: full } });
    const first = await admit(asking(), wishes(), services);
    const { value } = await services.secrets.mint(first.principal, 60);
    const bySecret = () => requestWith({ authorization: `Bearer ${value}` });
    expect(await outcome(services, bySecret())).toBe('rate_limited');
    first.release();
    await vi.waitFor(async () => expect(await services.secrets.look(value)).not.toBeNull());
    expect(await outcome(services, bySecret())).toBe('in');
    expect(await outcome(services, bySecret())).toBe('unauthorized');
  });

  it('gives back what the store may have taken when its answer does not come', async () => {
    const services = admissionServices({ profile: { limits: full }, registry: new SessionRegistry(1) });
    const { enter } = services.store;
    vi.spyOn(services.store, 'enter').mockImplementationOnce(async (entry) => {
      await enter.call(services.store, entry);
      throw new Error('the answer is lost');
    });
    expect(await outcome(services)).toBe('internal');
    expect(services.registry.isFull).toBe(false);
    expect(await isFree(services, adasPlaces)).toBe(true);
  });

  it('is spared to who comes back from a tunnel, where a ghost can be ended', async () => {
    const services = admissionServices({ profile: { limits: full } });
    const ghost = await admit(asking(), wishes(), services);
    const endGhost = vi.fn(async () => {
      ghost.release();
      return true;
    });
    expect(await outcome({ ...services, endGhost })).toBe('in');
    expect(endGhost).toHaveBeenCalledWith(expect.objectContaining({ subject: 'ada' }));
  });

  it('ends no ghost of a name that many share', async () => {
    const services = admissionServices({ profile: { limits: full } });
    await admit(asking('anonymous'), wishes(), services);
    const endGhost = vi.fn(async () => true);
    expect(await outcome({ ...services, endGhost }, asking('anonymous'))).toBe('rate_limited');
    expect(endGhost).not.toHaveBeenCalled();
  });

  it('comes from the same code for a wait that differs: nobody is told to come back together', async () => {
    const error = new RelayError('upstream_unavailable', 'Out of order.', { retryAfterMs: 10_000 });
    const services = admissionServices({ unavailable: () => error });
    const waits = await Promise.all(
      Array.from({ length: 8 }, () => admit(asking(), wishes(), services).catch(({ retryAfterMs }) => retryAfterMs)),
    );
    expect(new Set(waits).size).toBeGreaterThan(1);
    for (const wait of waits) expect(wait).toBeGreaterThanOrEqual(10_000);
  });
});
