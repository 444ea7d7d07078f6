/** Tools that search an index of Azure AI Search, and fetch the sources that a model cites. */

import { type FilterPiece, parseFilter } from '../policy/templates.js';
import type { SearchTool } from '../policy/tools.js';
import type { JsonObject } from '../protocol/event.js';
import type { ToolPorts } from './asking.js';
import { createSearch, type Found, type Search } from './azure.js';
import { filterFor } from './claimed.js';
import { type Hit, hitsOf, readable } from './hits.js';
import { brought, running } from './running.js';
import { wrongArguments } from './texts.js';
import type { Tool, ToolCall, ToolResult } from './tool.js';

const maxWords = 1000;
const maxCited = 20;
/** Vectors that are compared: as many as the ranker takes. */
const nearest = 50;
const minRankingMs = 700;
/** The operators of all query types; https://learn.microsoft.com/azure/search/query-lucene-syntax. */
const operators = /[+\-|"()*~?:^/\\[\]{}!\p{Cc}]|&&+/gu;
const idText = /^[a-zA-Z0-9_=-]+$/;

/** Makes the `run` of a search tool. */
export function createSearchRun(tool: SearchTool, judge: Tool['judge'], ports: ToolPorts): NonNullable<Tool['run']> {
  const { search } = tool;
  const ask = createSearch(tool, ports);
  const pieces = search.filter === undefined ? [] : parseFilter(search.filter);
  const work = search.role === 'grounding' ? ground : lookUp;
  return running(tool, async (call, span) => {
    const judged = judge(call.arguments);
    if ('problem' in judged) return wrongArguments(judged.problem);
    const restriction = restrictionFor(pieces, call);
    if (restriction === null) {
      const error = { kind: 'claim', message: 'A claim of the filter is missing, or cannot stand in it.' } as const;
      return { outcome: 'refused', output: '', bytes: 0, error };
    }
    const asked: Asking = {
      tool,
      call,
      find: (body, words) =>
        ask({ body: { ...body, ...restriction.body }, hidden: [...words, ...restriction.hidden] }, call, span),
    };
    return work(asked, judged.arguments);
  });
}

interface Asking {
  readonly tool: SearchTool;
  readonly call: ToolCall;
  /** Searches with the user's filter. `words` are the model's, which no log may have. */
  find(body: JsonObject, words: readonly string[]): ReturnType<Search>;
}

const nothing: ToolResult = { outcome: 'ok', output: '', bytes: 0 };

/** The filter for the user of a call; null where a claim is missing. */
function restrictionFor(pieces: readonly FilterPiece[], { principal }: ToolCall) {
  if (pieces.length === 0) return { body: {}, hidden: [] };
  const filter = filterFor(pieces, principal);
  if (filter === null) return null;
  return { body: { filter: filter.text }, hidden: [filter.text, ...filter.values] };
}

async function lookUp({ tool, call, find }: Asking, { query }: JsonObject): Promise<ToolResult> {
  const { search } = tool;
  const text = String(query);
  const body = queryOf(tool, text);
  if (body === null) return nothing;
  const { fields, top } = search;
  const found = await find({ ...body, select: `${fields.id},${fields.content}`, top }, [text]);
  const hits = hitsOf(found.hits, search);
  const { text: output, shown } = readable(hits);
  const { citable } = call.session;
  for (const { id } of hits.slice(0, shown)) {
    // What is shown again is as new as what was never shown.
    citable.delete(id);
    citable.set(id, true);
  }
  return brought(tool, output, factsOf(found));
}

/** What is searched for, or null where nothing is left of the words: an empty search finds everything. */
function queryOf({ search, timeout_seconds: seconds }: SearchTool, text: string): JsonObject | null {
  const { query, fields, semantic_configuration: configuration } = search;
  const words = Array.from(text.replace(operators, ' ').replace(/\s+/g, ' ').trim()).slice(0, maxWords).join('').trim();
  const meaning = text.replace(/\p{Cc}/gu, '');
  if ((query === 'vector' ? meaning.trim() : words) === '') return null;
  const vectors = [{ kind: 'text', text: meaning, fields: fields.vector, k: nearest }];
  const byVector = { vectorQueries: vectors, ...(search.filter !== undefined && { vectorFilterMode: 'preFilter' }) };
  if (query === 'vector') return byVector;
  const byWords =
    configuration === undefined
      ? { search: words, queryType: 'simple', searchMode: 'any' }
      : {
          search: words,
          queryType: 'semantic',
          semanticConfiguration: configuration,
          semanticErrorHandling: 'partial',
          semanticMaxWaitInMilliseconds: Math.max(minRankingMs, Math.round(seconds * 500)),
        };
  return query === 'hybrid' ? { ...byWords, ...byVector } : byWords;
}

async function ground({ tool, call, find }: Asking, { sources }: JsonObject): Promise<ToolResult> {
  const { search } = tool;
  const { fields } = search;
  const written = (sources as string[]).map((source) => source.replace(/^[\s[\]]+|[\s[\]]+$/g, ''));
  // Only what this session has found: an id seen elsewhere opens nothing.
  const cited = [...new Set(written)]
    .filter((id) => idText.test(id) && call.session.citable.has(id))
    .slice(0, maxCited);
  if (cited.length === 0) return nothing;
  const body = {
    search: cited.map(asTerm).join(' OR '),
    queryType: 'full',
    searchMode: 'any',
    searchFields: fields.id,
    select: [...new Set([fields.id, fields.title, fields.content])].join(','),
    top: cited.length,
  };
  const found = await find(body, cited);
  const byId = new Map(hitsOf(found.hits, search).map((hit) => [hit.id, hit]));
  const hits = cited.flatMap((id) => byId.get(id) ?? []);
  const result = brought(tool, readable(hits).text, factsOf(found));
  const { result: _, ...unshown } = result;
  if (hits.length === 0 || !('result' in result)) return unshown;
  return { ...unshown, result: { sources: hits.map(sourceOf) } };
}

/** A term of the full syntax; what reads like an operator stands in quotes. */
function asTerm(id: string): string {
  return /^(?:AND|OR|NOT)$/.test(id) || id.startsWith('-') ? `"${id}"` : id;
}

/** A source as the front end of the sample VoiceRAG reads it. */
function sourceOf({ id, title, content }: Hit): JsonObject {
  return { chunk_id: id, title, chunk: content };
}

function factsOf({ status, bytes, azure }: Found): Pick<ToolResult, 'status' | 'azure'> & { bytes: number } {
  return { status, bytes, azure };
}
