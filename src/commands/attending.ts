/** One session as it goes on, over a sideband: what is said in it, and what becomes of it. */

import { setTimeout as delay } from 'node:timers/promises';
import { answerOf } from '../control/answer.js';
import { isObject, type JsonObject, objectOf } from '../protocol/event.js';
import { family } from '../protocol/family.js';
import { openSideband } from '../talk/beside.js';
import { DoorError, type DoorOptions, refusedBy, sidebandUrl, unreached } from './door.js';

/** Something that has happened. */
export interface Happening {
  readonly event: 'user' | 'model' | 'call' | 'gap' | 'error' | 'ended';
  /** What was said, or what is to be said of it. */
  readonly text: string;
  /** How an answer of the model's ended. */
  readonly status?: string;
}

/** Before a sideband that was cut off is attached again. */
const againMs = 2000;

/**
 * Follows a session until it ends, or `signal` does. Rejects with a DoorError where it may not be followed.
 * @param lost told when the sideband was cut off, and when it is there again
 */
export async function attend(
  options: DoorOptions,
  id: string,
  signal: AbortSignal,
  happened: (what: Happening) => void,
  lost: (isLost: boolean) => void,
): Promise<void> {
  let wasLost = false;
  const opened = () => {
    if (wasLost) lost(false);
    wasLost = false;
  };
  for (let isFirst = true; !signal.aborted; isFirst = false) {
    try {
      if (await follow(options, id, signal, { opened, happened })) return;
    } catch (error) {
      // What was refused once is refused again; a relay that restarts is worth waiting for.
      if (signal.aborted) return;
      if (isFirst || !(error instanceof DoorError) || !error.isPassing) throw error;
    }
    if (signal.aborted) return;
    if (!wasLost) lost(true);
    wasLost = true;
    await delay(againMs, undefined, { signal }).catch(stopped);
  }
}

/** Resolves to whether the session is over, when the sideband is. */
function follow(
  { url: relay, token, insecure }: DoorOptions,
  id: string,
  signal: AbortSignal,
  { opened, happened }: { opened: () => void; happened: (what: Happening) => void },
): Promise<boolean> {
  const url = sidebandUrl(relay, id);
  let trouble: JsonObject = {};
  return new Promise((resolve, reject) => {
    const close = openSideband(
      { url, token, insecure },
      {
        opened,
        message(text) {
          const event = objectOf(JSON.parse(text));
          if (event.type === family.down.error) trouble = objectOf(event.error);
          for (const what of happeningsIn(event)) happened(what);
        },
        closed(code, reason) {
          signal.removeEventListener('abort', close);
          const { code: name = reason, message = 'The relay closed the sideband.' } = trouble;
          if (code === 1008) reject(new DoorError(`${String(name)}: ${String(message)}`, String(name), 403));
          else resolve(code === 1000);
        },
        refused: (status, text) => reject(refusedBy(status, text, url)),
        failed: (error) => reject(unreached(error, url)),
      },
    );
    signal.addEventListener('abort', close);
  });
}

/** What an event tells of that somebody watches for. */
function happeningsIn(event: JsonObject): Happening[] {
  return told.get(event.type)?.(event) ?? [];
}

const told: ReadonlyMap<unknown, (event: JsonObject) => Happening[]> = new Map([
  ...family.down.itemAdded.map((type) => [type, ({ item }: JsonObject) => typed(objectOf(item))] as const),
  [family.down.transcribed, ({ transcript }: JsonObject) => said(String(transcript))],
  [family.down.answerEnded, ({ response }: JsonObject) => answered(objectOf(response))],
  ['relay.gap', ({ dropped }: JsonObject) => [{ event: 'gap', text: `${String(dropped)} events are missing` }]],
  ['relay.session_ended', ({ reason }: JsonObject) => [{ event: 'ended', text: String(reason) }]],
  [
    family.down.error,
    ({ error }: JsonObject) => {
      const { code, message } = objectOf(error);
      return [{ event: 'error', text: `${String(code)}: ${String(message)}` }];
    },
  ],
]);

/** An item that somebody has written; spoken ones have no words yet. */
function typed({ type, role, content }: JsonObject): Happening[] {
  if (type !== 'message' || role !== 'user' || !Array.isArray(content)) return [];
  const words = content.filter(isObject).map(({ text }) => text);
  return said(words.filter((text) => typeof text === 'string').join(' '));
}

function said(words: string): Happening[] {
  const text = words.trim();
  return text === '' ? [] : [{ event: 'user', text }];
}

function answered(response: JsonObject): Happening[] {
  const { text, status, output } = answerOf(response);
  const calls = output.filter(({ type }) => type === 'function_call' || type === 'mcp_call');
  return [
    ...(text !== '' || calls.length === 0 ? [{ event: 'model', text, status: status ?? 'unknown' } as const] : []),
    ...calls.map(({ name }) => ({ event: 'call', text: String(name) }) as const),
  ];
}

/** The only reason for a delay to fail. */
function stopped(): void {}
