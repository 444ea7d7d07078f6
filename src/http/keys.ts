/** Upstream's own ephemeral keys, for clients of profiles that hand them out: with one, a client is out of our control. */

import { randomUUID } from 'node:crypto';
import type { RequestHandler } from 'express';
import { publicSession } from '../policy/policy.js';
import { renderSession } from '../policy/render.js';
import type { JsonObject } from '../protocol/event.js';
import { defaultTemperature, sessionToPreview } from '../protocol/translate/session.js';
import { modelOf } from '../session/admission.js';
import type { Calls } from '../session/calls.js';
import { guestOf, urlOf } from './guest.js';

export const previewKeyPath = '/openai/realtimeapi/sessions';

/** What a key is asked for: its life in seconds, where the client has a wish. */
type Lifetime = (body: unknown) => number;

/** Answers in the form of `POST …/client_secrets`, or of the preview's `sessions`; all but the key is redacted. */
export function mintEphemeralKey(calls: Calls, form: 'ga' | 'preview', lifetime: Lifetime): RequestHandler {
  return async (request, response) => {
    const { requestId } = response.locals as { requestId: string };
    const seconds = lifetime(request.body);
    const { key, principal, profile } = await calls.mint(guestOf(response), requestId, seconds);
    const session = publicSession(renderSession(profile, principal.claims), {
      id: `sess_${randomUUID().replaceAll('-', '')}`,
      model: modelOf(profile, urlOf(request)),
      expiresAt: 0,
    });
    const { value, expiresAt } = key;
    const body: JsonObject =
      form === 'ga'
        ? { value, expires_at: expiresAt, session }
        : {
            ...sessionToPreview(session, defaultTemperature),
            client_secret: { value, expires_at: expiresAt },
          };
    response.set('Cache-Control', 'no-store').json(body);
  };
}
