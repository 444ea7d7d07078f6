/**
 * WebRTC upstream, as far as it is HTTP: ephemeral keys, calls, their end, and the sideband beside a call. Source: Azure OpenAI
 * Realtime reference (`client_secrets`, `calls`); GA only.
 */

import { setTimeout as delay } from 'node:timers/promises';
import { exits, RelayError } from '../errors.js';
import { untilAborted } from '../outbound/abort.js';
import { isObject, type Json, type JsonObject } from '../protocol/event.js';
import { type AskOptions, ask, askWithCredential, type HttpAnswer, lateOf } from './ask.js';
import { type CredentialHeader, secretsOf } from './authorizer.js';
import { type Dialed, dial } from './dial.js';
import { DialFailure, exitOf, failureOfAnswer, type RequestIds, requestIdsOf } from './failure.js';
import type { UpstreamTarget } from './target.js';

/** A key with which a browser, or whoever holds it, starts sessions of one configuration. */
export interface EphemeralKey {
  readonly upstream: UpstreamTarget;
  readonly value: string;
  /** In seconds since 1970. */
  readonly expiresAt: number;
  /** The configuration in upstream's words; empty when it did not say. */
  readonly session: JsonObject;
  readonly requestIds: RequestIds;
}

/** A call as upstream knows it. */
export interface Call {
  readonly upstream: UpstreamTarget;
  /** Upstream's own id, `rtc_…`: never for a client. */
  readonly id: string;
}

/** A call that upstream has accepted. */
export interface CreatedCall extends Call {
  /** The SDP answer. */
  readonly answer: string;
  readonly requestIds: RequestIds;
}

const base = '/openai/v1/realtime';
const json = 'application/json';
/** Seconds a key may live. Source: the reference of `client_secrets`. */
const shortestSeconds = 10;
const longestSeconds = 7200;
const attachTries = 10;
const firstWaitMs = 200;
const longestWaitMs = 2000;
const hangUpTries = 4;
const hangUpWaitMs = 300;

/**
 * Mints an ephemeral key for a session of this configuration. Rejects as a dial does, and with
 * `upstream_configuration_failed` when upstream does not take the configuration.
 */
export async function mintKey(
  upstream: UpstreamTarget,
  session: JsonObject,
  seconds: number,
  options: AskOptions,
): Promise<EphemeralKey> {
  const life = Math.min(longestSeconds, Math.max(shortestSeconds, Math.ceil(seconds)));
  const late = lateOf(options);
  const mint = (configuration: JsonObject) =>
    askWithCredential(upstream, {
      ...options,
      late,
      path: `${base}/client_secrets`,
      type: json,
      body: JSON.stringify({
        expires_after: { anchor: 'created_at', seconds: life },
        session: { ...configuration, model: upstream.deployment },
      }),
    });
  let { answer, secrets } = await mint(session);
  const reduced = answer.status === 500 ? withoutTranscription(session) : null;
  // Known fault of the service: it fails when it is to transcribe. The sideband can still tell it to.
  if (reduced) ({ answer, secrets } = await mint(reduced));
  if (answer.status === 400 || answer.status === 422) {
    throw new RelayError('upstream_configuration_failed', exits.upstream_configuration_failed.meaning, {
      cause: failureOfAnswer(answer, secrets),
    });
  }
  if (!isSuccess(answer)) throw exitOf(failureOfAnswer(answer, secrets));
  const { value, expires_at, session: echoed } = parse(answer.body);
  if (typeof value !== 'string' || !/^[\x21-\x7e]{1,4096}$/.test(value) || typeof expires_at !== 'number') {
    throw exitOf(new DialFailure('unknown', 'The answer to client_secrets holds no key', { status: answer.status }));
  }
  const known = isObject(echoed) ? echoed : {};
  return {
    upstream,
    value,
    expiresAt: expires_at,
    session: reduced ? (withoutTranscription(known) ?? known) : known,
    requestIds: requestIdsOf(answer.headers, secrets),
  };
}

