/** What the operator's view asks of the relay, with a token that stays in this tab. */

import { eventsToSay } from '../protocol/wording.js';
import { relayUrl } from './dialing.js';

/** A live session as the relay describes it. */
export interface LiveSession {
  readonly id: string;
  readonly call_id: string | null;
  readonly subject: string;
  readonly tenant: string | null;
  readonly profile: string;
  readonly transport: string;
  readonly dialect: string;
  readonly upstream: string | null;
  readonly state: string;
  readonly started_at: number;
  readonly expires_at: number;
  readonly last_event_at: number;
  readonly turns: number;
  readonly tokens: number;
  readonly input_audio_seconds: number | null;
  readonly output_audio_seconds: number | null;
  readonly azure: { readonly session_id: string | null; readonly request_ids: readonly string[] };
}

/** Why the relay did not do what was asked. */
export class DeskError extends Error {
  constructor(
    message: string,
    readonly code: string,
    /** Whether it may go well in a moment. */
    readonly isPassing: boolean,
  ) {
    super(message);
  }
}

export interface Desk {
  /** The token that this tab had before it was loaded again, or empty. */
  readonly kept: string;
  readonly hasToken: boolean;
  /** Takes another token; an empty one forgets it. */
  use(token: string): void;
  /** The newest live sessions, of one user or of all. */
  list(user: string): Promise<{ readonly sessions: readonly LiveSession[]; readonly hasMore: boolean }>;
  end(id: string): Promise<void>;
  /** Has the model say something to the user now. */
  say(id: string, text: string): Promise<void>;
  /** Opens a sideband of a session: all of its events but sound, those of its client among them. */
  follow(id: string): WebSocket;
}

const key = 'realtime-relay.operator';
const mostListed = '100';

export function createDesk(): Desk {
  let token = '';

  async function ask<Answer>(method: string, path: string, body?: object): Promise<Answer> {
    const answer = await fetch(new URL(`v1/relay/sessions${path}`, relayUrl), {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
    }).catch(() => {
      throw new DeskError('The relay cannot be reached.', 'unreachable', true);
    });
    type Body = Answer & { readonly error?: { readonly code?: string; readonly message?: string } };
    const said = (await answer.json().catch(() => ({}))) as Body;
    if (answer.ok) return said;
    const { code = `HTTP ${answer.status}`, message = 'What answers is not a relay.' } = said.error ?? {};
    throw new DeskError(message, code, answer.status === 429 || answer.status >= 500);
  }

  return {
    kept: sessionStorage.getItem(key) ?? '',
    get hasToken() {
      return token !== '';
    },
    use(next) {
      token = next;
      if (next) sessionStorage.setItem(key, next);
      else sessionStorage.removeItem(key);
    },
    async list(user) {
      const query = new URLSearchParams({ limit: mostListed, ...(user && { subject: user }) });
      const { data, has_more } = await ask<{ data: LiveSession[]; has_more: boolean }>('GET', `?${query}`);
      return { sessions: data, hasMore: has_more };
    },
    follow(id) {
      const url = new URL(`v1/relay/sessions/${id}/sideband?client_events=on`, relayUrl);
      // A page cannot set headers, and a token in the address would be in logs.
      return new WebSocket(url.href.replace(/^http/, 'ws'), ['realtime', `openai-insecure-api-key.${token}`]);
    },
    async end(id) {
      await ask('DELETE', `/${id}`);
    },
    async say(id, text) {
      const { call_id } = await ask<LiveSession>('GET', `/${id}`);
      const events = eventsToSay(text, call_id !== null);
      try {
        await ask('POST', `/${id}/events`, { events });
      } catch (error) {
        if (!(error instanceof DeskError) || error.code !== 'conversation_already_has_active_response') throw error;
        await ask('POST', `/${id}/events`, { events: [{ type: 'response.cancel' }, ...events] });
      }
    },
  };
}
