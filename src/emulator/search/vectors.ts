/** Texts and documents as vectors. */
import type { Json, JsonObject } from '../../protocol/event.js';
import type { Definition, Field } from './definition.js';
import type { Entry } from './documents.js';
import { SearchError, unknownField } from './error.js';
import { type Hit, namesIn, sorted } from './match.js';
import { wordsIn } from './terms.js';

/** How many neighbours are looked for where a query does not say. */
const defaultNearest = 50;

/** The directions of a vector that are not zero. */
type Vector = ReadonlyMap<number, number>;

/** A text as a vector: the same letters point the same way, so that texts about the same things are near each other. */
function embed(text: string, dimensions: number): Vector {
  const vector = new Map<number, number>();
  for (const word of wordsIn(text)) {
    if (word.length < 4) continue;
    for (let at = 0; at + 3 <= word.length; at++) {
      const direction = hash(word.slice(at, at + 3)) % dimensions;
      vector.set(direction, (vector.get(direction) ?? 0) + 1);
    }
  }
  return vector;
}

/** A vector as it is sent, or as a document has it. */
function vectorOf(values: readonly Json[]): Vector {
  return new Map(values.flatMap((value, at) => (value === 0 ? [] : [[at, Number(value)]])));
}

/** From 1, the same direction, to -1. */
function cosine(one: Vector, other: Vector): number {
  let sum = 0;
  for (const [at, value] of one) sum += value * (other.get(at) ?? 0);
  const length = (vector: Vector) => Math.sqrt([...vector.values()].reduce((total, value) => total + value * value, 0));
  return sum === 0 ? 0 : sum / (length(one) * length(other));
}

function hash(text: string): number {
  let value = 2_166_136_261;
  for (let at = 0; at < text.length; at++) value = Math.imul(value ^ text.charCodeAt(at), 16_777_619) >>> 0;
  return value;
}

interface VectorQuery {
  readonly kind: 'text' | 'vector';
  readonly fields: string;
  readonly text?: string;
  readonly vector?: readonly Json[];
  readonly k?: number;
}

/** The vector queries of a query that was judged. */
export function vectorQueriesOf({ vectorQueries }: JsonObject): readonly VectorQuery[] {
  return Array.isArray(vectorQueries) ? (vectorQueries as unknown as VectorQuery[]) : [];
}

/** The documents that are nearest. Throws a SearchError where the index cannot tell. */
export function byVector(wanted: VectorQuery, entries: readonly Entry[], definition: Definition): Hit[] {
  const fields = namesIn(wanted.fields).map((name) => {
    const field = definition.fields.get(name);
    if (!field) throw unknownField(name, 'vectorQueries');
    if (field.dimensions === 0)
      throw new SearchError(
        400,
        `The field '${name}' in 'fields' is not a vector field.\r\nParameter name: vectorQueries`,
      );
    if (wanted.kind === 'text' && !field.hasVectorizer) {
      throw new SearchError(
        400,
        `The field '${name}' in the vector query has no vectorizer defined in its vector search profile.\r\nParameter name: vectorQueries`,
      );
    }
    if (wanted.vector && wanted.vector.length !== field.dimensions) {
      throw new SearchError(
        400,
        `The vector query's 'vector' has ${wanted.vector.length} dimensions; the field '${name}' has ${field.dimensions}.\r\nParameter name: vectorQueries`,
      );
    }
    return field;
  });
  const hits = entries.flatMap((entry) => {
    const nearness = fields.flatMap((field) => {
      const sought = wanted.vector ? vectorOf(wanted.vector) : embed(String(wanted.text), field.dimensions);
      return cosine(sought, vectorIn(entry, field));
    });
    const most = Math.max(...nearness);
    return most <= 0 ? [] : [{ entry, score: 1 / (2 - most), reranked: null }];
  });
  return sorted(hits).slice(0, wanted.k ?? defaultNearest);
}

/** The vector a document has; where it has none, that of its words, as an indexer with the vectorizer makes it. */
function vectorIn({ document, words }: Entry, field: Field): Vector {
  const own = document[field.name];
  if (Array.isArray(own)) return vectorOf(own);
  if (!field.hasVectorizer) return new Map();
  return embed([...words.values()].flat().join(' '), field.dimensions);
}
