/** The verbs on live sessions: what each asks and what is answered. One more is a row here and a case in `control.ts`. */

import { z } from 'zod';
import { isObject, type JsonObject } from '../protocol/event.js';
import { answer } from './answer.js';
import { type Description, description } from './description.js';
import { resumeAnswer, resumeAsks } from './resuming.js';

/** Longer than what a token may say of its user. */
const name = z.string().max(4096);
const user = z.strictObject({ issuer: name, subject: name, tenant: name.nullable() });
/** Somebody with a token that may run out, or be withdrawn. */
const holder = user.extend({ tokenId: name.nullable(), expiresAt: z.number() });
/** By which a process is spoken to. */
export const address = z.string().max(100);
/** No id of a session is longer. */
export const longestId = 200;
const sessionId = z.string().max(longestId);

/** Whose sessions somebody may see and steer: those of a tenant, or of all. */
const reach = z.strictObject({ issuer: name, tenant: name }).nullable();
export type Reach = z.output<typeof reach>;

/** The most that a page of a list may have. */
export const longestPage = 100;

/** The longest that an answer is waited for. */
export const longestWaitMs = 30_000;

/** The most events that can be said at once. */
export const longestList = 50;

/** How somebody wants to follow a session. */
const wishes = z.strictObject({
  /** With sound. */
  audio: z.boolean(),
  /** With what the client sends. */
  clientEvents: z.boolean(),
  /** And whether they may also speak in it. */
  mayWrite: z.boolean(),
  /** Whether it is of one tenant, and uses what is not the tenant's. */
  isBound: z.boolean(),
});

/** What became of that: the address of the process that has the session, or that as many follow it as may. */
const following = z.discriminatedUnion('outcome', [
  z.strictObject({ outcome: z.literal('joined'), address }),
  z.strictObject({ outcome: z.literal('full') }),
]);

const said = z.discriminatedUnion('outcome', [
  z.strictObject({
    outcome: z.literal('placed'),
    ids: z.array(z.string().max(512)).max(longestList),
    /** Of the last answer that was asked for; null where it was not waited for, or did not come. */
    response: answer.nullable(),
    isReplayed: z.boolean(),
  }),
  z.strictObject({
    outcome: z.literal('refused'),
    code: z.string(),
    message: z.string(),
    param: z.string().nullable(),
  }),
  z.strictObject({ outcome: z.enum(['not_open', 'idempotency_mismatch', 'busy', 'crowded', 'backed_up']) }),
  z.strictObject({ outcome: z.literal('too_often'), waitMs: z.number() }),
]);

const takenOver = z.discriminatedUnion('outcome', [
  z.strictObject({
    outcome: z.literal('done'),
    id: z.string().max(1000),
    isOn: z.boolean(),
    /** The subject of who holds it. */
    by: name.nullable(),
  }),
  z.strictObject({ outcome: z.enum(['not_open', 'held', 'late']) }),
]);

/** A withdrawal of tokens, as it travels. */
export const revocation = z.strictObject({
  kind: z.enum(['user', 'token']),
  name,
  issuer: name.nullable(),
  tenant: name.nullable(),
  issuedUntil: z.number(),
  expiresAt: z.number(),
});

/** What is known of a verb, wherever it is carried out. */
interface Row<Asks, Answer> {
  readonly asks: Asks;
  /** What one process answers, and all together. */
  readonly answer: z.ZodType<Answer>;
  /** Makes one answer of those of several processes. */
  readonly merge: (answers: readonly Answer[]) => Answer;
  /** Of a verb on one session: whether it was there. Left out: every process is asked. */
  readonly isFound?: (answer: Answer) => boolean;
  /** Too much to be told to processes that do not have the session: it is looked for before. */
  readonly isLong?: boolean;
  /** Said when a process did not answer and nothing was found elsewhere; left out: then it had nothing to say. */
  readonly unanswered?: string;
  /** How long a process may take. */
  readonly withinMs: number;
}

/** Somebody waits at a door, and must not wait for a process that hangs. */
const withinMs = 1000;
const unanswered = 'A process of this relay did not answer in time; it may have done what was asked. Ask again.';
const yes = { answer: z.boolean(), merge: (answers: readonly boolean[]) => answers.includes(true) };

