/** The operator's view: live sessions as they are now, one of them in full, and what can be done about it. */

import { createDesk, DeskError, type LiveSession } from './desk.js';
import { element, make } from './dom.js';
import { createFollowing } from './live.js';
import { adviceFor } from './remedies.js';

/** Lists may be asked for twice a second. */
const everyMs = 2000;

/** What an operator may want to know of a session, in this order. */
const facts: readonly (readonly [name: keyof LiveSession, label: string])[] = [
  ['id', 'Session'],
  ['subject', 'User'],
  ['call_id', 'Call'],
  ['tenant', 'Tenant'],
  ['profile', 'Profile'],
  ['state', 'State'],
  ['transport', 'Transport'],
  ['dialect', 'Dialect'],
  ['upstream', 'Upstream'],
  ['started_at', 'Since'],
  ['last_event_at', 'Last event'],
  ['expires_at', 'Ends at'],
  ['turns', 'Answers'],
  ['tokens', 'Tokens'],
  ['input_audio_seconds', 'Seconds of sound in'],
  ['output_audio_seconds', 'Seconds of sound out'],
  ['azure', 'For Azure’s support'],
];

/** How the view is opened and left. */
export interface OperatorView {
  show(isShown: boolean): void;
}

/**
 * Makes the view.
 * @param mint makes an operator's token, where this page can
 */
