/** One query over an index, judged as strictly as the service does, and answered in its shape. */
import type { Json, JsonObject } from '../../protocol/event.js';
import { array, boolean, type Check, nullable, number, object, oneOf, string, variants } from '../schema.js';
import type { Definition, Field } from './definition.js';
import type { Entry, Index } from './documents.js';
import { SearchError, unknownField } from './error.js';
import { type Filter, filterOf } from './filter.js';
import { type Hit, match, namesIn, sorted } from './match.js';
import { fullWish, simpleWish, type Wish, wordsIn } from './terms.js';
import { byVector, vectorQueriesOf } from './vectors.js';

const text = string();
const top = number(0, 1000, 'integer');
const vectorCommon = {
  kind: text,
  fields: text,
  k: number(1, 10_000, 'integer'),
  exhaustive: nullable(boolean),
  oversampling: nullable(number(1, 100)),
  weight: nullable(number(0, 1_000_000)),
};

/** Fields of a query. Source: Azure AI Search REST reference, 2026-04-01. */
const shape: Check = object({
  search: nullable(text),
  queryType: nullable(oneOf('simple', 'full', 'semantic')),
  searchMode: nullable(oneOf('any', 'all')),
  searchFields: nullable(text),
  select: nullable(text),
  filter: nullable(text),
  orderby: nullable(text),
  top: nullable(top),
  skip: nullable(number(0, 100_000, 'integer')),
  count: nullable(boolean),
  vectorQueries: nullable(
    array(
      variants('kind', {
        text: object({ ...vectorCommon, text, queryRewrites: text }, ['text', 'fields']),
        vector: object({ ...vectorCommon, vector: array(number(-1e38, 1e38)) }, ['vector', 'fields']),
      }),
    ),
  ),
  vectorFilterMode: nullable(oneOf('preFilter', 'postFilter', 'strictPostFilter')),
  semanticConfiguration: nullable(text),
  semanticQuery: nullable(text),
  semanticErrorHandling: nullable(oneOf('partial', 'fail')),
  semanticMaxWaitInMilliseconds: nullable(number(700, Number.MAX_SAFE_INTEGER, 'integer')),
  answers: nullable(
    string({ pattern: /^(none|extractive(\|(count-\d+|threshold-[\d.]+)(,(count-\d+|threshold-[\d.]+))?)?)$/ }),
  ),
  captions: nullable(string({ pattern: /^(none|extractive(\|highlight-(true|false))?)$/ })),
  // Taken, and without effect here.
  facets: nullable(array(text)),
  highlight: nullable(text),
  highlightPreTag: nullable(text),
  highlightPostTag: nullable(text),
  minimumCoverage: nullable(number(0, 100)),
  scoringProfile: nullable(text),
  scoringParameters: nullable(array(text)),
  scoringStatistics: nullable(oneOf('local', 'global')),
  sessionId: nullable(text),
});

/** Words that the semantic ranker looks at no more than 50 results for. */
const rankedMost = 50;
/** Of reciprocal rank fusion. Source: Azure AI Search, hybrid search ranking. */
const fusion = 60;

/** Answers a query. Throws a SearchError for one that the service would refuse. */
export function query(body: Json, index: Index): JsonObject {
  const wrong = shape(body, '');
  if (wrong) {
    const where = wrong.param === null ? '' : `\r\nParameter name: ${wrong.param}`;
    throw new SearchError(400, `The request is invalid. Details: ${wrong.message}${where}`);
  }
  const given = body as JsonObject;
  const { definition } = index;
  const selected = selectedFields(given, definition);
  const isSemantic = semanticOf(given, definition);
  if (given.orderby) throw new SearchError(400, orderbyRefusal(isSemantic));
  const passes: Filter = typeof given.filter === 'string' ? filterOf(given.filter, definition) : () => true;
  const wish = wishOf(given);
  const entries = index.entries.filter(({ document }) => passes(document));
  const keyword = wish === 'everything' ? null : wish && byWords(wish, entries, searchFields(given, definition));
  const near = vectorQueriesOf(given).map((one) => byVector(one, entries, definition));
  const lists = [...(keyword ? [keyword] : []), ...near];
  const everything = entries.map((entry): Hit => ({ entry, score: 1, reranked: null }));
  const hits =
    lists.length === 0
      ? wish === 'everything'
        ? everything
        : []
      : lists.length === 1
        ? (lists[0] ?? [])
        : fused(lists);
  const words = String(given.semanticQuery ?? given.search ?? '');
  const ranked = isSemantic && wish !== 'everything' ? reranked(hits, words) : hits;
  const from = Number(given.skip ?? 0);
  const page = ranked.slice(from, from + Number(given.top ?? rankedMost));
  const wantsCaptions = isSemantic && typeof given.captions === 'string' && given.captions !== 'none';
  return {
    '@odata.context': `https://emulator/indexes('${definition.name}')/$metadata#docs(*)`,
    ...(given.count === true ? { '@odata.count': hits.length } : {}),
    ...(typeof given.answers === 'string' && given.answers !== 'none' ? { '@search.answers': [] } : {}),
    value: page.map((hit) => shown(hit, selected, wantsCaptions)),
  };
}

