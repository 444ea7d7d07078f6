/** Why a dial failed: what the client may know (an exit) and what the operator needs to know (kind and advice). */

import type { IncomingHttpHeaders } from 'node:http';
import { type ExitId, exits, RelayError } from '../errors.js';
import { adviceOn, type DialKind } from './causes.js';
import { shortageOf } from './shortage.js';

/** Request ids of the upstream, as support asks for them. */
export type RequestIds = Readonly<Record<string, string>>;

interface Details {
  status?: number | undefined;
  code?: string | null;
  phase?: string;
  retryAfterMs?: number | undefined;
  requestIds?: RequestIds;
}

/** The cause of a RelayError from a dial, for the log only: it may name the upstream, never a credential. */
export class DialFailure extends Error {
  readonly kind: DialKind;
  /** HTTP status of the answer to the upgrade, when there was one. */
  readonly status: number | undefined;
  /** The upstream's own error code, or the system's. */
  readonly code: string | null;
  /** Whether it was counted as a dial, so that the end of its session is not one more. */
  isCounted = false;
  /** How far the dial had come, where that is known. */
  readonly phase: string | null;
  /** What the operator should do. */
  readonly advice: string;
  readonly retryAfterMs: number | undefined;
  readonly requestIds: RequestIds;

  constructor(kind: DialKind, message: string, details: Details = {}) {
    super(message);
    this.name = 'DialFailure';
    this.kind = kind;
    this.status = details.status;
    this.code = details.code ?? null;
    this.advice = adviceOn(kind);
    this.phase = details.phase ?? null;
    this.retryAfterMs = details.retryAfterMs;
    this.requestIds = details.requestIds ?? {};
  }
}

/** Descriptors come back as sessions end. */
const shortageMs = 2000;

/** The failure as the client may learn it: the exit and its general meaning. */
export function exitOf(failure: DialFailure): RelayError {
  const id = exitIdOf(failure);
  const retryAfterMs = failure.kind === 'shortage' ? shortageMs : failure.retryAfterMs;
  return new RelayError(id, exits[id].meaning, { cause: failure, retryAfterMs });
}

function exitIdOf(failure: DialFailure): ExitId {
  if (failure.kind === 'shortage') return 'overloaded';
  if (failure.kind === 'timeout') return 'upstream_timeout';
  if (failure.kind === 'throttled' || failure.kind === 'credential' || failure.status === 503) {
    return 'upstream_unavailable';
  }
  return 'upstream_failed';
}

/**
 * First match wins; `code` and `message` are those of the error body. Azure spells one code with a double p, and tells
 * its network rules from other 403s only in the message.
 */
const answers: readonly { from: number; to: number; code?: RegExp; message?: RegExp; kind: DialKind }[] = [
  { from: 200, to: 299, kind: 'not_websocket' },
  { from: 300, to: 399, kind: 'redirect' },
  { from: 400, to: 400, code: /^Opp?erationNotSupported$/i, kind: 'not_realtime' },
  { from: 401, to: 403, code: /^PermissionDenied$/i, kind: 'missing_role' },
  { from: 401, to: 401, kind: 'wrong_credential' },
  { from: 403, to: 403, message: /virtual network|firewall|public access|private endpoint/i, kind: 'network_rules' },
  { from: 403, to: 403, kind: 'forbidden' },
  { from: 404, to: 404, code: /^DeploymentNotFound$/i, kind: 'deployment_not_found' },
  { from: 404, to: 404, code: /^call_id_not_found$/i, kind: 'call_not_found' },
  { from: 404, to: 405, kind: 'wrong_path' },
  { from: 407, to: 407, kind: 'proxy' },
  { from: 426, to: 426, kind: 'not_websocket' },
  { from: 429, to: 429, kind: 'throttled' },
  { from: 431, to: 431, kind: 'too_many_headers' },
  { from: 400, to: 499, kind: 'bad_request' },
  { from: 500, to: 599, kind: 'server_error' },
];

/** What an HTTP answer in place of the upgrade means. `secrets` are cut out of everything that is kept. */
export function failureOfAnswer(
  answer: { status: number; headers: IncomingHttpHeaders; body: string },
  secrets: readonly string[],
): DialFailure {
  const { status, headers } = answer;
  const body = readBody(answer.body);
  const row = answers.find(
    (candidate) =>
      status >= candidate.from &&
      status <= candidate.to &&
      (candidate.code === undefined || candidate.code.test(body.code)) &&
      (candidate.message === undefined || candidate.message.test(body.message)),
  );
  const code = wordOf(body.code, secrets);
  const target = originOf(headers.location);
  const says = [code, target === null ? null : `to ${target}`, body.message || null].filter((part) => part !== null);
  return new DialFailure(row?.kind ?? 'unknown', clean(`HTTP ${status}: ${says.join(', ')}`, secrets), {
    status,
    code,
    retryAfterMs: status === 429 || status === 503 ? retryAfter(headers, body.message) : undefined,
    requestIds: requestIdsOf(headers, secrets),
  });
}

/** What upstream's own error event means, where a session should have begun. */
export function failureOfEvent(error: unknown): DialFailure {
  const code = field(error, 'code');
  const message = field(error, 'message');
  const word = typeof code === 'string' ? wordOf(code, []) : null;
  const row = answers.find((one) => one.code !== undefined && word !== null && one.code.test(word));
  const says = [word ?? 'no session.created', typeof message === 'string' ? message : null].filter(Boolean).join(', ');
  return new DialFailure(row?.kind ?? 'no_session', clean(`${says} (greeting)`, []), { code: word, phase: 'greeting' });
}

