/** What a tool of the server brought, where its profile lets the page have it: its sources to read, or else the whole. */

import { make } from './dom.js';

const maxSources = 20;
const maxCharacters = 4000;

/** A line of the transcript for a tool that ran. */
export function toolLine(tool: string, result: unknown): HTMLLIElement {
  const sources = sourcesIn(result);
  const [name, ran] = [make('code', '', tool), sources.length > 0 ? ' brought these sources' : ' has run'];
  const found =
    sources.length > 0
      ? make('ul', 'sources', ...sources.slice(0, maxSources).map((source) => make('li', '', sourceOf(source))))
      : foldedUp('Result', typeof result === 'string' ? result : JSON.stringify(result, null, 2));
  return make('li', 'tool', make('strong', '', 'Tool'), make('div', 'words', name, ran, found));
}

function sourcesIn(result: unknown): Record<string, unknown>[] {
  const { sources } = (result ?? {}) as { sources?: unknown };
  if (!Array.isArray(sources)) return [];
  return sources.filter((one) => typeof one === 'object' && one !== null) as Record<string, unknown>[];
}

function sourceOf({ title, chunk_id, chunk }: Record<string, unknown>): HTMLDetailsElement {
  return foldedUp(String(title ?? chunk_id ?? 'Untitled'), String(chunk ?? ''), String(chunk_id ?? ''));
}

function foldedUp(title: string, text: string, id = ''): HTMLDetailsElement {
  const shown = text.length > maxCharacters ? `${text.slice(0, maxCharacters)}…` : text;
  const body = make('p', 'source', shown);
  body.dir = 'auto';
  const summary = make('summary', '', title, ...(id === '' ? [] : [' ', make('code', '', id)]));
  return make('details', '', summary, body);
}
