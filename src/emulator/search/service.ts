/** A local Azure AI Search: indexes, documents and queries over HTTP, under `/indexes`. */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Json, JsonObject } from '../../protocol/event.js';
import type { Fault, FaultList } from '../faults.js';
import { readBody } from '../payload.js';
import { isObject } from '../schema.js';
import { definitionOf } from './definition.js';
import { Index } from './documents.js';
import { errorBody, SearchError } from './error.js';
import { query } from './query.js';

/** Who may search. */
export interface SearchRules {
  readonly apiKeys: readonly string[];
  readonly acceptAnyCredential: boolean;
  readonly bearer: (token: string) => boolean;
}

/** One query that came, and what it was answered. */
export interface SearchRecord {
  readonly index: string;
  readonly credential: 'key' | 'bearer' | 'none';
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Null for one that is too long to be remembered. */
  readonly body: Json;
  /** The HTTP status, or null when none was sent. */
  status: number | null;
  /** The keys of the documents that were found, in order. */
  found: readonly string[];
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const versions = ['2023-11-01', '2024-07-01', '2025-09-01', '2026-04-01'];
const maxIndexes = 100;
const maxBatchBytes = 16 * 1024 * 1024;
/** Of all bodies of documents that were uploaded to the indexes that are there. */
const maxUploadedBytes = 128 * 1024 * 1024;
const maxRecords = 1000;
/** Characters of a query that is remembered with its words. */
const maxKept = 16 * 1024;
const longestMs = 2 ** 31 - 1;
const path = /^\/indexes(?:\/([^/']+)|\('([^']+)'\))?(?:\/docs(?:\/(.+))?)?$/;

/** The indexes of one emulator. */
export class SearchService {
  readonly #rules: SearchRules;
  readonly #faults: FaultList;
  readonly #indexes = new Map<string, Index>();
  readonly #waiting = new Set<NodeJS.Timeout>();
  readonly #records: SearchRecord[] = [];

  constructor(rules: SearchRules, faults: FaultList) {
    this.#rules = rules;
    this.#faults = faults;
  }

  /** The newest queries, oldest first. */
  get records(): readonly SearchRecord[] {
    return this.#records;
  }

  /** Makes an index, or replaces one. Throws a SearchError for a definition that the service would refuse. */
  put(given: Json): void {
    const definition = definitionOf(given);
    if (!this.#indexes.has(definition.name) && this.#indexes.size >= maxIndexes) {
      throw new SearchError(400, `Index quota of ${maxIndexes} has been exceeded for this service.`);
    }
    this.#indexes.set(definition.name, new Index(definition));
  }

  /** Carries out a batch of uploads, merges and deletions; returns what became of each. */
  upload(index: string, batch: Json, bytes: number): JsonObject[] {
    if (!isObject(batch) || !Array.isArray(batch.value)) {
      throw new SearchError(400, "The request is invalid. Details: the batch must have a 'value'.");
    }
    const into = this.#indexAt(index);
    const held = [...this.#indexes.values()].reduce((sum, { uploadedBytes }) => sum + uploadedBytes, 0);
    if (held + bytes > maxUploadedBytes) throw new SearchError(503, 'The service has no room for more documents.');
    into.uploadedBytes += bytes;
    return into.apply(batch.value);
  }

  serves(pathname: string): boolean {
    return path.test(pathname);
  }

  /** Answers a request under `/indexes`. Resolves when the answer is on its way; never rejects. */
  async serve(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const answer = await this.#answer(request, url).catch((error: unknown): Answer => refusal(error));
    if (response.destroyed) return;
    response.writeHead(answer.status, {
      'content-type': 'application/json; odata.metadata=minimal; charset=utf-8',
      'request-id': randomUUID(),
      'cache-control': 'no-store',
      ...answer.headers,
    });
    response.end(answer.body);
  }

  /** Lets go of all that waits. */
  close(): void {
    for (const timer of this.#waiting) clearTimeout(timer);
    this.#waiting.clear();
  }

  async #answer(request: IncomingMessage, url: URL): Promise<Answer> {
    const [, plain, quoted, rest] = path.exec(url.pathname) ?? [];
    const name = plain ?? quoted ?? '';
    const credential = this.#credential(request);
    const version = url.searchParams.get('api-version');
    if (version === null) throw new SearchError(400, 'The api-version query parameter was not specified.');
    if (!versions.includes(version))
      throw new SearchError(400, `Invalid api-version '${version}'. Supported are: ${versions.join(', ')}.`);
    const isDocuments = /\/docs(\/|$)/.test(url.pathname);
    const route = `${request.method} ${name === '' ? 'all' : isDocuments ? `docs/${rest ?? ''}` : 'one'}`;
    switch (route) {
      case 'GET all':
        return json(200, { value: [...this.#indexes.values()].map(({ definition }) => definition.given) });
      case 'GET one':
        return json(200, this.#indexAt(name).definition.given);
      case 'PUT one':
        return this.#replace(name, await bodyOf(request));
      case 'DELETE one':
        this.#indexAt(name);
        this.#indexes.delete(name);
        return { status: 204, body: '' };
      case 'GET docs/$count':
        return {
          status: 200,
          body: String(this.#indexAt(name).entries.length),
          headers: { 'content-type': 'text/plain' },
        };
      case 'POST docs/index':
      case 'POST docs/search.index': {
        const text = await bodyText(request, maxBatchBytes);
        const value = this.upload(name, parsed(text), text.length);
        return json(value.every(({ status }) => status === true) ? 200 : 207, { value });
      }
      case 'POST docs/search':
      case 'POST docs/search.post.search':
        return this.#search(request, name, credential, await bodyText(request));
      default:
        throw new SearchError(name === '' || isDocuments ? 404 : 405, 'There is no such operation.');
    }
  }

  #replace(name: string, given: Json): Answer {
    const isNew = !this.#indexes.has(name);
    if (!isObject(given) || (given.name ?? name) !== name) {
      throw new SearchError(
        400,
        'The request is invalid. Details: the name in the address and in the body must be the same.',
      );
    }
    this.put({ ...given, name });
    return json(isNew ? 201 : 200, this.#indexAt(name).definition.given);
  }

  async #search(
    request: IncomingMessage,
    name: string,
    credential: SearchRecord['credential'],
    text: string,
  ): Promise<Answer> {
    const body = parsed(text);
    const { authorization: _token, 'api-key': _key, ...headers } = request.headers;
    const record: SearchRecord = {
      index: name,
      credential,
      headers,
      body: text.length > maxKept ? null : body,
      status: null,
      found: [],
    };
    this.#records.push(record);
    if (this.#records.length > maxRecords) this.#records.splice(0, maxRecords / 2);
    const fault = this.#faults.take('search');
    if (fault?.fault === 'search_slow') await this.#pause(fault.delayMs ?? 10_000);
    const struck = fault ? answerOf(fault) : null;
    if (struck) {
      record.status = struck.status;
      return struck;
    }
    try {
      const index = this.#indexAt(name);
      const found = query(body, index);
      record.found = (found.value as JsonObject[]).map((hit) => String(hit[index.definition.key]));
      const isPartial = fault?.fault === 'search_206';
      record.status = isPartial ? 206 : 200;
      return json(record.status, isPartial ? { ...found, ...partial } : found);
    } catch (error) {
      record.status = refusal(error).status;
      throw error;
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(
        () => {
          this.#waiting.delete(timer);
          resolve();
        },
        Math.min(ms, longestMs),
      );
      this.#waiting.add(timer);
    });
  }

  #indexAt(name: string): Index {
    const index = this.#indexes.get(name);
    if (index) return index;
    throw new SearchError(404, `The index '${name}' for service 'emulator' was not found.`);
  }

  /** Throws a SearchError for who may not come in: 403 for a wrong key, 401 for none and for a bad token. */
  #credential({ headers }: IncomingMessage): SearchRecord['credential'] {
    const { apiKeys, acceptAnyCredential, bearer } = this.#rules;
    const key = headers['api-key'];
    if (key !== undefined) {
      if (apiKeys.includes(String(key)) || (acceptAnyCredential && key !== '')) return 'key';
      throw new SearchError(403, 'Access denied due to an invalid api-key.');
    }
    const token = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1];
    if (token !== undefined && (acceptAnyCredential || bearer(token))) return 'bearer';
    throw new SearchError(401, 'Authentication is required: an api-key, or a bearer token.');
  }
}

/** Some results were not ranked in time. Source: Azure AI Search REST reference, semantic partial response. */
const partial = {
  '@search.semanticPartialResponseReason': 'maxWaitExceeded',
  '@search.semanticPartialResponseType': 'baseResults',
};

/** What a fault answers by itself; null for one that only changes the answer. */
function answerOf({ fault, retryAfterSeconds, bytes }: Fault): Answer | null {
  const headers = retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) };
  switch (fault) {
    case 'search_402':
      return { status: 402, body: errorBody('The monthly free quota of semantic queries is used up.') };
    case 'search_403':
      return { status: 403, body: errorBody('Access to the service is denied.') };
    case 'search_429':
      return { status: 429, body: errorBody('Too many requests.'), headers };
    case 'search_503':
      return { status: 503, body: errorBody('You are sending too many requests. Please try again later.'), headers };
    case 'search_html':
      return { status: 200, body: '<html><body>Sign in</body></html>', headers: { 'content-type': 'text/html' } };
    case 'search_big':
      return { status: 200, body: `{"value":[{"chunk":"${'A'.repeat(bytes ?? 5_000_000)}"}]}` };
    default:
      return null;
  }
}

function refusal(error: unknown): Answer {
  const status = error instanceof SearchError ? error.status : error instanceof RangeError ? 413 : 500;
  return { status, body: errorBody(error instanceof Error ? error.message : 'The service failed.') };
}

async function bodyText(request: IncomingMessage, maxBytes?: number): Promise<string> {
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? '')) {
    throw new SearchError(415, 'The content type must be application/json.');
  }
  return readBody(request, maxBytes);
}

async function bodyOf(request: IncomingMessage): Promise<Json> {
  return parsed(await bodyText(request));
}

function parsed(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    throw new SearchError(400, 'The request is invalid. Details: the body is not JSON.');
  }
}

function json(status: number, body: JsonObject): Answer {
  return { status, body: JSON.stringify(body) };
}