export function createOperatorView(mint: (() => Promise<string>) | null): OperatorView {
  const desk = createDesk();
  const following = createFollowing(desk);
  const token = element('operator-token', HTMLInputElement);
  const user = element('operator-user', HTMLInputElement);
  const list = element('live', HTMLOListElement);
  const count = element('live-count', HTMLParagraphElement);
  const one = element('live-one', HTMLElement);
  const fields = element('live-fields', HTMLDListElement);
  const end = element('live-end', HTMLButtonElement);
  const words = element('live-words', HTMLInputElement);
  const told = element('live-told', HTMLParagraphElement);
  const alert = element('operator-alert', HTMLParagraphElement);
  const minting = element('operator-mint', HTMLButtonElement);
  const rows = new Map<string, { item: HTMLLIElement; button: HTMLButtonElement; text: string }>();
  let chosen: string | null = null;
  let isShown = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  /** What was asked before the token, the filter or the view changed is not shown any more. */
  let epoch = 0;

  function fail(error: unknown): void {
    const code = error instanceof DeskError ? error.code : 'unreachable';
    const message = error instanceof Error ? error.message : String(error);
    alert.replaceChildren(make('strong', '', code), ` ${message} ${adviceFor(code, location.origin)}`);
    alert.hidden = false;
  }

  async function look(): Promise<void> {
    clearTimeout(timer);
    const asked = ++epoch;
    if (!isShown || !desk.hasToken) return;
    try {
      if (!document.hidden) {
        const { sessions, hasMore } = await desk.list(user.value.trim());
        if (asked !== epoch) return;
        showList(sessions, hasMore);
        alert.hidden = true;
      }
    } catch (error) {
      if (asked !== epoch) return;
      fail(error);
      // Asked again every two seconds, a wrong token would only be refused again.
      if (error instanceof DeskError && !error.isPassing) {
        enter(true);
        return;
      }
    }
    timer = setTimeout(() => void look(), everyMs);
  }

  function showList(sessions: readonly LiveSession[], hasMore: boolean): void {
    const now = new Set(sessions.map(({ id }) => id));
    for (const [id, { item }] of rows) {
      if (now.has(id)) continue;
      item.remove();
      rows.delete(id);
    }
    for (const [place, session] of sessions.entries()) {
      const row = rows.get(session.id) ?? addRow(session);
      const text = summaryOf(session);
      if (row.text !== text) {
        row.text = text;
        row.button.replaceChildren(make('strong', '', session.subject), make('span', 'hint', text));
      }
      // Moved only where it must be: what is moved loses the focus.
      if (list.children[place] !== row.item) list.insertBefore(row.item, list.children[place] ?? null);
    }
    const many = sessions.length === 1 ? '1 live session' : `${sessions.length} live sessions`;
    const text = sessions.length === 0 ? 'No live session.' : hasMore ? `${many}, and older ones` : many;
    if (count.textContent !== text) count.textContent = text;
    if (chosen !== null) showOne(sessions.find(({ id }) => id === chosen));
  }

  function addRow({ id }: LiveSession) {
    const button = make('button', 'live-row');
    button.type = 'button';
    button.setAttribute('aria-pressed', String(id === chosen));
    button.addEventListener('click', () => choose(id));
    const row = { item: make('li', '', button), button, text: '' };
    rows.set(id, row);
    return row;
  }

  function choose(id: string): void {
    chosen = id;
    for (const [other, { button }] of rows) button.setAttribute('aria-pressed', String(other === id));
    told.textContent = '';
    calm();
    fields.replaceChildren();
    one.hidden = false;
    following.follow(id);
    void look();
  }

  function showOne(session: LiveSession | undefined): void {
    for (const control of [end, words]) control.disabled = session === undefined;
    if (session === undefined) {
      if (told.textContent === '') told.textContent = 'It is not among the live sessions any more.';
      return;
    }
    const shown = facts.map(([name, label]) => [label, textOf(name, session[name])] as const);
    for (const [index, [label, text]] of shown.entries()) {
      const known = fields.children[index];
      if (!known) fields.append(make('div', '', make('dt', '', label), make('dd', '', text)));
      else if (known.lastElementChild && known.lastElementChild.textContent !== text) {
        known.lastElementChild.textContent = text;
      }
    }
  }

  function calm(): void {
    end.dataset.sure = '';
    end.textContent = 'End session';
  }

  async function carryOut(what: (id: string) => Promise<string>): Promise<void> {
    const id = chosen;
    if (id === null) return;
    try {
      const text = await what(id);
      if (id === chosen) told.textContent = text;
    } catch (error) {
      fail(error);
    }
    void look();
  }

  /** Whether a token is asked for: while there is none, and when the one there is was refused. */
  function enter(isWanted: boolean): void {
    element('operator-entry', HTMLDivElement).hidden = !isWanted;
    element('operator-use', HTMLButtonElement).hidden = !isWanted;
    minting.hidden = !isWanted || mint === null;
  }

  function use(next: string): void {
    desk.use(next);
    token.value = '';
    alert.hidden = true;
    enter(!desk.hasToken);
    element('operator-forget', HTMLButtonElement).hidden = !desk.hasToken;
    element('operator-lists', HTMLElement).hidden = !desk.hasToken;
    if (desk.hasToken) void look();
    else {
      epoch++;
      clearTimeout(timer);
      chosen = null;
      following.follow(null);
      one.hidden = true;
      rows.clear();
      list.replaceChildren();
      count.textContent = '';
    }
  }

  element('operator', HTMLFormElement).addEventListener('submit', (event) => {
    event.preventDefault();
    const given = token.value.trim();
    if (given) use(given);
  });
  minting.addEventListener('click', () => void mint?.().then(use, fail));
  element('operator-forget', HTMLButtonElement).addEventListener('click', () => use(''));
  element('operator-filter', HTMLFormElement).addEventListener('submit', (event) => {
    event.preventDefault();
    void look();
  });
  user.addEventListener('change', () => void look());
  end.addEventListener('click', () => {
    if (!end.dataset.sure) {
      end.dataset.sure = 'yes';
      end.textContent = 'Press again to end it';
      return;
    }
    calm();
    void carryOut(async (id) => {
      await desk.end(id);
      return 'Ended.';
    });
  });
  end.addEventListener('blur', calm);
  element('live-say', HTMLFormElement).addEventListener('submit', (event) => {
    event.preventDefault();
    const text = words.value.trim();
    if (!text) return;
    words.value = '';
    void carryOut(async (id) => {
      await desk.say(id, text);
      return `The model is told to say: ${text}`;
    });
  });
  use(desk.kept);

  return {
    show(shown) {
      isShown = shown;
      following.follow(shown ? chosen : null);
      void look();
    },
  };
}

function summaryOf({ tenant, profile, state, transport, started_at, turns }: LiveSession): string {
  const answers = turns === 1 ? '1 answer' : `${turns} answers`;
  const who = tenant === null ? [] : [tenant];
  return [...who, profile, transport, state, `since ${timeOf(started_at)}`, answers].join(' · ');
}

function textOf(name: string, value: unknown): string {
  if (value === null) return '–';
  if (typeof value === 'number') return name.endsWith('_at') ? timeOf(value) : value.toLocaleString('en');
  if (typeof value === 'string') return value;
  const { session_id, request_ids } = value as LiveSession['azure'];
  return [session_id ?? '', ...request_ids].filter(Boolean).join(', ') || '–';
}

function timeOf(seconds: number): string {
  return new Date(seconds * 1000).toLocaleTimeString('en', { hour12: false });
}
