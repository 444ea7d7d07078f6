/** All that can be asked over HTTP, for the description of it: by the schemas with which the doors judge and answer. */

import { z } from 'zod';
import { description } from '../control/description.js';
import { callPaths } from './calls.js';
import { answering, placing, saying, sayingQuery } from './events.js';
import {
  minted,
  mintedPreview,
  minting,
  previewKeyPath,
  secretPaths,
  sessionPaths,
  transcriptionPaths,
} from './minting.js';
import { doorPaths } from './paths.js';
import { revocationPath, withdrawal, withdrawn } from './revocations.js';
import type { Scope } from './rights.js';
import { endedSession, listQuery, sessionList, sessionsPath } from './sessions.js';
import { taken, taking } from './takeover.js';

/** A body: JSON of a schema, or text of another type. */
export type Content = { readonly schema: z.ZodType } | { readonly type: string };

/** An answer that is no refusal. */
interface Success {
  readonly status: number;
  readonly meaning: string;
  readonly content?: Content;
}

/** One method of one path. */
export interface Operation {
  readonly method: 'get' | 'post' | 'delete';
  readonly path: string;
  readonly summary: string;
  /** Who may: anybody, whoever has a token, or a backend with this scope. */
  readonly for: 'anybody' | 'tokens' | Scope;
  readonly query?: z.ZodObject;
  readonly body?: Content & { readonly isRequired: boolean };
  readonly success: Success;
  /** What else it may be answered with. */
  readonly otherwise?: Success;
  /** What it may be refused with beside what its `for` brings. */
  readonly refusals: readonly number[];
}

/** Where the description is. */
export const openApiPath = '/v1/relay/openapi.json';

/** The schemas that have a name of their own in the description. */
export const named = {
  Session: description,
  SessionList: sessionList,
  EndedSession: endedSession,
  Events: saying,
  PlacedEvents: placing,
  AnsweredEvents: answering,
  Takeover: taking,
  TakenOver: taken,
  Withdrawal: withdrawal,
  Revocation: withdrawn,
  ClientSecretRequest: minting,
  ClientSecret: minted,
  PreviewClientSecret: mintedPreview,
  Error: z.strictObject({
    error: z.looseObject({
      type: z.string(),
      code: z.string().describe('An id of PROTOCOL.md, "How sessions end", or of "Refusals".'),
      message: z.string(),
      param: z.string().nullable(),
      retryable: z.boolean(),
      retry_after_ms: z.int().optional(),
    }),
  }),
  Status: z.strictObject({ status: z.string() }),
  About: z.strictObject({ name: z.string(), message: z.string(), paths: z.array(z.string()) }),
} as const satisfies Readonly<Record<string, z.ZodType>>;

const onOff = z.enum(['on', 'off']);

const backends: readonly Operation[] = [
  {
    method: 'get',
    path: sessionsPath,
    summary: 'List live sessions, the newest first',
    for: 'relay.sessions.read',
    query: listQuery,
    success: { status: 200, meaning: 'A page of them.', content: { schema: sessionList } },
    refusals: [400, 429, 503],
  },
  {
    method: 'get',
    path: `${sessionsPath}/{id}`,
    summary: 'Show a live session',
    for: 'relay.sessions.read',
    success: { status: 200, meaning: 'The session.', content: { schema: description } },
    refusals: [404, 429, 503],
  },
  {
    method: 'delete',
    path: `${sessionsPath}/{id}`,
    summary: 'End a live session',
    for: 'relay.sessions.write',
    success: { status: 200, meaning: 'It has ended.', content: { schema: endedSession } },
    refusals: [404, 429, 503],
  },
  {
    method: 'post',
    path: `${sessionsPath}/{id}/events`,
    summary: 'Say something in a live session, as the server',
    for: 'relay.sessions.write',
    query: sayingQuery,
    body: { schema: saying, isRequired: true },
    success: { status: 202, meaning: 'They are placed in the order of the session.', content: { schema: placing } },
    otherwise: { status: 200, meaning: 'The answer that was waited for.', content: { schema: answering } },
    refusals: [400, 404, 409, 413, 429, 503],
  },
  {
    method: 'get',
    path: `${sessionsPath}/{id}/sideband`,
    summary: 'Follow a live session on a WebSocket, and speak in it',
    for: 'relay.sessions.read',
    query: z.object({
      audio: onOff.optional().describe('Whether sound is shown.'),
      client_events: onOff.optional().describe('Whether what the client sends is shown.'),
    }),
    success: { status: 101, meaning: 'A WebSocket of Realtime events.' },
    refusals: [400, 404, 426, 429, 503],
  },
  {
    method: 'post',
    path: `${sessionsPath}/{id}/takeover`,
    summary: 'Take over a live session, so that the model answers backends only, or give it back',
    for: 'relay.sessions.write',
    body: { schema: taking, isRequired: true },
    success: { status: 200, meaning: 'How things stand.', content: { schema: taken } },
    refusals: [400, 404, 409, 413, 429, 503, 504],
  },
  {
    method: 'post',
    path: revocationPath,
    summary: 'Withdraw the tokens of a user, or one token, and end their sessions',
    for: 'relay.revoke',
    body: { schema: withdrawal, isRequired: true },
    success: { status: 200, meaning: 'They are withdrawn.', content: { schema: withdrawn } },
    refusals: [400, 413, 429, 503],
  },
];

