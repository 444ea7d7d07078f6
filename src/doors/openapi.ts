/** The description of all HTTP routes in OpenAPI 3.1, made of the schemas that judge. */

import { z } from 'zod';
import { version } from '../version.js';
import { type Content, named, type Operation, operations } from './operations.js';

const registry = z.registry<{ id: string }>();
for (const [id, schema] of Object.entries(named)) registry.add(schema, { id });

/** Without what says nothing to a reader, or means something else outside of a schema of its own. */
function plain(schema: Record<string, unknown>): Record<string, unknown> {
  const { $schema, $id, ...rest } = schema;
  return rest;
}

const options = {
  io: 'input',
  // Every whole number of JavaScript has these bounds.
  override({ jsonSchema }: { jsonSchema: { minimum?: number; maximum?: number } }) {
    if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
    if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
  },
} as const;

function schemas(): object {
  const made = z.toJSONSchema(registry, { ...options, uri: (id) => `#/components/schemas/${id}` });
  return Object.fromEntries(Object.entries(made.schemas).map(([id, schema]) => [id, plain(schema)]));
}

function schemaOf(schema: z.ZodType): object {
  const id = registry.get(schema)?.id;
  return id === undefined ? plain(z.toJSONSchema(schema, options)) : { $ref: `#/components/schemas/${id}` };
}

function contentOf(content: Content): object {
  return 'schema' in content
    ? { 'application/json': { schema: schemaOf(content.schema) } }
    : { [content.type]: { schema: { type: 'string' } } };
}

const error = { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } };
const meanings: Readonly<Record<number, string>> = {
  400: 'It is not understood.',
  401: 'The credential is missing, wrong, run out or withdrawn.',
  403: 'The credential, or the page, has no right to this.',
  404: 'There is no such thing, or none of yours.',
  409: 'The session, or an earlier request, stands in its way.',
  413: 'The body is too big.',
  426: 'This path is a WebSocket.',
  429: 'Too many, or too often; Retry-After says how long to wait.',
  502: 'The upstream failed.',
  503: 'The relay cannot do it now; Retry-After says when to try again.',
  504: 'The upstream did not answer in time.',
};

function parametersOf({ path, query }: Operation): object[] {
  const inPath = path.includes('{id}') ? [{ name: 'id', in: 'path', required: true, schema: { type: 'string' } }] : [];
  if (!query) return inPath;
  const { properties = {} } = z.toJSONSchema(query, options);
  const inQuery = Object.entries(properties).map(([name, schema]) => ({ name, in: 'query', schema }));
  return [...inPath, ...inQuery];
}

function describe(operation: Operation): object {
  const { summary, body, success, otherwise } = operation;
  const isOpen = operation.for === 'anybody';
  const rights = isOpen || operation.for === 'tokens' ? [] : [operation.for];
  const refusals = [...new Set([...(isOpen ? [] : [401]), ...(rights.length > 0 ? [403] : []), ...operation.refusals])];
  const parameters = parametersOf(operation);
  // A profile that is not ready says so in the form of its readiness.
  const refused = operation.path === '/readyz' ? contentOf({ schema: named.Status }) : error;
  return {
    summary,
    security: isOpen ? [] : [{ bearer: rights }, { 'api-key': rights }],
    ...(parameters.length > 0 && { parameters }),
    ...(body && { requestBody: { required: body.isRequired, content: contentOf(body) } }),
    responses: {
      ...Object.fromEntries(
        [success, ...(otherwise ? [otherwise] : [])].map(({ status, meaning, content }) => [
          status,
          { description: meaning, ...(content && { content: contentOf(content) }) },
        ]),
      ),
      ...Object.fromEntries(refusals.map((status) => [status, { description: meanings[status], content: refused }])),
    },
  };
}

/** The whole description. */
export function openApi(): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const operation of operations) {
    paths[operation.path] = { ...paths[operation.path], [operation.method]: describe(operation) };
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Realtime Relay', version, description: 'What it means is in PROTOCOL.md.' },
    paths,
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
        'api-key': { type: 'apiKey', in: 'header', name: 'api-key' },
      },
      schemas: schemas(),
    },
  };
}

/** The same as it is served. */
export function openApiText(): string {
  return `${JSON.stringify(openApi(), null, 2)}\n`;
}