/** A dial that took too long: in the phase of the credential it is not known whether upstream is there at all. */
export function failureOfPatience(message: string, phase: string): DialFailure {
  return new DialFailure(phase === 'credential' ? 'credential' : 'timeout', `${message} (${phase})`, { phase });
}

function readBody(text: string): { code: string; message: string } {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    // Gateways answer with HTML or nothing.
    return { code: '', message: text.replace(/<[^<>]*>/g, ' ').trim() };
  }
  const error = field(parsed, 'error') ?? parsed;
  const code = field(error, 'code');
  const message = field(error, 'message');
  return {
    code: typeof code === 'string' || typeof code === 'number' ? String(code) : '',
    message: typeof message === 'string' ? message : '',
  };
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function originOf(location: string | undefined): string | null {
  return location !== undefined && URL.canParse(location) ? new URL(location).origin : null;
}

/** Milliseconds, from `retry-after-ms`, `Retry-After` (RFC 9110 section 10.2.3: seconds or a date) or the message. */
function retryAfter(headers: IncomingHttpHeaders, message: string): number | undefined {
  const precise = headers['retry-after-ms'];
  const general = headers['retry-after'];
  const spoken = /retry after (\d{1,6})\s*(milli)?s/i.exec(message);
  const candidates = [
    typeof precise === 'string' ? numberOf(precise) : Number.NaN,
    typeof general === 'string' ? numberOf(general) * 1000 : Number.NaN,
    typeof general === 'string' && general.endsWith(' GMT') ? Date.parse(general) - Date.now() : Number.NaN,
    spoken === null ? Number.NaN : Number(spoken[1]) * (spoken[2] === undefined ? 1000 : 1),
  ];
  const wait = candidates.find((candidate) => !Number.isNaN(candidate));
  return wait === undefined ? undefined : Math.min(300_000, Math.max(1000, Math.round(wait)));
}

function numberOf(text: string): number {
  return /^\s*\d+(\.\d+)?\s*$/.test(text) ? Number(text) : Number.NaN;
}

/** The ids by which Azure support finds a request; only plain words of up to 128 characters. */
export function requestIdsOf(headers: IncomingHttpHeaders, secrets: readonly string[]): RequestIds {
  const ids: Record<string, string> = {};
  for (const name of ['apim-request-id', 'x-request-id', 'x-ms-region']) {
    const value = headers[name];
    if (typeof value !== 'string' || !/^[\x20-\x7e]{1,128}$/.test(value)) continue;
    if (!secrets.some((secret) => value.includes(secret))) ids[name] = value;
  }
  return ids;
}

const systemKinds: readonly [RegExp, DialKind][] = [
  [/^(ENOTFOUND|ENODATA|EAI_\w+)$/, 'dns'],
  [/^(ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_MISMATCH|INVALID_CA|EPROTO)/, 'tls'],
  [/^HPE_/, 'not_websocket'],
  [/^(ECONNREFUSED|EHOSTUNREACH|EHOSTDOWN|ENETUNREACH|ENETDOWN|ETIMEDOUT|EACCES)$/, 'unreachable'],
  [/^(ECONNRESET|ECONNABORTED|EPIPE)$/, 'reset'],
];

/**
 * What an error of the socket means in the phase it happened in. The error itself is left behind: an HTTP parse error
 * holds the upstream's bytes, which may repeat the credential.
 */
export function failureOfError(error: Error, phase: string, secrets: readonly string[]): DialFailure {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  const message = clean(`${error.message || code} (${phase})`, secrets);
  const shortage = shortageOf(error);
  if (shortage !== null) return new DialFailure('shortage', message, { code: shortage, phase });
  if (phase === 'proxy') return new DialFailure('proxy', message, { code: wordOf(code, secrets), phase });
  // ws reports a wrong accept key, subprotocol or extension without a code.
  const kind = code === '' ? 'not_websocket' : systemKinds.find(([pattern]) => pattern.test(code))?.[1];
  return new DialFailure(kind ?? 'unknown', message, { code: wordOf(code, secrets), phase });
}

/** Why no credential could be had: the identity's fault, unless the relay could not even ask. */
export function failureOfCredential(error: unknown): DialFailure {
  const detail = error instanceof RelayError && error.cause instanceof Error ? error.cause : error;
  const message = clean(detail instanceof Error ? detail.message : 'No credential', []);
  const code = shortageOf(error);
  return new DialFailure(code === null ? 'credential' : 'shortage', message, { code });
}

function wordOf(text: string, secrets: readonly string[]): string | null {
  return /^[\w.:-]{1,64}$/.test(text) && !secrets.some((secret) => text.includes(secret)) ? text : null;
}

/** One bounded line without secrets; they are cut out first, since half of one would no longer be found. */
function clean(text: string, secrets: readonly string[]): string {
  let result = text;
  for (const secret of secrets) result = result.replaceAll(secret, '[credential]');
  return result
    .replace(/[^\x20-\x7e]+/g, ' ')
    .replace(/ {2,}/g, ' ')
    .slice(0, 500);
}