const minted200 = (schema: z.ZodType) => ({ status: 200, meaning: 'The secret.', content: { schema } });
const mints: Omit<Operation, 'path' | 'success'> = {
  method: 'post',
  summary: 'Mint a client secret for one session',
  for: 'tokens',
  body: { schema: minting, isRequired: false },
  refusals: [400, 403, 413, 429, 503],
};
const sdp = { type: 'application/sdp' };

const apps: readonly Operation[] = [
  ...secretPaths.map((path): Operation => ({ ...mints, path, success: minted200(minted) })),
  ...sessionPaths.map((path): Operation => ({ ...mints, path, success: minted200(mintedPreview) })),
  ...transcriptionPaths.map(
    (path): Operation => ({
      ...mints,
      path,
      summary: 'Mint a client secret for one session that transcribes',
      success: minted200(mintedPreview),
    }),
  ),
  {
    ...mints,
    path: previewKeyPath,
    summary: "Mint upstream's own ephemeral key, where the profile says so",
    success: minted200(mintedPreview),
    refusals: [...mints.refusals, 502, 504],
  },
  ...callPaths.flatMap((path): Operation[] => [
    {
      method: 'post',
      path,
      summary: 'Start a WebRTC call: an SDP offer in, an SDP answer out',
      for: 'tokens',
      body: { ...sdp, isRequired: true },
      success: { status: 201, meaning: 'The answer; Location names the call.', content: sdp },
      refusals: [400, 403, 413, 429, 502, 503, 504],
    },
    {
      method: 'post',
      path: `${path}/{id}/hangup`,
      summary: 'End a call of one’s own',
      for: 'tokens',
      success: { status: 200, meaning: 'It has ended.' },
      refusals: [403, 404, 429],
    },
  ]),
  ...doorPaths.map(
    (path): Operation => ({
      method: 'get',
      path,
      summary: 'Connect a WebSocket for a session',
      for: 'tokens',
      query: z.object({ model: z.string().optional().describe('Only a wish; see PROTOCOL.md for all parameters.') }),
      success: { status: 101, meaning: 'A WebSocket of Realtime events.' },
      refusals: [400, 403, 426, 429, 502, 503],
    }),
  ),
];

const open = (path: string, summary: string, schema: z.ZodType, refusals: readonly number[] = []): Operation => ({
  method: 'get',
  path,
  summary,
  for: 'anybody',
  success: { status: 200, meaning: 'So it is.', content: { schema } },
  refusals,
});

/** All operations, in the order in which they are described. */
export const operations: readonly Operation[] = [
  ...backends,
  open(openApiPath, 'This description', z.looseObject({ openapi: z.literal('3.1.0') })),
  ...apps,
  open('/healthz', 'Whether the process lives', named.Status),
  open('/readyz', 'Whether it takes new sessions', named.Status, [503]),
  open('/', 'What this is', named.About),
];
