/** The transcript: who said what, growing while they say it. */

import type { Transcript } from '../client/relay-client.js';
import { element, make } from './dom.js';
import { toolLine } from './results.js';

/** Lines that are kept; older ones leave the page. */
const maxLines = 200;
/** What each side is called. */
interface Names {
  readonly user: string;
  readonly assistant: string;
}

const own: Names = { user: 'You', assistant: 'Model' };

interface Line {
  readonly row: HTMLLIElement;
  readonly words: HTMLParagraphElement;
  isPlaced: boolean;
}

/** What the rest of the page does with the transcript. */
export interface Conversation {
  show(transcript: Transcript): void;
  /** Marks where an answer was cut off. */
  cutOff(itemId: string, playedMs: number): void;
  /** Tells that a tool of the server ran, and what it brought. */
  tool(name: string, result: unknown): void;
  /** Draws a line, such as for a new session. */
  note(text: string): void;
  /** Begins anew. */
  clear(): void;
}

/** @param prefix of the ids of the page's elements for it */
export function createConversation(prefix = '', names = own): Conversation {
  const list = element(`${prefix}transcript`, HTMLOListElement);
  const scroll = element(`${prefix}scroll`, HTMLElement);
  const spoken = element(`${prefix}spoken`, HTMLParagraphElement);
  const empty = element(`${prefix}empty`, HTMLParagraphElement);
  const lines = new Map<string, Line>();
  // So that it can be scrolled by keyboard, which not every browser offers by itself.
  scroll.tabIndex = 0;

  function append(row: HTMLLIElement): void {
    empty.hidden = true;
    list.append(row);
    while (list.childElementCount > maxLines) list.firstElementChild?.remove();
    for (const [id, line] of lines) if (!line.row.isConnected) lines.delete(id);
  }

  /** Follows the conversation, unless the reader has scrolled up. */
  function following(change: () => void): void {
    const atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 40;
    change();
    if (atEnd) scroll.scrollTop = scroll.scrollHeight;
  }

  return {
    clear() {
      lines.clear();
      list.replaceChildren();
      spoken.textContent = '';
      empty.hidden = false;
    },
    show({ itemId, role, text, isFinal, previousItemId }) {
      following(() => {
        let line = lines.get(itemId);
        if (!line) {
          const words = make('p', 'words');
          // People write in either direction.
          words.dir = 'auto';
          line = { words, row: make('li', role, make('strong', '', names[role]), words), isPlaced: false };
          lines.set(itemId, line);
          append(line.row);
        }
        // Words may come before their item has its place, which may be before what is shown already.
        if (typeof previousItemId === 'string' && !line.isPlaced) {
          line.isPlaced = true;
          const before = lines.get(previousItemId)?.row;
          if (before && before.nextElementSibling !== line.row) before.after(line.row);
        }
        line.row.classList.toggle('growing', !isFinal);
        line.words.textContent = text || (role === 'user' ? 'Speech' : '…');
        line.words.classList.toggle('wordless', text === '');
        if (isFinal && text) spoken.textContent = `${names[role]}: ${text}`;
      });
    },
    cutOff(itemId, playedMs) {
      const words = lines.get(itemId)?.words;
      if (!words || words.parentElement?.querySelector('.cut')) return;
      following(() => words.after(make('p', 'cut', `Interrupted after ${(playedMs / 1000).toFixed(1)} s`)));
    },
    tool(name, result) {
      following(() => append(toolLine(name, result)));
    },
    note(text) {
      following(() => append(make('li', 'note', text)));
    },
  };
}
