/** `realtime-relay check --dial`: opens a session on every upstream, and says what failed and what to do about it. */

import { randomUUID } from 'node:crypto';
import type { Settings } from './config.js';
import { RelayError } from './errors.js';
import type { Profile } from './policy/profile.js';
import { renderSession } from './policy/render.js';
import { encode, eventOf, type JsonObject, type RealtimeEvent, type Refusal, type Step } from './protocol/event.js';
import { createReader } from './protocol/read.js';
import { previewUpstream } from './protocol/translate.js';
import { oneLine } from './terminal.js';
import { type Dialed, dial } from './upstream/dial.js';
import { DialFailure } from './upstream/failure.js';
import type { UpstreamTarget } from './upstream/target.js';
import { createTargets } from './upstreams.js';

/** What works and is probably not meant, for `check`: too much for the log of each start. */
export function hintsOf({ profiles }: Pick<Settings, 'profiles'>): string[] {
  return [...profiles.values()]
    .filter(
      ({ session }) => session.type !== 'transcription' && !(session.instructions ?? '').trim() && !session.prompt,
    )
    .map(
      ({ name }) =>
        `profiles.${name}.session.instructions is not set: the model then has the vendor's own instructions, a lively ` +
        'persona that speaks fast and is told to call a function whenever it can. An empty text does not clear them.',
    );
}

const maxBytes = 32 * 1024 * 1024;

/** Tries every upstream with every profile; resolves to whether all went well. Prints a line for each step. */
export async function checkUpstreams(settings: Settings, print: (line: string) => void): Promise<boolean> {
  const { targets, caches } = createTargets(settings, () => undefined);
  let ok = true;
  for (const target of targets) {
    for (const profile of settings.profiles.values()) {
      print(`upstream ${target.name}, profile ${profile.name}:`);
      const problem = await tryOne(target, profile, settings, print);
      if (problem === null) continue;
      ok = false;
      for (const line of problem) print(`  ${line}`);
    }
  }
  for (const cache of caches.values()) cache.close();
  print(ok ? 'All upstreams accept sessions.' : 'Not all upstreams accept sessions.');
  return ok;
}

async function tryOne(
  target: UpstreamTarget,
  profile: Profile,
  { limits }: Settings,
  print: (line: string) => void,
): Promise<string[] | null> {
  const requestId = randomUUID();
  const started = performance.now();
  let dialed: Dialed;
  try {
    const signal = new AbortController().signal;
    dialed = await dial(target, {
      requestId,
      signal,
      timeoutSeconds: limits.dial_seconds,
      ...(profile.session.type === 'transcription' && { intent: 'transcription' as const }),
    });
  } catch (error) {
    return explain(error, requestId);
  }
  print(`  connected in ${Math.round(performance.now() - started)} ms`);
  try {
    const session = await configure(dialed, renderSession(profile, {}), limits.configure_seconds);
    print(
      `  configured in ${Math.round(performance.now() - started)} ms, model ${oneLine(String(session.model), 128)}`,
    );
    return null;
  } catch (error) {
    return [
      `The session could not be configured: ${oneLine((error as Error).message)}`,
      'Check this profile in RELAY_CONFIG.',
    ];
  } finally {
    dialed.socket.close();
  }
}

/** What is wrong, what to do, and what Azure's support would ask for. */
function explain(error: unknown, requestId: string): string[] {
  const cause = error instanceof RelayError ? error.cause : error;
  if (!(cause instanceof DialFailure)) return [String((error as Error).message)];
  const ids = Object.entries(cause.requestIds).map(([name, value]) => `${name} ${value}`);
  return [
    `failed (${cause.kind}): ${cause.message}`,
    `what to do: ${cause.advice}`,
    `for support: ${[`x-ms-client-request-id ${requestId}`, ...ids, new Date().toISOString()].join(', ')}`,
  ];
}

/** Sends the profile and waits for its acknowledgement; rejects with upstream's own words. */
function configure({ socket, upstream }: Dialed, session: JsonObject, seconds: number): Promise<JsonObject> {
  const { dialect } = upstream;
  const read = createReader({ direction: 'down', dialect, slowBytes: maxBytes, eventBytes: maxBytes });
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('no answer in time')), seconds * 1000);
    const settle = (action: () => void) => {
      clearTimeout(timer);
      action();
    };
    const refuse = ({ message }: Refusal) => settle(() => reject(new Error(message)));
    const translation = dialect === 'preview' ? previewUpstream({ refuse, eventId: () => 'event_rly_0' }) : null;
    const send = (event: RealtimeEvent) => {
      for (const each of apply(translation?.toUpstream, event)) socket.send(encode(each), { binary: false });
    };
    const take = ({ type, body }: RealtimeEvent) => {
      if (type === 'session.created') send(eventOf({ type: 'session.update', event_id: 'rly_check', session }));
      else if (type === 'session.updated') settle(() => resolve(body?.session as JsonObject));
      else if (type === 'error') settle(() => reject(new Error(JSON.stringify(body?.error))));
    };
    socket.on('message', (message: Buffer) => {
      try {
        for (const event of apply(translation?.fromUpstream, read(message))) take(event);
      } catch (error) {
        settle(() => reject(error));
      }
    });
    socket.on('close', (code) => settle(() => reject(new Error(`the upstream closed the connection (${code})`))));
    socket.resume();
  });
}

function apply(step: Step | undefined, event: RealtimeEvent): readonly RealtimeEvent[] {
  if (!step) return [event];
  const result = step(event);
  return result === null ? [] : Array.isArray(result) ? result : [result as RealtimeEvent];
}