function shown(
  { entry: { document }, score, reranked: rank }: Hit,
  selected: readonly Field[],
  withCaptions: boolean,
): JsonObject {
  const texts = selected.filter(({ type, isKey }) => type === 'Edm.String' && !isKey).map(({ name }) => document[name]);
  const longest = texts
    .map((value) => String(value ?? ''))
    .reduce((one, other) => (other.length > one.length ? other : one), '');
  return {
    '@search.score': score,
    ...(rank === null ? {} : { '@search.rerankerScore': rank }),
    ...(withCaptions ? { '@search.captions': [{ text: longest.slice(0, 200), highlights: '' }] } : {}),
    ...Object.fromEntries(selected.map(({ name }) => [name, document[name] ?? null])),
  };
}

function selectedFields({ select }: JsonObject, { fields }: Definition): readonly Field[] {
  const all = [...fields.values()].filter(({ isRetrievable }) => isRetrievable);
  if (typeof select !== 'string' || select.trim() === '*') return all;
  return namesIn(select).map((name) => {
    const field = fields.get(name);
    if (!field) throw unknownField(name, '$select');
    if (field.isRetrievable) return field;
    throw new SearchError(
      400,
      `Invalid expression: '${name}' is not a retrievable field. Only retrievable fields can be selected.\r\nParameter name: $select`,
    );
  });
}

function searchFields({ searchFields: given }: JsonObject, { fields }: Definition): readonly Field[] {
  const words = (field: Field) => field.isSearchable && field.dimensions === 0;
  if (typeof given !== 'string') return [...fields.values()].filter(words);
  return namesIn(given).map((name) => {
    const field = fields.get(name);
    if (!field) throw unknownField(name, 'searchFields');
    if (words(field)) return field;
    throw new SearchError(
      400,
      `The field '${name}' in the search field list is not searchable.\r\nParameter name: searchFields`,
    );
  });
}

/** Whether the semantic ranker takes part. */
function semanticOf(
  given: JsonObject,
  { semanticConfigurations, defaultSemanticConfiguration, name }: Definition,
): boolean {
  const configuration = given.semanticConfiguration ?? null;
  if (typeof configuration === 'string' && !semanticConfigurations.has(configuration)) {
    throw new SearchError(
      400,
      `Unknown semantic configuration '${configuration}' for index '${name}'.\r\nParameter name: semanticConfiguration`,
    );
  }
  if (given.queryType !== 'semantic') {
    const needing = ['captions', 'answers'].find((key) => typeof given[key] === 'string' && given[key] !== 'none');
    if (needing)
      throw new SearchError(
        400,
        `The parameter '${needing}' requires queryType 'semantic'.\r\nParameter name: ${needing}`,
      );
    return typeof given.semanticQuery === 'string';
  }
  if (configuration === null && defaultSemanticConfiguration === null) {
    throw new SearchError(
      400,
      "The request is invalid. Details: semanticConfiguration must be specified when queryType is 'semantic'.",
    );
  }
  return true;
}

function orderbyRefusal(isSemantic: boolean): string {
  if (isSemantic)
    return "The 'orderby' parameter cannot be specified with queryType 'semantic'.\r\nParameter name: $orderby";
  return 'This stand-in does not order by fields.\r\nParameter name: $orderby';
}

/** Null where only vectors are compared. */
function wishOf(given: JsonObject): Wish | 'everything' | null {
  const words = typeof given.search === 'string' ? given.search.trim() : '';
  const hasVectors = vectorQueriesOf(given).length > 0;
  if (words === '' || words === '*') return hasVectors ? null : 'everything';
  const mode = given.searchMode === 'all' ? 'all' : 'any';
  const wish = given.queryType === 'full' ? fullWish(words, mode) : simpleWish(words, mode);
  return wish ?? (hasVectors ? null : 'everything');
}

function byWords(wish: Wish, entries: readonly Entry[], fields: readonly Field[]): Hit[] {
  const known = new Map<string, number>();
  const weigh = (word: string) => {
    const before = known.get(word);
    if (before !== undefined) return before;
    const having = entries.filter(({ words }) => fields.some(({ name }) => words.get(name)?.includes(word))).length;
    const weight = Math.log(1 + (entries.length - having + 0.5) / (having + 0.5));
    known.set(word, weight);
    return weight;
  };
  return sorted(
    entries.flatMap((entry) => {
      const score = match(wish, entry, fields, weigh);
      return score === null ? [] : [{ entry, score, reranked: null }];
    }),
  );
}

/** Several lists as one: what stands in front in any of them comes first. */
function fused(lists: readonly (readonly Hit[])[]): Hit[] {
  const scores = new Map<Entry, number>();
  for (const list of lists) {
    for (const [rank, { entry }] of list.entries())
      scores.set(entry, (scores.get(entry) ?? 0) + 1 / (fusion + rank + 1));
  }
  return sorted([...scores].map(([entry, score]) => ({ entry, score, reranked: null })));
}

/** What the semantic ranker makes of the first results: from 0 to 4, by how much of the question is in them. */
function reranked(hits: readonly Hit[], words: string): Hit[] {
  const asked = new Set(wordsIn(words).filter((word) => word.length > 3));
  const ranked = hits.slice(0, rankedMost).map((hit) => {
    const has = new Set([...hit.entry.words.values()].flat());
    const share = asked.size === 0 ? 0 : [...asked].filter((word) => has.has(word)).length / asked.size;
    return { ...hit, reranked: Math.round((1 + 3 * share) * 100) / 100 };
  });
  return [...ranked.sort((one, other) => other.reranked - one.reranked), ...hits.slice(rankedMost)];
}
