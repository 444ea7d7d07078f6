/** The tools of a profile, as they are configured. What they may not be together is judged in config/toolrules.ts. */

import { z } from 'zod';

const line = z.string().trim().min(1);
/** Key of a signature: Standard Webhooks asks for 24 to 64 bytes. */
export const signingSecret = z
  .string()
  .regex(
    /^(whsec_)?[A-Za-z0-9+/]{32,86}={0,2}$/,
    'a secret is 24 to 64 random bytes in base64, with or without the prefix whsec_',
  );

/** Two while one takes the place of the other. */
export const signingSecrets = z.union([signingSecret, z.array(signingSecret).min(1).max(2)]);

const name = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/, 'a name is 1 to 64 of a-z, A-Z, 0-9, _ and -')
  .describe('How the model calls it.');
const parameters = z
  .record(z.string(), z.unknown())
  .optional()
  .describe('JSON Schema (2020-12) of the arguments, an object. Left out: any object.');

const described = { name, description: z.string().optional().describe('What it is for, in words for the model.') };

/** What all tools have that the server answers for. */
const served = {
  timeout_seconds: z
    .number()
    .min(0.1)
    .max(120)
    .default(10)
    .describe('For all of a call, waiting included; then the model is told that it took too long.'),
  on_interrupt: z
    .enum(['finish', 'abort'])
    .default('finish')
    .describe('What becomes of a running call when the user speaks or cancels.'),
  result: z
    .enum(['model', 'client', 'both'])
    .default('model')
    .describe('Who is given the result. `client`: the model gets an empty output.'),
  reply: z
    .enum(['always', 'silent', 'if_quiet'])
    .optional()
    .describe(
      'Whether the model answers after it. `if_quiet`: when it said nothing in the response of the call. Left out: `always`, for `role: grounding` `if_quiet`, for `runs: backend` `silent`.',
    ),
  after: z
    .enum(['any', 'user'])
    .default('any')
    .describe(
      '`user`: refused in a round that follows the output of a tool without new words of the user, so that no text found by a tool calls it.',
    ),
  filler: z
    .strictObject({
      after_ms: z.number().int().min(500).max(30_000).default(3000).describe('Silence before it is said.'),
      say: line.describe('What is said while the call runs, in the language of the conversation.'),
    })
    .optional(),
};

const http = z.strictObject({
  url: line.describe('Where it is asked. `http://` only for private addresses.'),
  method: z.enum(['POST', 'GET']).default('POST'),
  headers: z.record(z.string(), z.string()).default({}).describe('May hold `{{claims.name}}` and `{{issuer}}`.'),
  auth: z
    .strictObject({
      entra_scope: line.optional().describe('Scope of a Microsoft Entra token, which ends in /.default.'),
      bearer: line.optional().describe('A token of the endpoint’s own.'),
    })
    .optional(),
  secret: signingSecrets
    .optional()
    .describe('Signs each request as Standard Webhooks does; the new one first while it is exchanged. POST only.'),
  claims: z.array(line).max(32).default([]).describe('Claims of the user that are sent in the body.'),
  private: z.boolean().default(false).describe('Whether the name may lead to private and loopback addresses.'),
});

/** Fields of an index stand in lists with commas; one of a complex field has its path. */
const field = z.string().regex(/^[A-Za-z][\w/]{0,255}$/, 'a field is called by letters, digits, _ and /');

