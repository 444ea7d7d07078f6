/** What a browser gets in place of an app token: a client secret of the relay, or an ephemeral key of upstream's. */

import type { Request, RequestHandler, Response } from 'express';
import { z } from 'zod';
import type { AdmissionServices } from '../admission/candidate.js';
import { checkIntent, checkWebrtc, drainingError, modelOf, profileOf } from '../admission/judging.js';
import { groupOf, type Principal, userKey } from '../auth/principal.js';
import { RelayError } from '../errors.js';
import { publicSession } from '../policy/policy.js';
import type { Profile } from '../policy/profile.js';
import { renderSession } from '../policy/render.js';
import type { JsonObject } from '../protocol/event.js';
import { defaultTemperature, sessionToPreview } from '../protocol/translate/session.js';
import type { Log } from '../telemetry/log.js';
import { type EphemeralKey, mintKey } from '../upstream/calls.js';
import type { UpstreamPool } from '../upstream/pool.js';
import { orderedUuid, publicId } from '../uuid.js';
import { guestOf, urlOf } from './guest.js';

export const secretPaths = ['/v1/realtime/client_secrets', '/openai/v1/realtime/client_secrets'];

/** Where the beta asks for what `client_secrets` gives; and Azure's preview, for a transcription. */
export const sessionPaths = ['/v1', '/openai/v1', '/openai'].map((base) => `${base}/realtime/sessions`);
export const transcriptionPaths = [
  ...['/v1', '/openai/v1', '/openai'].map((base) => `${base}/realtime/transcription_sessions`),
  '/openai/realtimeapi/transcription_sessions',
];

/** Where Azure's preview hands out keys for WebRTC. */
export const previewKeyPath = '/openai/realtimeapi/sessions';

/** The body of an answer: of `client_secrets`, or the preview's session with the secret in it. */
export type Form = 'ga' | 'preview';

const lifeSeconds = z.int().min(1);

/** What a request for a secret may say; the session that most carry is the profile's matter. */
export const minting = z.looseObject({
  expires_after: z.looseObject({ seconds: lifeSeconds.optional().describe('It can only shorten.') }).optional(),
});

/** What is answered: the secret, and the session that it starts. */
export const minted = z.strictObject({
  value: z.string(),
  expires_at: z.int().describe('Seconds since 1970.'),
  session: z.looseObject({ id: z.string(), type: z.string() }),
});

/** The same in the shape of the beta. */
export const mintedPreview = z.looseObject({
  id: z.string(),
  client_secret: z.strictObject({ value: z.string(), expires_at: z.int() }),
});

/** What upstream gives at the most, and by default. */
const keySeconds = 600;
/** A shutdown is what ends it: the upstreams are closed then. */
const never = new AbortController().signal;

/**
 * An app token in, a secret for one browser session out. The session configuration that the request carries is the
 * profile's matter here and is ignored; `expires_after.seconds` can only shorten.
 */
export function mintSecret(admission: AdmissionServices, form: Form): RequestHandler {
  return async (request, response) => {
    if (admission.registry.isDraining) throw drainingError();
    const { principal } = guestOf(response);
    const url = urlOf(request);
    const { profiles, limits } = admission.settings();
    const profile = profileOf(principal, profiles);
    const isForTranscription = transcriptionPaths.some((path) => url.pathname.startsWith(path));
    if (isForTranscription) checkIntent(profile, new URL('?intent=transcription', url));
    const model = modelOf(profile, url);
    const seconds = lifetime(request.body, limits.client_secret_seconds);
    admission.connects.mint(principal, profile);
    const { value, expiresAt } = await admission.secrets.mint(principal, seconds, profile.limits.client_secrets);
    answer(response, form, { value, expiresAt, profile, model, claims: principal.claims });
  };
}

/** What ephemeral keys are minted with. */
export interface KeyServices {
  readonly admission: AdmissionServices;
  readonly upstreams: Pick<UpstreamPool, 'reach'>;
  readonly log: Log;
}

/**
 * An app token in, upstream's own key out, for profiles that hand such keys out; all but the key is redacted. What is done
 * with it is no session of the relay: it ends when upstream ends it.
 */
