/** The definition of a search index, as the service takes it, and what may be done with each of its fields. */
import type { Json, JsonObject } from '../../protocol/event.js';
import { anyObject, array, boolean, type Check, nullable, number, object, oneOf, string } from '../schema.js';
import { SearchError } from './error.js';

/** One field of an index, with the service's defaults filled in. */
export interface Field {
  readonly name: string;
  readonly type: string;
  readonly isKey: boolean;
  readonly isSearchable: boolean;
  readonly isFilterable: boolean;
  readonly isRetrievable: boolean;
  /** Whether its text is one word, whatever is in it. */
  readonly isWhole: boolean;
  /** Of a vector; 0 for all else. */
  readonly dimensions: number;
  /** Whether texts can be compared with the vectors of this field. */
  readonly hasVectorizer: boolean;
}

/** What queries are judged against. */
export interface Definition {
  readonly name: string;
  readonly key: string;
  readonly fields: ReadonlyMap<string, Field>;
  readonly semanticConfigurations: ReadonlySet<string>;
  readonly defaultSemanticConfiguration: string | null;
  /** As it was given. */
  readonly given: JsonObject;
}

const text = string();
const flag = nullable(boolean);
const types = [
  'Edm.String',
  'Edm.Int32',
  'Edm.Int64',
  'Edm.Double',
  'Edm.Boolean',
  'Edm.DateTimeOffset',
  'Collection(Edm.String)',
  'Collection(Edm.Single)',
] as const;
const named = (fields: Record<string, Check>, required: string[] = []) =>
  array(object({ name: text, ...fields }, ['name', ...required]));

/** What the stand-in knows of an index; scoring profiles and the like are taken, and change nothing. */
const shape = object(
  {
    name: string({ pattern: /^[a-z0-9][a-z0-9-]{0,126}[a-z0-9]$/ }),
    description: nullable(text),
    fields: named(
      {
        type: oneOf(...types),
        key: flag,
        searchable: flag,
        filterable: flag,
        retrievable: flag,
        stored: flag,
        sortable: flag,
        facetable: flag,
        analyzer: nullable(text),
        searchAnalyzer: nullable(text),
        indexAnalyzer: nullable(text),
        normalizer: nullable(text),
        dimensions: nullable(number(2, 4096, 'integer')),
        vectorSearchProfile: nullable(text),
        vectorEncoding: nullable(text),
        synonymMaps: array(text),
      },
      ['type'],
    ),
    semantic: nullable(
      object({ defaultConfiguration: nullable(text), configurations: named({ prioritizedFields: anyObject }) }),
    ),
    vectorSearch: nullable(
      object({
        profiles: named({ algorithm: text, vectorizer: nullable(text), compression: nullable(text) }, ['algorithm']),
        algorithms: named({ kind: text, hnswParameters: nullable(anyObject) }, ['kind']),
        vectorizers: array(anyObject),
        compressions: array(anyObject),
      }),
    ),
    similarity: nullable(anyObject),
    scoringProfiles: array(anyObject),
    defaultScoringProfile: nullable(text),
    corsOptions: nullable(anyObject),
    suggesters: array(anyObject),
    analyzers: array(anyObject),
    tokenizers: array(anyObject),
    tokenFilters: array(anyObject),
    charFilters: array(anyObject),
    '@odata.etag': text,
    '@odata.context': text,
  },
  ['name', 'fields'],
);

/** Reads a definition. Throws a SearchError for what the service would refuse. */
export function definitionOf(given: Json): Definition {
  const found = shape(given, '');
  if (found) throw new SearchError(400, found.message);
  const index = given as JsonObject;
  const vectorizers = vectorizersOf(index);
  const fields = (index.fields as JsonObject[]).map((field) => fieldOf(field, vectorizers));
  const keys = fields.filter(({ isKey }) => isKey);
  const [key] = keys;
  if (!key || keys.length > 1 || key.type !== 'Edm.String') {
    throw new SearchError(
      400,
      `The request is invalid. Details: index '${String(index.name)}' needs one key, of type Edm.String.`,
    );
  }
  const byName = new Map(fields.map((field) => [field.name, field]));
  if (byName.size < fields.length)
    throw new SearchError(400, 'The request is invalid. Details: a field is there twice.');
  const semantic = (index.semantic ?? {}) as { defaultConfiguration?: string; configurations?: { name: string }[] };
  return {
    name: String(index.name),
    key: key.name,
    fields: byName,
    semanticConfigurations: new Set((semantic.configurations ?? []).map(({ name }) => name)),
    defaultSemanticConfiguration: semantic.defaultConfiguration ?? null,
    given: index,
  };
}

/** The profiles of vectors, each with whether it has a vectorizer. */
function vectorizersOf(index: JsonObject): Map<string, boolean> {
  const { profiles = [] } = (index.vectorSearch ?? {}) as { profiles?: { name: string; vectorizer?: string | null }[] };
  return new Map(profiles.map(({ name, vectorizer }) => [name, typeof vectorizer === 'string']));
}

function fieldOf(given: JsonObject, vectorizers: ReadonlyMap<string, boolean>): Field {
  const name = String(given.name);
  const type = String(given.type);
  const isText = type === 'Edm.String' || type === 'Collection(Edm.String)';
  const isVector = type === 'Collection(Edm.Single)';
  const profile = vectorizers.get(String(given.vectorSearchProfile));
  if (isVector && (profile === undefined || typeof given.dimensions !== 'number')) {
    const message = `The vector field '${name}' must have the property 'vectorSearchProfile' set, to a profile that exists, and 'dimensions'.`;
    throw new SearchError(400, `The request is invalid. Details: ${message}`);
  }
  if (given.searchable === true && !isText && !isVector) {
    throw new SearchError(
      400,
      `The request is invalid. Details: field '${name}' of type ${type} cannot be searchable.`,
    );
  }
  return {
    name,
    type,
    isKey: given.key === true,
    isSearchable: isVector || (isText && given.searchable !== false),
    isFilterable: !isVector && given.filterable !== false,
    isRetrievable: given.retrievable !== false,
    isWhole: given.analyzer === 'keyword',
    dimensions: isVector ? Number(given.dimensions) : 0,
    hasVectorizer: profile === true,
  };
}