const search = z.strictObject({
  endpoint: line.describe('The search service, such as https://my-search.search.windows.net.'),
  index: z.string().regex(/^[a-z0-9-]{2,128}$/, 'an index is called by 2 to 128 of a-z, 0-9 and -'),
  api_key: line.optional().describe('A query key. Left out: Microsoft Entra.'),
  scope: line.default('https://search.azure.com/.default').describe('Scope of the Microsoft Entra token.'),
  api_version: line.default('2026-04-01'),
  role: z
    .enum(['search', 'grounding'])
    .default('search')
    .describe('`grounding`: fetches the sources that the model cites, for the client to show.'),
  query: z.enum(['keyword', 'vector', 'semantic', 'hybrid']).default('hybrid'),
  fields: z
    .strictObject({
      id: field.default('chunk_id'),
      content: field.default('chunk'),
      title: field.default('title'),
      vector: field.default('text_vector'),
    })
    .prefault({}),
  semantic_configuration: line
    .optional()
    .describe('For `semantic`, and for `hybrid` where results are to be reranked.'),
  top: z.number().int().min(1).max(50).default(5),
  filter: line
    .optional()
    .describe('OData filter; `{{claims.name}}` in quotes is that claim of the user, without which nothing is found.'),
  private: z
    .boolean()
    .optional()
    .describe(
      'Whether the name may lead to private and loopback addresses. Left out: only that of a search service may.',
    ),
});

const clientTool = z.strictObject({ ...described, parameters, runs: z.literal('client') });
const httpTool = z.strictObject({ ...described, parameters, runs: z.literal('http'), ...served, http });
const searchTool = z.strictObject({ ...described, runs: z.literal('search'), ...served, search });
const backendTool = z.strictObject({ ...described, parameters, runs: z.literal('backend'), ...served });

/** One entry under `tools:` of a profile. */
export const toolSchema = z.discriminatedUnion('runs', [clientTool, httpTool, searchTool, backendTool]);

/** A tool as it is configured, with the defaults. */
export type ProfileTool = z.output<typeof toolSchema>;
/** One that asks an HTTP endpoint. */
export type HttpTool = z.output<typeof httpTool>;
/** One that asks Azure AI Search. */
export type SearchTool = z.output<typeof searchTool>;
/** One that the server answers for, so that a client sees nothing of its calls. */
export type ServedTool = Exclude<ProfileTool, { runs: 'client' }>;

/** Whether the server answers for a tool. */
export function isServed(tool: ProfileTool): tool is ServedTool {
  return tool.runs !== 'client';
}

/** When the model answers after a tool: what is configured, or the default of its kind. */
export function replyOf(tool: ServedTool): NonNullable<ServedTool['reply']> {
  if (tool.reply) return tool.reply;
  if (tool.runs === 'backend') return 'silent';
  return tool.runs === 'search' && tool.search.role === 'grounding' ? 'if_quiet' : 'always';
}

/** The Entra scope that a tool needs a token of, or null. */
export function scopeOf(tool: ProfileTool): string | null {
  if (tool.runs === 'http') return tool.http.auth?.entra_scope ?? null;
  return tool.runs === 'search' && tool.search.api_key === undefined ? tool.search.scope : null;
}

const built = {
  search: {
    description:
      'Search the knowledge base. The query is in English. Each result is the name of a source in square brackets, its text, and a line of dashes.',
    key: 'query',
    schema: { type: 'string', description: 'What to search for' },
  },
  grounding: {
    description:
      'Report the sources that an answer is based on. Always cite the sources you used, by their names as they stand in square brackets, and only those that you really used.',
    key: 'sources',
    schema: { type: 'array', items: { type: 'string' }, description: 'The names of the sources that were used' },
  },
} as const;

/** A tool as the model sees it: what it is called, what for, and with what. */
export function presented(tool: ProfileTool): { name: string; description?: string; parameters?: object } {
  const { name } = tool;
  if (tool.runs === 'search') {
    const { description, key, schema } = built[tool.search.role];
    const parameters = { type: 'object', properties: { [key]: schema }, required: [key], additionalProperties: false };
    return { name, description: tool.description ?? description, parameters };
  }
  const parameters = tool.parameters ?? (isServed(tool) ? { type: 'object', properties: {} } : undefined);
  return {
    name,
    ...(tool.description !== undefined && { description: tool.description }),
    ...(parameters !== undefined && { parameters }),
  };
}
