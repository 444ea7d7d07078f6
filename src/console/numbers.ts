/** What a session cost and how quick it was, as far as the page itself can know. */

import type { RealtimeEvent, RelayClient } from '../client/relay-client.js';
import { element } from './dom.js';

interface Usage {
  readonly input_tokens?: number;
  readonly output_tokens?: number;
  readonly input_token_details?: { readonly cached_tokens?: number };
}

const probeId = 'console_probe';

/** Keeps the numbers of the current session up to date. */
export function showNumbers(client: RelayClient): void {
  const field = (id: string) => element(id, HTMLElement);
  const shown = ['answered', 'ready', 'round-trip', 'tokens-in', 'tokens-out', 'interruptions', 'ends'] as const;
  const fields = Object.fromEntries(shown.map((id) => [id, field(id)])) as Record<(typeof shown)[number], HTMLElement>;
  let connectingAt = 0;
  let probedAt = 0;
  let used = { in: 0, cached: 0, out: 0 };
  let interruptions = 0;

  client.on('state', ({ state }) => {
    if (state === 'open') {
      fields.ready.textContent = milliseconds(performance.now() - connectingAt);
      if (!client.carriesAudio) fields.interruptions.textContent = '0';
    }
    if (state !== 'connecting') return;
    connectingAt = performance.now();
    used = { in: 0, cached: 0, out: 0 };
    interruptions = 0;
    for (const id of shown) fields[id].textContent = '–';
  });
  client.on('answered', ({ afterMs }) => {
    fields.answered.textContent = milliseconds(afterMs);
  });
  client.on('interrupted', () => {
    interruptions++;
    fields.interruptions.textContent = String(interruptions);
  });
  client.on('event', ({ direction, event }) => {
    if (direction !== 'received') return;
    if (event.type === 'session.created') begin(event);
    else if (event.type === 'session.updated' && probedAt) {
      fields['round-trip'].textContent = milliseconds(performance.now() - probedAt);
      probedAt = 0;
    } else if (event.type === 'response.done') add((event.response as { usage?: Usage | null }).usage ?? {});
  });

  function begin({ session }: RealtimeEvent): void {
    const { expires_at } = session as { expires_at?: number };
    if (expires_at) fields.ends.textContent = new Date(expires_at * 1000).toLocaleTimeString();
    // A call's events go past the relay, which has nothing to answer there.
    if (client.carriesAudio) return;
    probedAt = performance.now();
    client.send({ type: 'session.update', event_id: probeId, session: {} });
  }

  function add({ input_tokens = 0, output_tokens = 0, input_token_details = {} }: Usage): void {
    used = {
      in: used.in + input_tokens,
      out: used.out + output_tokens,
      cached: used.cached + (input_token_details.cached_tokens ?? 0),
    };
    const cached = used.cached > 0 ? ` (${used.cached.toLocaleString('en')})` : '';
    fields['tokens-in'].textContent = used.in.toLocaleString('en') + cached;
    fields['tokens-out'].textContent = used.out.toLocaleString('en');
  }
}

function milliseconds(value: number): string {
  return value < 1000 ? `${Math.max(1, Math.round(value))} ms` : `${(value / 1000).toFixed(2)} s`;
}
