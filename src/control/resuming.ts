/** Lets clients go on with sessions that another process has: their connection stays where it came in, and its bytes travel. */

import { z } from 'zod';
import type { Principal } from '../auth/principal.js';
import { RelayError } from '../errors.js';
import type { Connection } from '../legs/leg.js';
import { Comebacks, goesOn, type Verdict } from '../session/comebacks.js';
import type { Registered } from '../session/registry.js';
import type { Comer } from '../session/resumption.js';
import { resumeOutcomes } from '../telemetry/labels.js';
import type { Stream, Streams } from './streams.js';

const text = z.string().max(4096);

/** What of an upgrade request is needed to answer it elsewhere. */
const handshake = z.strictObject({
  key: z.string().max(24),
  hasProtocol: z.boolean(),
  requestId: z.string().max(200),
});
export type Handshake = z.output<typeof handshake>;

/** Somebody who was recognised where they came in. */
const comer = z.strictObject({
  principal: z.custom<Principal>((value) => typeof value === 'object' && value !== null),
  dialect: z.enum(['ga', 'preview']),
  token: z.string().max(200),
  received: z.int().nonnegative(),
});

/** Asked twice: first what would become of them, and then, over a way, that it does. */
export const resumeAsks = z.strictObject({
  verb: z.literal('resume'),
  comer,
  way: z.strictObject({ name: z.string().max(200), from: z.string().max(100), handshake }).nullable(),
});

/** What became of them, and the address of the process that said so; null where nothing is known of the session. */
export const resumeAnswer = z
  .strictObject({
    outcome: z.enum(resumeOutcomes),
    why: z.strictObject({ id: text, message: text, retryAfterMs: z.number().optional() }).nullable(),
    address: z.string().max(100),
  })
  .nullable();
type ResumeAnswer = z.output<typeof resumeAnswer>;

/** Answers an upgrade over a way to the process where it came in; null when that cannot be. */
type Accept = (handshake: Handshake, join: () => Stream, session: Registered) => Connection | null;

/** Those of this process, and how it takes up connections of others. */
export interface Resuming {
  readonly comebacks: Comebacks;
  /** Set when there is a door. */
  accept: Accept | null;
}

/** For the sessions of a process that has no door yet. */
export function createResuming(sessions: { find(id: string): Registered | undefined }): Resuming {
  return { comebacks: new Comebacks(sessions), accept: null };
}

/** Carries out `resume` in this process. */
export function resumeHere(
  { comebacks, accept }: Resuming,
  streams: Streams,
  { comer: who, way }: z.output<typeof resumeAsks>,
): ResumeAnswer {
  const verdict = way
    ? comebacks.resume(who, (session) => {
        return accept?.(way.handshake, () => streams.join(way.name, way.from), session) ?? null;
      })
    : comebacks.judge(who);
  if (!verdict) return null;
  const { outcome, why } = verdict;
  return { outcome, why: why && told(why), address: streams.address };
}

function told({ id, message, retryAfterMs }: RelayError): NonNullable<ResumeAnswer>['why'] {
  return { id, message, ...(retryAfterMs !== undefined && { retryAfterMs }) };
}

type AskResume = (asked: z.output<typeof resumeAsks>) => Promise<ResumeAnswer>;

/** What became of somebody with a session of another process, and the way over which it goes on. */
export interface Carried {
  readonly verdict: Verdict;
  readonly stream: Stream | null;
}

/** Asks the other processes; null where none knows of the session. Without a handshake it changes nothing. */
export async function resumeElsewhere(
  ask: AskResume,
  streams: Streams,
  who: Comer,
  shaken: Handshake | null,
): Promise<Carried | null> {
  if (!shaken) return carried(await ask({ verb: 'resume', comer: who, way: null }), null);
  const { name, stream, to } = streams.open();
  try {
    const way = { name, from: streams.address, handshake: shaken };
    const answer = await ask({ verb: 'resume', comer: who, way });
    const found = carried(answer, stream);
    if (found?.stream && answer) to(answer.address);
    else stream.end();
    return found;
  } catch (error) {
    stream.end();
    throw error;
  }
}

function carried(answer: ResumeAnswer, stream: Stream | null): Carried | null {
  if (!answer) return null;
  const { outcome, why } = answer;
  const error = why && new RelayError(why.id as RelayError['id'], why.message, { retryAfterMs: why.retryAfterMs });
  const verdict = { outcome, why: error };
  return { verdict, stream: goesOn(verdict) ? stream : null };
}
