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

/** With which a takeover is refused. */
const takeoverCodes: ReadonlySet<unknown> = new Set(['taken_over', 'upstream_timeout', 'forbidden', 'not_open']);

/** Starts with none. */
export function createFollowing(desk: Desk): Following {
  const said = createConversation('live-', { user: 'User', assistant: 'Model' });
  const events = createEventList('live-');
  const state = element('live-state', HTMLParagraphElement);
  const takeover = element('live-takeover', HTMLButtonElement);
  const held = element('live-held', HTMLParagraphElement);
  const transcripts = new Transcripts();
  let followed: string | null = null;
  let socket: WebSocket | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let trouble = '';
  let isTaken = false;
  /** Whether something was wished for that is not answered yet. */
  let asked = false;

  function leave(): void {
    clearTimeout(timer);
    const left = socket;
    socket = null;
    stand(false, null);
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
      stand(false, null);
      if (code === 1000) tell(`It is over: ${reason}.`);
      else if (finalCodes.has(code)) tell(`Not followed any more: ${trouble || reason}`);
      else {
        tell('Not followed for the moment; it is tried again.');
        timer = setTimeout(() => attach(id), againMs);
      }
    });
  }

  function came(event: RealtimeEvent): void {
    if (event.type === 'session.created') {
      tell('Followed as it goes on.');
      takeover.disabled = false;
    }
    if (event.type === 'relay.taken_over') stand(event.on === true, event.by);
    if (event.type === 'error') {
      const { code, message } = (event.error ?? {}) as { readonly code?: unknown; readonly message?: unknown };
      trouble = String(message ?? '');
      if (asked && takeoverCodes.has(code)) held.textContent = trouble;
      asked = false;
    }
    if (event.type === 'relay.gap') said.note(`${String(event.dropped)} events are missing here`);
    if (event.type === 'relay.client_event') {
      events.add('sent', event.event as RealtimeEvent);
      return;
    }
    events.add('received', event);
    const transcript = transcripts.after(event);
    if (transcript) said.show(transcript);
  }

  /** How things stand with who speaks for the model. */
  function stand(isOn: boolean, by: unknown): void {
    isTaken = isOn;
    asked = false;
    takeover.disabled = socket === null;
    takeover.textContent = isOn ? 'Hand back' : 'Take over';
    held.textContent = isOn ? `Taken over by ${String(by)}: the model answers only when it is told what to say.` : '';
  }

  takeover.addEventListener('click', () => {
    asked = true;
    socket?.send(JSON.stringify({ type: 'relay.takeover', on: !isTaken }));
  });

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
