/** Opens one WebSocket to an upstream, or says precisely why that failed. */

import type { Agent, ClientRequest, IncomingMessage } from 'node:http';
import { isIP, type Socket } from 'node:net';
import { type ClientOptions, WebSocket } from 'ws';
import { RelayError } from '../errors.js';
import { patience, Stop } from '../outbound/abort.js';
import { tunnelThrough } from '../outbound/proxy.js';
import { version } from '../version.js';
import { type CredentialHeader, secretsOf } from './authorizer.js';
import {
  DialFailure,
  exitOf,
  failureOfAnswer,
  failureOfCredential,
  failureOfError,
  failureOfPatience,
  type RequestIds,
  requestIdsOf,
} from './failure.js';
import { overtaken, unneeded } from './race.js';
import { readBody } from './refused.js';
import { type Purpose, type UpstreamTarget, upstreamUrl } from './target.js';

export interface DialOptions extends Purpose {
  /** The session's id, sent as `x-ms-client-request-id` so that Azure's records and the relay's can be joined. */
  requestId: string;
  /** Aborted when the client leaves. A RelayError as its reason is what the dial rejects with. */
  signal: AbortSignal;
  /** For everything: credential, connection, answer, and the second try after a 401. */
  timeoutSeconds: number;
  /** Bytes of one message from the upstream; default `mostMessageBytes`. */
  maxPayload?: number;
}

/** An open upstream. */
export interface Dialed {
  /** Open and paused, with an `error` listener: attach `message` and `close`, then resume. */
  socket: WebSocket;
  /** The TCP or TLS socket under it, for its buffer sizes and to destroy it. */
  stream: Socket;
  upstream: UpstreamTarget;
  requestIds: RequestIds;
}

type Phase = 'credential' | 'proxy' | 'name lookup' | 'TCP connection' | 'TLS handshake' | 'upgrade';

interface Dialing {
  readonly target: UpstreamTarget;
  readonly options: DialOptions;
  readonly stop: Stop;
  /** A proxy's half-open tunnel is reached by nothing but this. */
  tunnel: AbortController | null;
  phase: Phase;
  /** Ends the time of the phase. */
  limit: (() => void) | null;
}

/** Time for one phase; the others have what is left of the whole. A resolver may take 5 s to ask its second server. */
const phaseMs: Partial<Record<Phase, number>> = {
  proxy: 5000,
  'TCP connection': 3000,
  'TLS handshake': 3000,
  upgrade: 5000,
};

/** What the relay calls itself upstream. */
export const userAgent = `realtime-relay/${version}`;
/** The largest message that is read from an upstream, in bytes; its connection ends with a larger one. */
export const mostMessageBytes = 32 * 1024 * 1024;
/**
 * Pongs that may wait to be written before `ws` cuts a connection: more than the rate of control frames lets come before
 * a peer that does not read is found. By default a burst of honest pings would be enough.
 */
export const mostPendingPongs = 10_000;
/** Time the upstream has to answer a close frame before its socket is cut. */
const closeMs = 5000;

/**
 * Opens a session on the target. A 401 is answered with one forced refresh of the credential and one more try.
 *
 * Rejects with a RelayError that is safe to show to the client: its cause is a DialFailure for the operator, except when
 * `signal` was aborted.
 */
export async function dial(target: UpstreamTarget, options: DialOptions): Promise<Dialed> {
  if (options.signal.aborted) throw departure(options.signal, 'credential');
  const stop = new Stop();
  const attempt: Dialing = { target, options, stop, tunnel: null, phase: 'credential', limit: null };
  const leave = () => stop.because(departure(options.signal, attempt.phase));
  const whole = options.timeoutSeconds * 1000;
  const timer = patience(whole, () => stop.because(expiry(attempt, whole)));
  options.signal.addEventListener('abort', leave, { once: true });
  try {
    const header = await credential(attempt, () => target.authorize.header());
    try {
      return await connect(attempt, header);
    } catch (error) {
      if (!isRefusedCredential(error)) throw error;
      const renewed = await renew(attempt, header);
      if (renewed === null) throw error;
      return await connect(attempt, renewed);
    }
  } catch (error) {
    attempt.tunnel?.abort(error);
    throw error;
  } finally {
    timer();
    attempt.limit?.();
    options.signal.removeEventListener('abort', leave);
  }
}

/** Why something was given up in this phase: nobody wants it any more, or another upstream was quicker. */
export function departure({ reason }: AbortSignal, phase: string): RelayError {
  if (reason instanceof RelayError) return reason;
  if (reason === overtaken) {
    return exitOf(failureOfPatience('Another upstream was quicker', phase));
  }
  const cause = reason === unneeded ? undefined : reason;
  return new RelayError('normal', 'The session ended before the upstream was reached.', { cause });
}

function expiry({ phase }: Dialing, milliseconds: number): RelayError {
  return exitOf(failureOfPatience(`Not done within ${milliseconds / 1000} s`, phase));
}

function enter(attempt: Dialing, phase: Phase): void {
  attempt.limit?.();
  attempt.phase = phase;
  const milliseconds = phaseMs[phase];
  attempt.limit =
    milliseconds === undefined
      ? null
      : patience(milliseconds, () => attempt.stop.because(expiry(attempt, milliseconds)));
}

function isRefusedCredential(error: unknown): boolean {
  return error instanceof RelayError && error.cause instanceof DialFailure && error.cause.kind === 'wrong_credential';
}

