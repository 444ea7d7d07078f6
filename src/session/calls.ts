/** The door for WebRTC clients: all calls of this instance, and what is still to be hung up. */

import type { IncomingMessage } from 'node:http';
import { type Admission, admit } from '../admission/admission.js';
import type { AdmissionServices, Wishes } from '../admission/candidate.js';
import { drainingError, profileOf } from '../admission/judging.js';
import type { Guest, Request } from '../admission/recognise.js';
import { sdkOf } from '../admission/sdk.js';
import { type Principal, type User, userKey } from '../auth/principal.js';
import { RelayError } from '../errors.js';
import type { Profile } from '../policy/profile.js';
import { renderSession } from '../policy/render.js';
import { isServed } from '../policy/tools.js';
import type { Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import { type CreatedCall, type EphemeralKey, hangUp, mintKey } from '../upstream/calls.js';
import { inTime } from '../wait.js';
import { Call, type CallServices } from './call.js';
import type { SessionRegistry } from './registry.js';

interface CallsServices {
  readonly admission: AdmissionServices;
  readonly session: Omit<CallServices, 'ended' | 'hangUp'>;
  readonly registry: SessionRegistry;
  readonly metrics: Metrics;
  readonly log: Log;
}

const hangUpSeconds = 3;

export class Calls {
  readonly #services: CallsServices;
  readonly #hangUps = new Set<Promise<void>>();
  readonly #stop = new AbortController();

  constructor(services: CallsServices) {
    this.#services = services;
  }

  /**
   * Admits a client and creates its call. Rejects with a RelayError when either fails.
   * @param gone aborted when the client does not wait for the answer any more
   */
  async open(
    request: Request,
    requestId: string,
    guest: Guest,
    offer: string,
    gone: AbortSignal,
  ): Promise<{ id: string; answer: string }> {
    checkProfile(profileOf(guest.principal, this.#services.admission.settings().profiles));
    const wishes = { requestId, ...wishesOf(request.message) };
    const call = this.#create(await admit(request, wishes, this.#services.admission, guest), request);
    const leave = () => call.end('normal', 'client', { message: 'The client did not wait for the answer.' });
    gone.addEventListener('abort', leave, { once: true });
    if (gone.aborted) leave();
    void call.create(offer);
    try {
      const answer = await call.answer;
      if (gone.aborted) leave();
      return { id: call.callId, answer };
    } finally {
      gone.removeEventListener('abort', leave);
    }
  }

  /** Makes the call; whatever goes wrong before it stands in the registry, nothing of its admission stays behind. */
  #create(admission: Admission, { message, url }: Request): Call {
    const { registry, metrics, session } = this.#services;
    try {
      metrics.clientAdmitted(admission.dialect, sdkOf(message.headers, url.searchParams));
      const call: Call = new Call(admission, {
        ...session,
        ended: () => registry.remove(call),
        hangUp: (created, of) => this.#hangUp(created, of),
      });
      registry.add(call);
      admission.seated();
      return call;
    } catch (error) {
      admission.release();
      throw error;
    }
  }

  /**
   * Mints upstream's own ephemeral key for a profile that hands such keys out. What is done with it is no session of the
   * relay: it ends when upstream ends it.
   */
  async mint(
    { principal }: Guest,
    requestId: string,
    seconds: number,
  ): Promise<{ key: EphemeralKey; principal: Principal; profile: Profile }> {
    const { admission, registry, session } = this.#services;
    if (registry.isDraining) throw drainingError();
    const { profiles, limits } = admission.settings();
    const profile = profileOf(principal, profiles);
    checkProfile(profile);
    if (!profile.webrtc.ephemeral_keys) {
      throw new RelayError(
        'forbidden',
        'The profile of the token hands out no ephemeral keys of the upstream; send the SDP offer to /v1/realtime/calls.',
      );
    }
    admission.connects.mint(principal, profile);
    const life = Math.ceil(Math.min(seconds, principal.expiresAt - Date.now() / 1000));
    const { subject, tenant } = principal;
    const key = await this.#withKeyPlace(principal, profile, requestId, life, async () => {
      const { answer } = await session.upstreams.reach(
        {
          requestId,
          signal: this.#stop.signal,
          dialSeconds: limits.dial_seconds,
          secondDialMs: limits.second_dial_ms,
        },
        (target, options) => mintKey(target, renderSession(profile, principal.claims), life, options),
        'ga',
      );
      return answer;
    });
    const upstream = key.upstream.name;
    this.#services.log.info(
      {
        requestId,
        subject,
        ...(tenant !== null && { tenant }),
        profile: profile.name,
        upstream,
        azure: key.requestIds,
      },
      'key.minted',
    );
    return { key, principal, profile };
  }

  /** Whoever could ask for any number would use up what upstream allows for all. */
  async #withKeyPlace<T>(
    of: User,
    { limits }: Profile,
    holder: string,
    life: number,
    mint: () => Promise<T>,
  ): Promise<T> {
    const { store } = this.#services.admission;
    const limit = limits.sessions_per_user;
    const place = { purpose: 'keys' as const, key: `keys:${userKey(of)}`, limit, ttlSeconds: life };
    try {
      // The key is good whatever becomes of this process.
      const { outcome } = await store.enter({ place, holds: [], holder, owner: '' });
      if (outcome === 'in') return await mint();
    } catch (error) {
      void store.leave(holder).catch(reported);
      throw error;
    }
    throw new RelayError('rate_limited', `At most ${limit} keys of one user at the same time.`, {
      retryAfterMs: life * 1000,
    });
  }

  #hangUp(created: CreatedCall, { id, requestId }: Admission): void {
    const { log } = this.#services;
    const done = hangUp(created, { requestId, signal: this.#stop.signal, timeoutSeconds: hangUpSeconds })
      .catch((error: unknown) => {
        // Upstream ends a call by itself, but only when its own time is up.
        log.error(
          { session: id, requestId, call: created.id, error: RelayError.from(error).cause },
          'call.not_hung_up',
        );
      })
      .finally(() => this.#hangUps.delete(done));
    this.#hangUps.add(done);
  }

  /** Waits this long for what is still to be hung up, and gives up the rest. */
  async close(ms: number): Promise<void> {
    const all = Promise.all(this.#hangUps);
    if (!(await inTime(all, ms))) this.#stop.abort();
    await all;
  }
}

/** Its time runs out by itself; it was reported where it failed. */
function reported(_error: unknown): void {}

function wishesOf({ headers }: IncomingMessage): Omit<Wishes, 'requestId'> {
  const { traceparent } = headers;
  return {
    dialect: 'ga',
    apiVersion: null,
    relayEvents: false,
    traceparent: typeof traceparent === 'string' ? traceparent : undefined,
  };
}

/** Whether sessions of a profile may be calls. */
function checkProfile({ webrtc, session, tools }: Profile): void {
  if (!webrtc.enabled) throw new RelayError('forbidden', 'The profile of the token does not allow WebRTC.');
  if (tools.some(isServed) && webrtc.tools !== 'exposed') {
    throw new RelayError(
      'forbidden',
      "The profile of the token has tools that the server runs, whose calls a browser may see on WebRTC; that takes 'webrtc: { tools: exposed }'.",
    );
  }
  if (session.type === 'transcription') {
    throw new RelayError('forbidden', 'WebRTC is for conversations; the profile of the token only transcribes.');
  }
}
