import type { Emulator, EmulatorOptions } from '../../../src/emulator/emulator.js';
import { emulate } from '../caller.js';

const version = 'api-version=2026-04-01';

export const definition = {
  name: 'library',
  fields: [
    { name: 'chunk_id', type: 'Edm.String', key: true, searchable: true, filterable: false, analyzer: 'keyword' },
    { name: 'title', type: 'Edm.String', searchable: true, filterable: false },
    { name: 'chunk', type: 'Edm.String', searchable: true, filterable: false },
    {
      name: 'text_vector',
      type: 'Collection(Edm.Single)',
      searchable: true,
      retrievable: false,
      dimensions: 256,
      vectorSearchProfile: 'words',
    },
    {
      name: 'numbers',
      type: 'Collection(Edm.Single)',
      searchable: true,
      retrievable: false,
      dimensions: 3,
      vectorSearchProfile: 'bare',
    },
    { name: 'group_ids', type: 'Collection(Edm.String)', filterable: true, retrievable: false, searchable: false },
    { name: 'tenant', type: 'Edm.String', filterable: true, searchable: false },
    { name: 'pages', type: 'Edm.Int32', filterable: true },
    { name: 'is_public', type: 'Edm.Boolean', filterable: true },
    { name: 'updated', type: 'Edm.DateTimeOffset', filterable: true },
  ],
  semantic: { configurations: [{ name: 'default', prioritizedFields: {} }] },
  vectorSearch: {
    algorithms: [{ name: 'hnsw', kind: 'hnsw' }],
    vectorizers: [{ name: 'embedding', kind: 'azureOpenAI' }],
    profiles: [
      { name: 'words', algorithm: 'hnsw', vectorizer: 'embedding' },
      { name: 'bare', algorithm: 'hnsw' },
    ],
  },
};

export const documents = [
  {
    chunk_id: 'leave_1',
    title: 'Leave.pdf',
    chunk: 'Parental leave is paid for sixteen weeks.',
    group_ids: ['staff'],
    tenant: 'acme',
    pages: 10,
    is_public: false,
    updated: '2026-01-02T00:00:00Z',
    numbers: [1, 0, 0],
  },
  {
    chunk_id: 'leave-2',
    title: 'Leave.pdf',
    chunk: 'Sick leave needs a note after three days.',
    group_ids: ['staff', 'all'],
    tenant: "o'brien",
    pages: 20,
    is_public: true,
    updated: '2026-03-04T00:00:00Z',
    numbers: [0, 1, 0],
  },
  {
    chunk_id: 'board_1',
    title: 'Board.pdf',
    chunk: 'The secret merger with Globex closes in October.',
    group_ids: ['board'],
    tenant: 'acme',
    pages: null,
    is_public: false,
    updated: '2026-05-06T00:00:00Z',
    numbers: [0, 0, 1],
  },
  {
    chunk_id: 'orders_1',
    title: 'Orders',
    chunk: 'Orders of last week arrive tomorrow morning.',
    group_ids: [],
    pages: 5,
  },
];

export interface Found {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly body: {
    value: Record<string, unknown>[];
    error: { code: string; message: string };
    [annotation: string]: unknown;
  };
  /** The ids that were found, in order. */
  readonly ids: string[];
}

type Given = { path?: string; method?: string; headers?: Record<string, string> };

/** Sends a request to the search service of an emulator. */
export async function ask(emulator: Emulator, body: unknown, given: Given = {}): Promise<Found> {
  const { path = `/indexes/library/docs/search?${version}`, method = 'POST', headers = {} } = given;
  const answer = await fetch(`${emulator.url}${path}`, {
    method,
    headers: { 'content-type': 'application/json', 'api-key': 'emulator-search-key', ...headers },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await answer.text();
  const json = answer.headers.get('content-type')?.includes('json') && text !== '' ? JSON.parse(text) : {};
  const ids = ((json.value ?? []) as { chunk_id?: string }[]).map(({ chunk_id }) => String(chunk_id));
  return { status: answer.status, headers: answer.headers, text, body: json, ids };
}

/** An emulator with the library in it. */
export async function library(options: EmulatorOptions = {}): Promise<Emulator> {
  const emulator = await emulate(options);
  emulator.control.search.put(definition);
  emulator.control.search.upload('library', { value: documents }, 0);
  return emulator;
}