const verbs = {
  /** Withdraws tokens and ends their sessions; says how many that were, and whether it is kept. */
  revoke: row({
    asks: z.strictObject({
      verb: z.literal('revoke'),
      revocation,
      /** Whether it is to hold from now on; if not, it ends sessions and is forgotten. */
      keep: z.boolean(),
    }),
    answer: z.strictObject({
      ended: z.number(),
      isKept: z.boolean(),
      /** By the clock that all replicas go by, where there is one. */
      issuedUntil: z.number().optional(),
      expiresAt: z.number().optional(),
    }),
    merge: (answers) => ({
      ended: answers.reduce((sum, { ended }) => sum + ended, 0),
      isKept: answers.every(({ isKept }) => isKept),
    }),
    unanswered: 'A process of this relay did not confirm the revocation in time; send it again.',
    withinMs,
  }),
  /** Ends a call for its owner; says whether there was one. */
  hang_up: row({
    asks: z.strictObject({ verb: z.literal('hang_up'), id: sessionId, owner: user }),
    ...yes,
    isFound: (wasThere) => wasThere,
    withinMs,
  }),
  /** Ends a session of a user whose client has gone; says whether a place has become free by that. */
  end_ghost: row({
    asks: z.strictObject({ verb: z.literal('end_ghost'), user }),
    ...yes,
    // A client that may be gone has two seconds to say that it is not.
    withinMs: 3000,
  }),
  /** Lets somebody go on with their session over another connection; null where nothing is known of it. */
  resume: row({
    asks: resumeAsks,
    answer: resumeAnswer,
    merge: (answers) => answers.find((one) => one !== null) ?? null,
    isFound: (one) => one !== null,
    unanswered,
    withinMs,
  }),
  /** Lists sessions, the newest first: one more than asked for where there are more. */
  list: row({
    asks: z.strictObject({
      verb: z.literal('list'),
      reach,
      subject: name.nullable(),
      tenant: name.nullable(),
      profile: name.nullable(),
      /** Those that come before the session of this id; it may be over. */
      after: sessionId.nullable(),
      limit: z.int().min(1).max(longestPage),
    }),
    answer: z.array(description).max(longestPage + 1),
    merge: (answers) => newestFirst(answers.flat()).slice(0, longestPage + 1),
    unanswered: 'A process of this relay did not say in time which sessions it has; ask again.',
    withinMs,
  }),
  /** Describes a session; null where there is none. */
  inspect: row({
    asks: z.strictObject({ verb: z.literal('inspect'), id: sessionId, reach }),
    answer: description.nullable(),
    merge: (answers) => answers.find((one) => one !== null) ?? null,
    isFound: (one) => one !== null,
    unanswered,
    withinMs,
  }),
  /** Says the address of the process that has a session; null where none has it. */
  locate: row({
    asks: z.strictObject({ verb: z.literal('locate'), id: sessionId, reach }),
    answer: address.nullable(),
    merge: (answers) => answers.find((one) => one !== null) ?? null,
    isFound: (one) => one !== null,
    unanswered,
    withinMs,
  }),
  /** Joins a way to a session for a backend; null where there is none. */
  follow: row({
    asks: z.strictObject({
      verb: z.literal('follow'),
      id: sessionId,
      reach,
      way: z.string().max(200),
      from: address,
      wishes,
      by: user,
      requestId: z.string().max(200),
    }),
    answer: following.nullable(),
    merge: (answers) => answers.find((one) => one !== null) ?? null,
    isFound: (one) => one !== null,
    unanswered,
    withinMs,
  }),
  /** Says something in a session for a backend; null where there is none. */
  say: row({
    asks: z.strictObject({
      verb: z.literal('say'),
      id: sessionId,
      reach,
      by: user,
      events: z.array(z.custom<JsonObject>(isObject)).min(1).max(longestList),
      isSingle: z.boolean(),
      key: z.string().max(255).nullable(),
      digest: z.string().max(64),
      /** How long the last answer that is asked for is waited for. */
      waitMs: z.int().min(0).max(longestWaitMs),
    }),
    answer: said.nullable(),
    merge: (answers) => answers.find((one) => one !== null) ?? null,
    isFound: (one) => one !== null,
    isLong: true,
    unanswered,
    withinMs,
  }),
  /** Takes over a session, or gives it back; null where there is none. */
  take_over: row({
    asks: z.strictObject({
      verb: z.literal('take_over'),
      id: sessionId,
      reach,
      by: holder,
      on: z.boolean(),
      force: z.boolean(),
    }),
    answer: takenOver.nullable(),
    merge: (answers) => answers.find((one) => one !== null) ?? null,
    isFound: (one) => one !== null,
    unanswered,
    // Upstream has three seconds to fall silent.
    withinMs: 4000,
  }),
  /** Ends a session for a backend; says its id, or null where there is none. */
  end: row({
    asks: z.strictObject({ verb: z.literal('end'), id: sessionId, reach }),
    answer: sessionId.nullable(),
    merge: (answers) => answers.find((one) => one !== null) ?? null,
    isFound: (one) => one !== null,
    unanswered,
    withinMs,
  }),
} as const;

type Verbs = typeof verbs;
export type Verb = keyof Verbs;

/** What is to be done with live sessions. */
export type Command<V extends Verb = Verb> = { [K in V]: z.output<Verbs[K]['asks']> }[V];
/** What came of it. */
export type Answer<V extends Verb = Verb> = { [K in V]: z.output<Verbs[K]['answer']> }[V];

const asked = Object.values(verbs).map(({ asks }) => asks);
/** Any command, as it travels from process to process. */
export const command = z.discriminatedUnion('verb', asked as [(typeof asked)[number], ...typeof asked]);

/** What is known of the verb of a command. */
export function rowOf<V extends Verb>(verb: V): Row<z.ZodType<Command<V>>, Answer<V>> {
  return verbs[verb] as unknown as Row<z.ZodType<Command<V>>, Answer<V>>;
}

/** How long a process may take to carry a command out. */
export function patienceMs(command: Command): number {
  return verbs[command.verb].withinMs + ('waitMs' in command ? command.waitMs : 0);
}

/** Ids begin with the time, so their order is that of the sessions. */
export function newestFirst<T extends Pick<Description, 'id'>>(sessions: readonly T[]): T[] {
  return [...sessions].sort((a, b) => (a.id < b.id ? 1 : -1));
}

function row<Asks, Answer>(one: Row<Asks, Answer>): Row<Asks, Answer> {
  return one;
}
