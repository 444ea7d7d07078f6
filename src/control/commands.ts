/** The verbs on live sessions: what each asks and what is answered. One more is a row here and a case in `control.ts`. */

import { z } from 'zod';

/** Longer than what a token may say of its user. */
const name = z.string().max(4096);
const user = z.strictObject({ issuer: name, subject: name, tenant: name.nullable() });
/** One of a session's ids. */
const sessionId = z.string().max(1000);

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
  /** Said when a process did not answer and nothing was found elsewhere; left out: then it had nothing to say. */
  readonly unanswered?: string;
  /** How long a process may take. */
  readonly withinMs: number;
}

/** Somebody waits at a door, and must not wait for a process that hangs. */
const withinMs = 1000;
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
    answer: z.strictObject({ ended: z.number(), isKept: z.boolean() }),
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

function row<Asks, Answer>(one: Row<Asks, Answer>): Row<Asks, Answer> {
  return one;
}
