/** The documents of one index: what is uploaded, judged against its definition and cut into words. */
import type { Json, JsonObject } from '../../protocol/event.js';
import { isObject } from '../schema.js';
import type { Definition, Field } from './definition.js';
import { SearchError } from './error.js';
import { wordsIn } from './terms.js';

/** One document, and what is looked up in it. */
export interface Entry {
  readonly document: JsonObject;
  /** By searchable field; a field with the keyword analyzer is one word. */
  readonly words: ReadonlyMap<string, readonly string[]>;
}

const maxDocuments = 10_000;

/** An index with its documents, in the order in which they came. */
export class Index {
  readonly definition: Definition;
  /** Of all batches that came for it. */
  uploadedBytes = 0;
  readonly #entries = new Map<string, Entry>();

  constructor(definition: Definition) {
    this.definition = definition;
  }

  get entries(): readonly Entry[] {
    return [...this.#entries.values()];
  }

  /** Carries out `docs/index`; returns what became of each document. Throws a SearchError for a batch that is refused. */
  apply(actions: readonly Json[]): JsonObject[] {
    if (actions.length === 0 || actions.length > 1000) {
      throw new SearchError(400, 'The request is invalid. Details: a batch has 1 to 1000 actions.');
    }
    return actions.map((action) => this.#applyOne(action));
  }

  #applyOne(action: Json): JsonObject {
    if (!isObject(action)) throw new SearchError(400, 'The request is invalid. Details: an action must be an object.');
    const { '@search.action': verb = 'upload', ...given } = action;
    const key = given[this.definition.key];
    if (typeof key !== 'string' || !/^[\w=-]{1,1024}$/.test(key)) {
      throw new SearchError(
        400,
        'The request is invalid. Details: Invalid document key. Keys can only contain letters, digits, underscore (_), dash (-), or equal sign (=).',
      );
    }
    const known = this.#entries.get(key)?.document;
    if (verb === 'delete') {
      this.#entries.delete(key);
      return { key, status: true, errorMessage: null, statusCode: 200 };
    }
    if (!['upload', 'merge', 'mergeOrUpload'].includes(String(verb))) {
      throw new SearchError(400, `The request is invalid. Details: '${String(verb)}' is no action.`);
    }
    if (verb === 'merge' && !known) return { key, status: false, errorMessage: 'Document not found.', statusCode: 404 };
    const document = verb === 'upload' ? given : { ...known, ...given };
    for (const [name, value] of Object.entries(document)) this.#insist(name, value);
    if (!known && this.#entries.size >= maxDocuments) throw new SearchError(400, 'The index is full.');
    this.#entries.set(key, { document, words: wordsOf(document, this.definition) });
    return { key, status: true, errorMessage: null, statusCode: known ? 200 : 201 };
  }

  #insist(name: string, value: Json | undefined): void {
    const field = this.definition.fields.get(name);
    if (!field) {
      throw new SearchError(
        400,
        `The request is invalid. Details: The property '${name}' does not exist on type 'search.documentFields'.`,
      );
    }
    if (value === null || value === undefined || fits(value, field)) return;
    throw new SearchError(
      400,
      `The request is invalid. Details: Cannot convert the value of '${name}' to the expected type '${field.type}'.`,
    );
  }
}

function fits(value: Json, { type, dimensions }: Field): boolean {
  switch (type) {
    case 'Edm.Boolean':
      return typeof value === 'boolean';
    case 'Edm.Int32':
    case 'Edm.Int64':
      return Number.isInteger(value);
    case 'Edm.Double':
      return typeof value === 'number';
    case 'Edm.DateTimeOffset':
      return typeof value === 'string' && !Number.isNaN(Date.parse(value));
    case 'Collection(Edm.String)':
      return Array.isArray(value) && value.every((one) => typeof one === 'string');
    case 'Collection(Edm.Single)':
      return Array.isArray(value) && value.length === dimensions && value.every((one) => typeof one === 'number');
    default:
      return typeof value === 'string';
  }
}

function wordsOf(document: JsonObject, { fields }: Definition): Map<string, readonly string[]> {
  const searchable = [...fields.values()].filter(({ isSearchable, dimensions }) => isSearchable && dimensions === 0);
  return new Map(
    searchable.map(({ name, isWhole }) => {
      const value = document[name] ?? [];
      const texts = (Array.isArray(value) ? value : [value]).map(String);
      return [name, isWhole ? texts : texts.flatMap(wordsIn)];
    }),
  );
}
