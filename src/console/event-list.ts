/** The list of events: bounded, filterable, and with streams of small pieces folded into one row. */

import type { RealtimeEvent } from '../client/relay-client.js';
import { element, make } from './dom.js';

const maxRows = 400;
/** Longer texts, which is audio, are told by their size. */
const maxShown = 400;

interface Row {
  readonly direction: 'sent' | 'received';
  readonly item: HTMLLIElement;
  readonly count: HTMLElement;
  readonly detail: HTMLDetailsElement;
  event: RealtimeEvent;
  times: number;
}

/** What the rest of the page does with the list. */
export interface EventList {
  add(direction: 'sent' | 'received', event: RealtimeEvent): void;
  /** Begins anew, and says so where the events were. */
  clear(text: string): void;
}

/** @param prefix of the ids of the page's elements for it */
export function createEventList(prefix = ''): EventList {
  const list = element(`${prefix}events`, HTMLOListElement);
  const empty = element(`${prefix}no-events`, HTMLParagraphElement);
  const filter = element(`${prefix}filter`, HTMLInputElement);
  const direction = element(`${prefix}direction`, HTMLSelectElement);
  const started = performance.now();
  // So that it can be scrolled by keyboard, which not every browser offers by itself.
  list.tabIndex = 0;
  let rows: Row[] = [];
  /** Rows that may still take another piece; an event that is no piece closes them all, which keeps the order true. */
  const open = new Map<string, Row>();

  function matches(row: Row): boolean {
    if (direction.value && direction.value !== row.direction) return false;
    const wanted = filter.value.trim().toLowerCase();
    return wanted === '' || textOf(row.event).toLowerCase().includes(wanted);
  }

  function refilter(): void {
    for (const row of rows) row.item.hidden = !matches(row);
    empty.hidden = rows.some(({ item }) => !item.hidden);
    if (rows.length > 0) empty.textContent = 'No event matches the filter.';
  }

  function addRow(way: Row['direction'], event: RealtimeEvent): Row {
    const time = `${((performance.now() - started) / 1000).toFixed(2)}`;
    const count = make('span', 'count');
    const arrow = make('span', `way ${way}`, way === 'sent' ? '↑' : '↓');
    arrow.title = way;
    const label = make('span', 'visually-hidden', way);
    const summary = make(
      'summary',
      '',
      make('time', '', time),
      arrow,
      label,
      make('code', '', ...breakable(event.type)),
      count,
    );
    if (event.type === 'error') count.textContent = String((event.error as { code?: unknown } | undefined)?.code ?? '');
    const detail = make('details', event.type === 'error' ? 'is-error' : '', summary);
    const row: Row = { direction: way, item: make('li', '', detail), count, detail, event, times: 1 };
    detail.addEventListener('toggle', () => write(row));
    rows.push(row);
    list.append(row.item);
    for (const old of rows.splice(0, Math.max(0, rows.length - maxRows))) old.item.remove();
    return row;
  }

  function write({ detail, event }: Row): void {
    detail.querySelector('pre')?.remove();
    if (detail.open) detail.append(make('pre', '', textOf(event)));
  }

  filter.addEventListener('input', refilter);
  direction.addEventListener('change', refilter);
  element(`${prefix}clear`, HTMLButtonElement).addEventListener('click', () => clear('Cleared.'));

  function clear(text: string): void {
    rows = [];
    open.clear();
    list.replaceChildren();
    empty.textContent = text;
    empty.hidden = false;
  }

  return {
    clear,
    add(way, event) {
      const isPiece = event.type.endsWith('.delta') || event.type === 'input_audio_buffer.append';
      const key = `${way} ${event.type} ${String(event.item_id)}`;
      const known = isPiece ? open.get(key) : undefined;
      if (known) {
        known.event = event;
        known.times++;
        known.count.textContent = `×${known.times}`;
        if (known.detail.open) write(known);
        return;
      }
      const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
      if (!isPiece) open.clear();
      const row = addRow(way, event);
      if (isPiece) open.set(key, row);
      row.item.hidden = !matches(row);
      if (!row.item.hidden) empty.hidden = true;
      if (atEnd) list.scrollTop = list.scrollHeight;
    },
  };
}

/** Long names may break after a dot or an underscore, and nowhere else. */
function breakable(name: string): (string | Node)[] {
  return name.split(/(?<=[._])/).flatMap((part) => [part, make('wbr')]);
}

function textOf(event: RealtimeEvent): string {
  const shorten = (_: string, value: unknown) =>
    typeof value === 'string' && value.length > maxShown
      ? `${value.slice(0, 60)}… (${value.length.toLocaleString('en')} characters)`
      : value;
  return JSON.stringify(event, shorten, 2);
}