export function mintEphemeralKey(services: KeyServices, form: Form): RequestHandler {
  const { admission, log } = services;
  return async (request: Request, response) => {
    if (admission.registry.isDraining) throw drainingError();
    const { principal } = guestOf(response);
    const { requestId } = response.locals as { requestId: string };
    const profile = profileOf(principal, admission.settings().profiles);
    checkWebrtc(profile);
    if (!profile.webrtc.ephemeral_keys) {
      throw new RelayError(
        'forbidden',
        'The profile of the token hands out no ephemeral keys of the upstream; send the SDP offer to /v1/realtime/calls.',
      );
    }
    admission.connects.mint(principal, profile);
    const seconds = Math.min(lifetime(request.body, keySeconds), principal.expiresAt - Date.now() / 1000);
    const key = await mintUpstream(services, principal, profile, requestId, Math.ceil(seconds));
    const { subject, tenant } = principal;
    const whose = { requestId, subject, ...(tenant !== null && { tenant }), profile: profile.name };
    log.info({ ...whose, upstream: key.upstream.name, azure: key.requestIds }, 'key.minted');
    answer(response, form, { ...key, profile, model: modelOf(profile, urlOf(request)), claims: principal.claims });
  };
}

/** Whoever could ask for any number would use up what upstream allows for all: each takes a place of its user's. */
async function mintUpstream(
  { admission, upstreams }: KeyServices,
  principal: Principal,
  profile: Profile,
  holder: string,
  life: number,
): Promise<EphemeralKey> {
  const { store } = admission;
  const { dial_seconds: dialSeconds, second_dial_ms: secondDialMs } = admission.settings().limits;
  const limit = profile.limits.sessions_per_user;
  const own = { key: userKey(principal), group: groupOf(principal) };
  const place = { purpose: 'keys' as const, ...own, limit, ttlSeconds: life };
  try {
    // The key is good whatever becomes of this process.
    const { outcome } = await store.enter({ place, holds: [], holder, owner: '' });
    if (outcome === 'in') {
      const session = renderSession(profile, principal.claims);
      const { answer: key } = await upstreams.reach(
        { requestId: holder, signal: never, dialSeconds, secondDialMs },
        (target, options) => mintKey(target, session, life, options),
        'ga',
      );
      return key;
    }
  } catch (error) {
    void store.leave(holder).catch(reported);
    throw error;
  }
  throw new RelayError('rate_limited', `At most ${limit} keys of one user at the same time.`, {
    retryAfterMs: life * 1000,
  });
}

/** Its time runs out by itself; it was reported where it failed. */
function reported(_error: unknown): void {}

interface Minted {
  readonly value: string;
  readonly expiresAt: number;
  readonly profile: Profile;
  readonly model: string;
  readonly claims: Readonly<Record<string, unknown>>;
}

function answer(response: Response, form: Form, { value, expiresAt, profile, model, claims }: Minted): void {
  const session = publicSession(renderSession(profile, claims), {
    id: publicId('sess', orderedUuid()),
    model,
    expiresAt: 0,
  });
  const body: JsonObject =
    form === 'ga'
      ? { value, expires_at: expiresAt, session }
      : { ...sessionToPreview(session, defaultTemperature), client_secret: { value, expires_at: expiresAt } };
  response.set('Cache-Control', 'no-store').json(body);
}

/** The beta has the wish for a life inside of `client_secret`. */
function lifetime(body: unknown, longest: number): number {
  type Wish = { expires_after?: { seconds?: unknown } | null };
  const { expires_after: wish, client_secret: inner } = (body ?? {}) as Wish & { client_secret?: Wish | null };
  const seconds = wish?.seconds ?? inner?.expires_after?.seconds;
  if (seconds === undefined) return longest;
  const read = lifeSeconds.safeParse(seconds);
  if (!read.success) {
    throw new RelayError(
      'bad_event',
      'The field "expires_after.seconds" must be a whole number of seconds, 1 or more.',
    );
  }
  return Math.min(read.data, longest);
}