async function credential<T>(attempt: Dialing, get: () => Promise<T>): Promise<T> {
  enter(attempt, 'credential');
  try {
    return await unlessStopped(attempt.stop, get());
  } catch (error) {
    if (attempt.stop.reason !== null) throw attempt.stop.reason;
    const failure = failureOfCredential(error);
    throw error instanceof RelayError && failure.kind === 'credential'
      ? new RelayError(error.id, error.message, { cause: failure })
      : exitOf(failure);
  }
}

/** Null also when the credential cannot be renewed: then the upstream's refusal is the better explanation. */
async function renew(attempt: Dialing, header: CredentialHeader): Promise<CredentialHeader | null> {
  try {
    return await credential(attempt, () => attempt.target.authorize.renew(header.value));
  } catch {
    if (attempt.stop.reason !== null) throw attempt.stop.reason;
    return null;
  }
}

/** Settles as `promise` does, or rejects as soon as the dial is stopped. */
function unlessStopped<T>(stop: Stop, promise: Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    stop.watch(reject);
    promise.then(resolve, reject);
  });
}

function connect(attempt: Dialing, header: CredentialHeader): Promise<Dialed> {
  const { target, stop } = attempt;
  const secrets = secretsOf(header, target.proxy);
  return new Promise((resolve, reject) => {
    const failed = (error: Error) => exitOf(failureOfError(error, attempt.phase, secrets));
    let socket: WebSocket;
    try {
      socket = open(attempt, header);
    } catch (error) {
      reject(failed(error instanceof Error ? error : new Error('The socket could not be made.')));
      return;
    }
    let answered: IncomingMessage;
    const finish = (error: unknown) => {
      stop.watch(null);
      reject(error);
      socket.terminate();
    };
    socket.on('error', (error) => finish(failed(error)));
    socket.once('upgrade', (answer) => {
      answered = answer;
    });
    socket.once('unexpected-response', (_request: ClientRequest, answer: IncomingMessage) => {
      const status = answer.statusCode ?? 0;
      // It has answered in time; reading the body has a limit of its own.
      attempt.limit?.();
      if (attempt.phase === 'proxy') {
        finish(exitOf(new DialFailure('proxy', `The proxy answered CONNECT with HTTP ${status}`, { status })));
        return;
      }
      void readBody(answer).then((body) =>
        finish(exitOf(failureOfAnswer({ status, headers: answer.headers, body }, secrets))),
      );
    });
    socket.once('open', () => {
      // At once: events that came with the handshake are emitted on the next tick.
      socket.pause();
      stop.watch(null);
      // The listeners above hold the credential. An error is always followed by `close`, which the owner acts on.
      socket.removeAllListeners();
      socket.on('error', ignored);
      const stream = answered.socket;
      for (const event of steps) stream.removeAllListeners(event);
      resolve({ socket, stream, upstream: target, requestIds: requestIdsOf(answered.headers, secrets) });
    });
    stop.watch(finish);
  });
}

/** Made here, where it can see nothing: it lives as long as the session. */
function ignored(): void {}

function open(attempt: Dialing, header: CredentialHeader): WebSocket {
  const { target, options } = attempt;
  const first = isIP(target.endpoint.hostname) === 0 ? 'name lookup' : 'TCP connection';
  enter(attempt, target.proxy === undefined ? first : 'proxy');
  // Options of `ws` that its type definitions do not know.
  const socketOptions: ClientOptions & { closeTimeout: number; maxPendingAutoPongs: number } = {
    headers: {
      [header.name]: header.value,
      'user-agent': userAgent,
      'x-ms-client-request-id': options.requestId,
    },
    followRedirects: false,
    perMessageDeflate: false,
    maxPayload: options.maxPayload ?? mostMessageBytes,
    maxFragments: 4096,
    closeTimeout: closeMs,
    maxPendingAutoPongs: mostPendingPongs,
    ...(target.proxy !== undefined && { agent: tunnelOf(attempt, target.proxy) }),
    finishRequest(request) {
      followPhases(attempt, request);
      request.end();
    },
  };
  return new WebSocket(upstreamUrl(target, options), socketOptions);
}

function tunnelOf(attempt: Dialing, proxy: string): Agent {
  attempt.tunnel = new AbortController();
  return tunnelThrough(proxy, attempt.tunnel.signal);
}

/** What a socket tells of its way to the upstream. */
const steps = ['lookup', 'connect', 'secureConnect'] as const;

function followPhases(attempt: Dialing, request: ClientRequest): void {
  const secure = attempt.target.endpoint.protocol === 'https:';
  const afterConnect: Phase = secure ? 'TLS handshake' : 'upgrade';
  if (attempt.tunnel) {
    request.once('proxyConnect', ({ statusCode }: { statusCode: number }) => {
      if (statusCode === 200) enter(attempt, afterConnect);
    });
  }
  request.once('socket', (socket: Socket) => {
    // Listeners only for what will come: each name makes the socket's table of them larger for as long as it lives.
    if (attempt.phase !== 'proxy') {
      if (attempt.phase === 'name lookup') {
        socket.once('lookup', (error: Error | null) => {
          if (error === null) enter(attempt, 'TCP connection');
        });
      }
      socket.once('connect', () => enter(attempt, afterConnect));
    }
    if (secure) socket.once('secureConnect', () => enter(attempt, 'upgrade'));
  });
}
