/**
 * Makes the sample index: at the local stand-in, or at an Azure AI Search of your own
 * (`SEARCH_ENDPOINT`, `SEARCH_KEY` of an administrator, `EMBEDDING_ENDPOINT`, `EMBEDDING_DEPLOYMENT`).
 */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

export interface SearchServer {
  readonly endpoint: string;
  readonly key: string;
  /** The Azure OpenAI resource that makes the vectors; the search service calls it as itself. */
  readonly embedding: { readonly endpoint: string; readonly deployment: string };
}

const version = 'api-version=2025-09-01';

/** The definition: integrated vectors, a semantic configuration, and groups that are filtered by and never shown. */
function definitionOf({ embedding }: SearchServer): object {
  const text = { type: 'Edm.String', searchable: true, filterable: false };
  return {
    name: 'handbook',
    fields: [
      { name: 'chunk_id', ...text, key: true, analyzer: 'keyword' },
      { name: 'title', ...text },
      { name: 'chunk', ...text },
      {
        name: 'text_vector',
        type: 'Collection(Edm.Single)',
        searchable: true,
        retrievable: false,
        dimensions: 1536,
        vectorSearchProfile: 'default',
      },
      { name: 'group_ids', type: 'Collection(Edm.String)', searchable: false, filterable: true, retrievable: false },
    ],
    semantic: {
      configurations: [
        {
          name: 'default',
          prioritizedFields: {
            titleField: { fieldName: 'title' },
            prioritizedContentFields: [{ fieldName: 'chunk' }],
          },
        },
      ],
    },
    vectorSearch: {
      algorithms: [{ name: 'hnsw', kind: 'hnsw' }],
      profiles: [{ name: 'default', algorithm: 'hnsw', vectorizer: 'embedding' }],
      vectorizers: [
        {
          name: 'embedding',
          kind: 'azureOpenAI',
          azureOpenAIParameters: {
            resourceUri: embedding.endpoint,
            deploymentId: embedding.deployment,
            modelName: 'text-embedding-3-small',
          },
        },
      ],
    },
  };
}

/** Makes the index and fills it; returns how many documents it has. Rejects with what the service said. */
export async function makeIndex(server: SearchServer): Promise<number> {
  const file = new URL('documents.json', import.meta.url);
  const documents = JSON.parse(await readFile(file, 'utf8')) as object[];
  await send(server, 'PUT', '/indexes/handbook', definitionOf(server));
  const value = documents.map((document) => ({ '@search.action': 'upload', ...document }));
  await send(server, 'POST', '/indexes/handbook/docs/index', { value });
  return documents.length;
}

async function send({ endpoint, key }: SearchServer, method: string, path: string, body: object): Promise<void> {
  const headers = { 'content-type': 'application/json', 'api-key': key };
  const answer = await fetch(`${endpoint}${path}?${version}`, { method, headers, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { SEARCH_ENDPOINT, SEARCH_KEY, EMBEDDING_ENDPOINT, EMBEDDING_DEPLOYMENT } = process.env;
  if (!SEARCH_ENDPOINT || !SEARCH_KEY || !EMBEDDING_ENDPOINT || !EMBEDDING_DEPLOYMENT) {
    throw new Error('Set SEARCH_ENDPOINT, SEARCH_KEY, EMBEDDING_ENDPOINT and EMBEDDING_DEPLOYMENT.');
  }
  const embedding = { endpoint: EMBEDDING_ENDPOINT, deployment: EMBEDDING_DEPLOYMENT };
  const count = await makeIndex({ endpoint: SEARCH_ENDPOINT, key: SEARCH_KEY, embedding });
  console.log(`The index handbook has ${count} documents.`);
}
