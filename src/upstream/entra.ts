/** Entra credentials: a token cache that outlives an identity outage, and the only place that knows @azure/identity. */

import type { AccessToken, TokenCredential } from '@azure/identity';
import { RelayError } from '../errors.js';
import { untilAborted } from '../outbound/abort.js';
import { inTime } from '../wait.js';
import { lackOfDescriptors, shortageOf } from './shortage.js';

type Token = Pick<AccessToken, 'token' | 'expiresOnTimestamp' | 'refreshAfterTimestamp'>;

/** What the cache asks for tokens; any `TokenCredential` of @azure/identity is one. */
export interface TokenSource {
  /** With `forced`, whatever the source itself remembers should be forgotten first, where that is possible. */
  getToken(scope: string, options: { abortSignal: AbortSignal; forced?: boolean }): Promise<Token | null>;
}

/** One answer of the identity service, or its absence; `expiresAt` is in milliseconds since the epoch. */
export interface TokenEvent {
  kind: 'acquired' | 'failed';
  seconds: number;
  error?: unknown;
  expiresAt?: number;
}

interface TokenCacheOptions {
  credential: TokenSource;
  scope: string;
  /** Milliseconds since the epoch; default `Date.now`. */
  now?: () => number;
  /** Called after every request to the identity service; must not throw. */
  onEvent?: (event: TokenEvent) => void;
}

/** One token, kept fresh in the background. */
export interface TokenCache {
  /** A token that has not expired. Rejects with RelayError `upstream_unavailable` when there is none to be had. */
  token(): Promise<string>;
  /** After a 401: a token other than `staleToken` where the source has one, else possibly the same. Rejects as `token`. */
  refresh(staleToken: string): Promise<string>;
  /** Fetches the first token ahead of need and never rejects: failures show in `status()` and are retried. */
  warm(): Promise<void>;
  /** `expiresAt` is in milliseconds since the epoch; `lastError` is null once a request has succeeded again. */
  status(): { ready: boolean; expiresAt: number | null; lastError: string | null };
  /** Ends the timers and whatever request is under way. */
  close(): void;
}

interface CachedToken {
  readonly token: string;
  readonly expiresAt: number;
  /** Milliseconds of life under which a newer token is wanted. */
  readonly margin: number;
}

const marginMs = 5 * 60_000;
const requestMs = 10_000;
const patienceMs = 2_000;
const forceEveryMs = 30_000;
const pollMs = 15_000;
const overdueMs = 60_000;
const longestTimerMs = 60 * 60_000;
const longestBackoffMs = 30_000;

/**
 * Keeps one token for a scope, refreshed before it runs out.
 *
 * `getBearerTokenProvider` of @azure/identity is not used because a background refresh that fails there is an unhandled
 * rejection, which ends the process. Here the shared request resolves to its failure, so nothing can be left unhandled.
 */
