/** One session as it goes on, for the operator's view: what is said, and every event. */

import type { RealtimeEvent } from '../client/relay-client.js';
import { Transcripts } from '../client/transcripts.js';
import { createConversation } from './conversation.js';
import type { Desk } from './desk.js';
import { element } from './dom.js';
import { createEventList } from './event-list.js';

/** Follows one session at a time. */
export interface Following {
  /** Follows this one from now on; null: none. */
  follow(id: string | null): void;
}

/** Before it is attached again. */
const againMs = 2000;
/** By which a session, or a token, is over; all else passes. */
const finalCodes: ReadonlySet<number> = new Set([1000, 1008]);

/** Starts with none. */
export function createFollowing(desk: Desk): Following {
  const said = createConversation('live-', { user: 'User', assistant: 'Model' });
  const events = createEventList('live-');
  const state = element('live-state', HTMLParagraphElement);
  const transcripts = new Transcripts();
  let followed: string | null = null;
  let socket: WebSocket | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let trouble = '';

  function leave(): void {
    clearTimeout(timer);
    const left = socket;
    socket = null;
    left?.close();
  }

  function attach(id: string): void {
    const opened = desk.follow(id);
    socket = opened;
    trouble = '';
    opened.addEventListener('message', ({ data }) => {
      if (opened === socket) came(JSON.parse(String(data)) as RealtimeEvent);
    });
    opened.addEventListener('close', ({ code, reason }) => {
      if (opened !== socket) return;
      socket = null;
      if (code === 1000) tell(`It is over: ${reason}.`);
      else if (finalCodes.has(code)) tell(`Not followed any more: ${trouble || reason}`);
      else {
        tell('Not followed for the moment; it is tried again.');
        timer = setTimeout(() => attach(id), againMs);
      }
    });
  }

  function came(event: RealtimeEvent): void {
    if (event.type === 'session.created') tell('Followed as it goes on.');
    if (event.type === 'error') trouble = String((event.error as { message?: unknown } | undefined)?.message ?? '');
    if (event.type === 'relay.gap') said.note(`${String(event.dropped)} events are missing here`);
    if (event.type === 'relay.client_event') {
      events.add('sent', event.event as RealtimeEvent);
      return;
    }
    events.add('received', event);
    const transcript = transcripts.after(event);
    if (transcript) said.show(transcript);
  }

  function tell(text: string): void {
    if (state.textContent !== text) state.textContent = text;
  }

  return {
    follow(id) {
      if (id === followed) return;
      leave();
      followed = id;
      transcripts.clear();
      said.clear();
      events.clear('Every event of the session from now on appears here; open one to read it.');
      tell(id === null ? '' : 'It is being attached to…');
      if (id !== null) attach(id);
    },
  };
}