/**
 * Offers a call. Rejects with `bad_event` when upstream does not take the offer, else as a dial does. What the browser may
 * see of upstream's events is cut down by `webrtcfilter`, an extension of Azure's.
 */
export async function createCall(key: EphemeralKey, offer: string, options: AskOptions): Promise<CreatedCall> {
  const { upstream } = key;
  const header: CredentialHeader = { name: 'authorization', value: `Bearer ${key.value}` };
  const secrets = secretsOf(header, upstream.proxy);
  const path = `${base}/calls?webrtcfilter=on`;
  const answer = await ask(upstream, header, { ...options, path, type: 'application/sdp', body: offer });
  if (!isSuccess(answer)) {
    const failure = failureOfAnswer(answer, secrets);
    if (failure.kind !== 'bad_request') throw exitOf(failure);
    throw new RelayError('bad_event', 'The upstream did not accept the SDP offer.', { cause: failure });
  }
  const id = callIdOf(answer.headers.location);
  if (id === null || !/^v=0\r?\n/.test(answer.body)) {
    const message = `The answer to calls holds no ${id === null ? 'call id' : 'SDP answer'}`;
    throw exitOf(new DialFailure('unknown', message, { status: answer.status }));
  }
  return { upstream, id, answer: answer.body, requestIds: requestIdsOf(answer.headers, secrets) };
}

/** Opens the sideband of a call. Just after its creation a call is not always found, so that this tries for a while. */
export async function attach({ upstream, id }: Call, options: AskOptions): Promise<Dialed> {
  for (let tries = 1, waitMs = firstWaitMs; ; tries++, waitMs = Math.min(longestWaitMs, waitMs * 2)) {
    try {
      return await dial(upstream, { ...options, callId: id });
    } catch (error) {
      const cause = error instanceof RelayError ? error.cause : null;
      const mayPass = cause instanceof DialFailure && passing.has(cause.kind);
      if (!mayPass || tries >= attachTries || options.signal.aborted) throw error;
      await untilAborted(delay(waitMs), options.signal);
    }
  }
}

const passing: ReadonlySet<string> = new Set(['call_not_found', 'server_error', 'reset']);

/** Ends a call; one that is not there any more has ended. Tries again when upstream fails. */
export async function hangUp({ upstream, id }: Call, options: AskOptions): Promise<void> {
  const path = `${base}/calls/${encodeURIComponent(id)}/hangup`;
  for (let tries = 1, waitMs = hangUpWaitMs; ; tries++, waitMs *= 2) {
    try {
      const { answer, secrets } = await askWithCredential(upstream, { ...options, path });
      if (isSuccess(answer) || answer.status === 404) return;
      throw exitOf(failureOfAnswer(answer, secrets));
    } catch (error) {
      if (tries >= hangUpTries || options.signal.aborted) throw error;
      await untilAborted(delay(waitMs), options.signal);
    }
  }
}

function isSuccess({ status }: HttpAnswer): boolean {
  return status >= 200 && status <= 299;
}

/** The last part of the path, or the parameter `call_id`. */
function callIdOf(location: string | undefined): string | null {
  if (location === undefined || !URL.canParse(location, 'http://upstream')) return null;
  const { pathname, searchParams } = new URL(location, 'http://upstream');
  const id = searchParams.get('call_id') ?? pathname.split('/').at(-1) ?? '';
  return /^[A-Za-z0-9_-]{1,256}$/.test(id) ? id : null;
}

/** A copy that does not say how to transcribe; null when it did not. */
function withoutTranscription(session: JsonObject): JsonObject | null {
  const { audio } = session;
  const input = isObject(audio) ? audio.input : undefined;
  if (!isObject(audio) || !isObject(input) || !('transcription' in input)) return null;
  const { transcription: _, ...rest } = input;
  return { ...session, audio: { ...audio, input: rest } };
}

function parse(text: string): JsonObject {
  try {
    const value = JSON.parse(text) as Json;
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}
