/** Where an upstream is: one deployment behind one endpoint, and the URL that opens a session on it. */

import { isLoopback } from '../outbound/addresses.js';
import type { Dialect } from '../protocol/catalogue.js';
import type { Authorizer } from './authorizer.js';

/** One deployment that can hold sessions. */
export interface UpstreamTarget {
  /** The operator's name for it: a metric label. */
  readonly name: string;
  /** From `parseEndpoint`: scheme, host and port. */
  readonly endpoint: URL;
  readonly deployment: string;
  readonly dialect: Dialect;
  /** Preview only; default `2025-04-01-preview`, the last dated version of the Azure OpenAI Realtime API. */
  readonly apiVersion?: string;
  readonly authorize: Authorizer;
  /** URL of an HTTP proxy that is asked to CONNECT to the endpoint. */
  readonly proxy?: string;
}

const lastPreview = '2025-04-01-preview';

/**
 * The endpoint in any form people copy it (`https://x.openai.azure.com`, with `/`, `/openai`, `/openai/v1` or a whole
 * target URI behind it, `wss://…`), cut down to scheme, host and port. Throws an Error fit for a configuration report.
 */
export function parseEndpoint(text: string): URL {
  let given: URL;
  try {
    given = new URL(text.trim());
  } catch {
    throw new Error('The endpoint is not a URL; it looks like https://my-resource.openai.azure.com.');
  }
  const secure = given.protocol === 'https:' || given.protocol === 'wss:';
  const plain = given.protocol === 'http:' || given.protocol === 'ws:';
  if (!secure && !plain) throw new Error(`The endpoint must start with https://, not ${given.protocol}//.`);
  if (given.username !== '' || given.password !== '') {
    throw new Error('The endpoint must not contain a user name or password.');
  }
  if (plain && !isLoopback(given.hostname)) {
    throw new Error(`The endpoint must use https://: plain http:// is for loopback only, not ${given.hostname}.`);
  }
  return new URL(`${secure ? 'https' : 'http'}://${given.host}`);
}

/** What a socket is opened for when it is not a conversation with the deployment. */
export interface Purpose {
  /** Attaches to a WebRTC or SIP call. */
  readonly callId?: string;
  /** A session that only transcribes: it is configured with the transcription deployment and has no other. */
  readonly intent?: 'transcription' | undefined;
}

/**
 * The WebSocket URL of a new session, or with `callId` of a WebRTC or SIP call to attach to (GA only: throws otherwise).
 * Source: Azure OpenAI Realtime reference; the GA path refuses a dated `api-version`, and takes exactly one of model, call
 * and intent; the preview path refuses an intent together with a deployment.
 */
export function upstreamUrl(target: UpstreamTarget, { callId, intent }: Purpose = {}): URL {
  const { protocol, host } = target.endpoint;
  const at = (path: string, query: string) =>
    new URL(`${protocol === 'https:' ? 'wss:' : 'ws:'}//${host}${path}?${query}`);
  const deployment = encodeURIComponent(target.deployment);
  if (target.dialect === 'ga') {
    if (callId !== undefined) return at('/openai/v1/realtime', `call_id=${encodeURIComponent(callId)}`);
    return at('/openai/v1/realtime', intent === undefined ? `model=${deployment}` : `intent=${intent}`);
  }
  if (callId !== undefined) throw new Error(`Upstream ${target.name} speaks preview, which cannot attach to calls.`);
  const version = encodeURIComponent(target.apiVersion ?? lastPreview);
  const purpose = intent === undefined ? `deployment=${deployment}` : `intent=${intent}`;
  return at('/openai/realtime', `api-version=${version}&${purpose}`);
}