export function createTokenCache(options: TokenCacheOptions): TokenCache {
  const { credential, scope, onEvent } = options;
  const now = options.now ?? Date.now;
  let cached: CachedToken | null = null;
  let flight: Promise<RelayError | null> | null = null;
  let failure: RelayError | null = null;
  let failures = 0;
  let failedAt = Number.NEGATIVE_INFINITY;
  let forcedAt = Number.NEGATIVE_INFINITY;
  let dueAt = 0;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;
  let request: AbortController | null = null;

  function alive(): CachedToken | null {
    return cached !== null && cached.expiresAt > now() ? cached : null;
  }

  function acquire(forced = false): Promise<RelayError | null> {
    flight ??= attempt(forced);
    return flight;
  }

  async function attempt(forced: boolean): Promise<RelayError | null> {
    clearTimeout(timer);
    const started = performance.now();
    try {
      accept(await ask(forced));
      failure = null;
      failures = 0;
    } catch (error) {
      failure = unavailable(error);
      failures += 1;
      failedAt = performance.now();
      const backoff = Math.min(longestBackoffMs, 1000 * 2 ** (failures - 1));
      dueAt = now() + backoff * (0.8 + 0.2 * Math.random());
    }
    flight = null;
    schedule();
    if (closed) return failure;
    const seconds = (performance.now() - started) / 1000;
    if (failure === null && cached !== null) onEvent?.({ kind: 'acquired', seconds, expiresAt: cached.expiresAt });
    else onEvent?.({ kind: 'failed', seconds, error: failure?.cause });
    return failure;
  }

  async function ask(forced: boolean): Promise<Token> {
    const abort = new AbortController();
    const late = new Error(`The identity service did not answer within ${requestMs / 1000} s.`);
    const limit = setTimeout(() => abort.abort(late), requestMs);
    limit.unref();
    request = abort;
    // A source may throw at once, and may ignore the signal.
    const answer = async () => credential.getToken(scope, { abortSignal: abort.signal, forced });
    try {
      return checked(await untilAborted(answer(), abort.signal), now());
    } finally {
      clearTimeout(limit);
      request = null;
    }
  }

  function accept(answer: Token): void {
    if (closed) throw new Error('The token cache was closed.');
    const moment = now();
    if (cached !== null && cached.token === answer.token) {
      // Managed identity keeps its own cache. It parts with a token in its last five minutes, or, past the time when it
      // should be refreshed, answers with the old one a last time while it fetches the next.
      const boundary = cached.expiresAt - cached.margin;
      const soon = moment + Math.min(pollMs, cached.margin);
      const overdue = (answer.refreshAfterTimestamp ?? Number.POSITIVE_INFINITY) <= moment;
      if (boundary <= moment) dueAt = soon;
      else dueAt = overdue ? Math.min(boundary, moment + overdueMs) : boundary;
      return;
    }
    const margin = Math.min(marginMs, (answer.expiresOnTimestamp - moment) / 2);
    // Only ever earlier than the margin, so that replicas started together do not all ask at once.
    const jitter = Math.random() * Math.min(60_000, margin * 0.2);
    const early = Math.min(
      answer.refreshAfterTimestamp ?? Number.POSITIVE_INFINITY,
      answer.expiresOnTimestamp - margin - jitter,
    );
    cached = { token: answer.token, expiresAt: answer.expiresOnTimestamp, margin };
    dueAt = Math.max(early, moment + Math.min(pollMs, margin));
  }

  function schedule(): void {
    clearTimeout(timer);
    if (closed) return;
    // A long timer would overflow, and a machine that sleeps or whose clock is set makes it wrong.
    timer = setTimeout(wake, Math.min(longestTimerMs, Math.max(1, dueAt - now())));
    timer.unref();
  }

  function wake(): void {
    if (now() < dueAt) schedule();
    else void acquire();
  }

  async function token(): Promise<string> {
    const held = alive();
    if (closed) throw unavailable(new Error('The token cache was closed.'));
    if (held === null) {
      // With an identity service that fails at once, every session would be a request to it.
      if (flight === null && failure !== null && performance.now() - failedAt < 1000) throw failure;
      const failed = await acquire();
      const got = alive();
      if (got === null) throw failed ?? unavailable(new Error('The token ran out while it was fetched.'));
      return got.token;
    }
    if (now() < dueAt) return held.token;
    const refreshed = acquire();
    if (held.expiresAt - now() >= held.margin) return held.token;
    await inTime(refreshed, patienceMs);
    const got = alive();
    if (got === null) throw failure ?? unavailable(new Error('The token ran out while it was refreshed.'));
    return got.token;
  }

  async function refresh(staleToken: string): Promise<string> {
    if (closed) throw unavailable(new Error('The token cache was closed.'));
    const held = alive();
    if (held !== null && held.token !== staleToken) return held.token;
    if (flight === null) {
      // An upstream that refuses every token must not turn each session into a request to the identity service.
      if (held !== null && performance.now() - forcedAt < forceEveryMs) return held.token;
      forcedAt = performance.now();
    }
    const failed = await acquire(true);
    const got = alive();
    if (failed !== null || got === null) throw failed ?? unavailable(new Error('The token ran out.'));
    return got.token;
  }

  return {
    token,
    refresh,
    async warm() {
      if (!closed && alive() === null) await acquire();
    },
    status: () => ({
      ready: alive() !== null,
      expiresAt: cached?.expiresAt ?? null,
      lastError: failure?.cause instanceof Error ? failure.cause.message : null,
    }),
    close() {
      closed = true;
      clearTimeout(timer);
      request?.abort(new Error('The token cache was closed.'));
      cached = null;
    },
  };
}

function checked(answer: Token | null, now: number): Token {
  if (answer === null) throw new Error('The credential returned no token.');
  if (typeof answer.token !== 'string' || !/^[\x21-\x7e]+$/.test(answer.token)) {
    throw new Error('The credential returned a token that cannot be sent in a header.');
  }
  if (!(answer.expiresOnTimestamp > now)) throw new Error('The credential returned a token that has expired.');
  return answer;
}

/** The original error stays behind: those of @azure/identity hold requests with secrets in their headers and bodies. */
function unavailable(error: unknown): RelayError {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : 'The credential failed without an error.';
  const cause = new Error(text.replace(/\s+/g, ' ').slice(0, 2000));
  // The libraries put texts of errors together and lose their codes.
  const code = shortageOf(error) ?? lackOfDescriptors();
  if (code !== null) Object.assign(cause, { code });
  return new RelayError('upstream_unavailable', 'The relay cannot obtain its upstream credential right now.', {
    cause,
  });
}

/**
 * `DefaultAzureCredential`, built on first use so that a relay with API keys does not load it.
 *
 * `clientId` names a user-assigned identity (also the workload identity); `disableInstanceDiscovery` is for private
 * clouds, whose authority the public instance metadata does not know.
 * A forced request starts with a new credential, whose memory is empty; only managed identity keeps its tokens for the
 * whole process, and gives the same one again until its last five minutes.
 */
export function createCredential(
  options: { clientId?: string; tenantId?: string; disableInstanceDiscovery?: boolean } = {},
): TokenSource {
  let built: Promise<TokenCredential> | null = null;
  return {
    async getToken(scope, { abortSignal, forced }) {
      if (built === null || forced === true) built = build(options);
      return (await built).getToken(scope, { abortSignal });
    },
  };
}

async function build(options: {
  clientId?: string;
  tenantId?: string;
  disableInstanceDiscovery?: boolean;
}): Promise<TokenCredential> {
  const { DefaultAzureCredential } = await import('@azure/identity');
  const { clientId, tenantId, disableInstanceDiscovery } = options;
  return new DefaultAzureCredential({
    ...(clientId === undefined ? {} : { managedIdentityClientId: clientId, workloadIdentityClientId: clientId }),
    ...(tenantId === undefined ? {} : { tenantId }),
    ...(disableInstanceDiscovery === undefined ? {} : { disableInstanceDiscovery }),
  });
}
