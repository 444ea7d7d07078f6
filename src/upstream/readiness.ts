/** When an instance may be given clients: once it can tell who they are, and has seen that it can open sessions. */

import { setTimeout as delay } from 'node:timers/promises';
import { exits, RelayError } from '../errors.js';
import { oneLine } from '../terminal.js';
import { faultOf } from './causes.js';
import { DialFailure } from './failure.js';

/**
 * `proven`: an instance is not ready before one session was opened upstream. `lenient`: it is ready, too, when none can be
 * opened for reasons that are not its own. `off`: it only needs a credential.
 */
type ReadinessRule = 'proven' | 'lenient' | 'off';

interface State {
  readonly ready: boolean;
  readonly detail: string | null;
}

interface Parts {
  rule(): ReadinessRule;
  /** Whether a dial would have a credential now. */
  credential(): State;
  /** Makes the keys ready that verify tokens. */
  keys(): Promise<void>;
  /** Opens a session upstream and lets go of it. */
  probe(signal: AbortSignal): Promise<unknown>;
  /** Told of each attempt that failed. */
  failed(what: Need, error: unknown): void;
}

/** What an instance needs to see once. */
type Need = 'keys' | 'upstream';

/** What `/readyz` asks; what was seen once is never asked again. */
export interface Readiness {
  /** Waits a moment for what has not been tried yet, so that the first answer is true. */
  state(): Promise<State>;
  /** What is known now, without trying anything: while nobody has asked for a session upstream, none is missed. */
  known(): State;
  /** A session was opened upstream. */
  proved(): void;
  close(): void;
}

const firstWaitMs = 1000;
const longestWaitMs = 30_000;
/** Those who ask wait for two or three seconds. */
const askMs = 700;

/**
 * Looks for the keys from now on, and for a session from the first question on, again and again until they were seen: who
 * never asks has no session opened.
 */
export function createReadiness({ rule, credential, keys, probe, failed }: Parts): Readiness {
  const closing = new AbortController();
  const { signal } = closing;
  const key = seek(keys, signal, (error) => failed('keys', error));
  const upstream = seek(
    () => probe(signal),
    signal,
    (error) => failed('upstream', error),
  );
  key.start();
  const known = (): State => {
    if (!key.isSeen()) return { ready: false, detail: `no keys to verify tokens yet${because(key.problem())}` };
    const { ready, detail } = credential();
    const problem = upstream.problem();
    const needsSession = rule() !== 'off' && upstream.isStarted() && !upstream.isSeen();
    if (!ready || !needsSession) return { ready, detail };
    if (rule() === 'lenient' && problem !== null && !isOurs(problem)) return { ready, detail };
    return { ready: false, detail: `no session was opened upstream yet${because(problem)}` };
  };
  return {
    async state() {
      const isAsked = rule() !== 'off';
      if (isAsked && !upstream.isSeen()) upstream.start();
      await Promise.all([key.tried, isAsked && upstream.tried].map((tried) => tried && within(tried, askMs)));
      return known();
    },
    known,
    proved: () => upstream.see(),
    close: () => closing.abort(new RelayError('draining', exits.draining.meaning)),
  };
}

/** Something that is tried until it succeeds, after longer and longer pauses. */
function seek(attempt: () => Promise<unknown>, signal: AbortSignal, failed: (error: unknown) => void) {
  let isSeen = false;
  let isStarted = false;
  let problem: unknown = null;
  let timer: NodeJS.Timeout | undefined;
  let toldFirst: () => void = () => undefined;
  const isOver = () => isSeen || signal.aborted;
  const see = () => {
    isSeen = true;
    clearTimeout(timer);
    toldFirst();
  };
  const fail = (error: unknown, waitMs: number) => {
    toldFirst();
    if (isOver()) return;
    // While every upstream is left alone, why that is tells more than that it is.
    if (problem === null || !(error instanceof RelayError) || error.cause !== undefined) problem = error;
    failed(error);
    // Instances that were started together do not ask together.
    timer = setTimeout(look, waitMs * (0.8 + 0.2 * Math.random()), Math.min(longestWaitMs, waitMs * 2));
    timer.unref();
  };
  const look = (waitMs: number) => {
    if (!isOver()) attempt().then(see, (error: unknown) => fail(error, waitMs));
  };
  signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
  return {
    /** Resolves when the first attempt is over. */
    tried: new Promise<void>((resolve) => {
      toldFirst = resolve;
    }),
    isStarted: () => isStarted,
    isSeen: () => isSeen,
    problem: () => problem,
    start() {
      if (!isStarted) look(firstWaitMs);
      isStarted = true;
    },
    see,
  };
}

async function within(promise: Promise<void>, milliseconds: number): Promise<void> {
  const timer = new AbortController();
  await Promise.race([
    promise,
    delay(milliseconds, undefined, { signal: timer.signal, ref: false }).catch(() => undefined),
  ]);
  timer.abort();
}

function isOurs(problem: unknown): boolean {
  const failure = failureOf(problem);
  const fault = failure && faultOf(failure);
  return fault === 'relay' || fault === 'identity';
}

function because(problem: unknown): string {
  if (problem === null) return '';
  const failure = failureOf(problem);
  if (!failure) return `: ${problem instanceof Error ? reasonOf(problem) : 'for no known reason'}`;
  const status = failure.status === undefined ? '' : `, HTTP ${failure.status}`;
  return `: ${failure.kind}${status}. ${failure.advice}`;
}

/** What a client may not know, such as what is wrong with the key set, is for the operator the reason. */
function reasonOf({ message, cause }: Error): string {
  return cause instanceof Error ? `${message} ${oneLine(cause.message, 500)}` : message;
}

function failureOf(problem: unknown): DialFailure | null {
  const cause = problem instanceof RelayError ? problem.cause : problem;
  return cause instanceof DialFailure ? cause : null;
}
