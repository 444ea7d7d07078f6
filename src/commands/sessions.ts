/** `realtime-relay sessions`: the live sessions of a running relay, for whoever looks after it. */

import { setTimeout as delay } from 'node:timers/promises';
import type { Description } from '../control/description.js';
import type { JsonObject } from '../protocol/event.js';
import { eventsToSay } from '../protocol/wording.js';
import { attend, type Happening } from './attending.js';
import { type CliCommand, exitCodes, options, positive, UsageError } from './command.js';
import { createDoor, type Door, DoorError, type DoorOptions } from './door.js';
import { complain, print } from './print.js';
import { onSignal } from './signals.js';
import { createWatching, type Seen } from './watching.js';

/** Lists, shows and follows sessions, ends one, or has something said in one. */
export const sessionsCommand: CliCommand = {
  help: `  sessions list         list the live sessions of a running relay, the newest first
        [--subject <user>] [--tenant <name>] [--profile <name>] [--limit <count>]
  sessions watch        tell what happens to them, as it happens: the same options
  sessions watch <id>   tell what is said in one, as it is said
  sessions show <id>    show one of them
  sessions end <id>     end one
  sessions say <id> <text>
                        have the model say something to the user now
        each: [--url <url>] [--token <token>] [--insecure] [--json]`,
  async run(args) {
    const { values, positionals } = options(
      args,
      {
        url: { type: 'string', default: process.env.RELAY_URL || 'http://127.0.0.1:8080' },
        token: { type: 'string' },
        insecure: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        subject: { type: 'string' },
        tenant: { type: 'string' },
        profile: { type: 'string' },
        limit: { type: 'string' },
      },
      true,
    );
    const [verb = '', ...words] = positionals;
    if (!Object.hasOwn(verbs, verb)) throw new UsageError('sessions: expected list, watch, show, end or say.');
    const { run, takes } = verbs[verb as keyof typeof verbs];
    const isOne = verb === 'watch' && words.length === 1;
    if ((words.length !== takes.length && !isOne) || words.some((word) => word === '')) {
      throw new UsageError(`sessions ${verb}: expected ${takes.join(' and ') || 'options and nothing else'}.`);
    }
    const { subject, tenant, profile, limit } = values;
    const given = { subject, tenant, profile, limit };
    const odd = Object.entries(given).find(([, value]) => value !== undefined);
    if ((takes.length > 0 || isOne) && odd) throw new UsageError(`sessions ${verb}: --${odd[0]} is for lists.`);
    const token = values.token ?? process.env.RELAY_TOKEN;
    if (!token) throw new UsageError('sessions: --token <token> is needed, or RELAY_TOKEN in the environment.');
    try {
      const options = { url: values.url, token, insecure: values.insecure };
      await run({ door: doorOf(options), options, words, list: listOf(given), isJson: values.json });
      return exitCodes.ok;
    } catch (error) {
      if (!(error instanceof DoorError)) throw error;
      complain(`failed: ${error.message}`);
      return exitCodes.failed;
    }
  },
};

interface Asked {
  readonly door: Door;
  readonly options: DoorOptions;
  readonly words: readonly string[];
  readonly list: { readonly filters: Readonly<Record<string, string>>; readonly limit: number };
  readonly isJson: boolean;
}

const verbs = {
  list: { takes: [], run: list },
  watch: { takes: [], run: watch },
  show: { takes: ['an id'], run: show },
  end: { takes: ['an id'], run: end },
  say: { takes: ['an id', 'a text in quotes'], run: say },
} as const;

const pageSize = 100;
const usualLimit = '100';
/** Lists may be asked for twice a second. */
const everyMs = 2000;

function doorOf(given: Parameters<typeof createDoor>[0]): Door {
  try {
    return createDoor(given);
  } catch (error) {
    throw new UsageError(`sessions: ${(error as Error).message}`);
  }
}

function listOf({ limit = usualLimit, ...given }: Readonly<Record<string, string | undefined>>): Asked['list'] {
  const filters = Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]));
  const most = positive('limit', limit);
  if (!Number.isInteger(most)) throw new UsageError('--limit must be a whole number.');
  return { filters: Object.fromEntries(filters), limit: most };
}

/** Follows the pages of a list, as far as is asked for. */
async function pages(door: Door, { filters, limit }: Asked['list']): Promise<Seen> {
  const sessions: Description[] = [];
  for (let after: string | null = null; ; ) {
    const size = String(Math.min(pageSize, limit - sessions.length));
    const query = new URLSearchParams({ ...filters, limit: size, ...(after !== null && { after }) });
    const page = (await door('GET', `sessions?${query}`)) as unknown as {
      data: Description[];
      has_more: boolean;
      last_id: string | null;
    };
    sessions.push(...page.data);
    after = page.last_id;
    if (!page.has_more || after === null || sessions.length >= limit) return { sessions, hasMore: page.has_more };
  }
}

async function list({ door, list: wanted, isJson }: Asked): Promise<void> {
  const { sessions, hasMore } = await pages(door, wanted);
  if (isJson) {
    print(JSON.stringify(sessions));
    return;
  }
  for (const session of sessions) print(lineOf(session));
  if (sessions.length === 0) print('No live session.');
  if (hasMore) print(`There are others, older than these; --limit ${wanted.limit * 10} shows more.`);
}

async function watch(asked: Asked): Promise<void> {
  const { door, list: wanted, words, isJson } = asked;
  const stop = new AbortController();
  onSignal(() => stop.abort());
  const [id] = words;
  if (id !== undefined) {
    await watchOne(asked, id, stop.signal);
    return;
  }
  const changed = createWatching();
  let isLost = false;
  for (let isFirst = true; !stop.signal.aborted; isFirst = false) {
    try {
      for (const { event, session } of changed(await pages(door, wanted))) {
        const at = new Date();
        if (isJson) print(JSON.stringify({ event, at: Math.floor(at.getTime() / 1000), session }));
        else print(`${at.toISOString().slice(11, 19)} ${event.padEnd(6)} ${lineOf(session)}`);
      }
      if (isLost) complain('The relay answers again.');
      isLost = false;
    } catch (error) {
      // What was refused once is refused again; a relay that restarts is worth waiting for.
      if (isFirst || !(error instanceof DoorError) || !error.isPassing) throw error;
      if (!isLost) complain(`${error.message} Still watching.`);
      isLost = true;
    }
    await delay(everyMs, undefined, { signal: stop.signal }).catch(stopped);
  }
}

async function watchOne({ options, isJson }: Asked, session: string, signal: AbortSignal): Promise<void> {
  const happened = ({ event, ...what }: Happening) => {
    const at = new Date();
    if (isJson) print(JSON.stringify({ event, at: Math.floor(at.getTime() / 1000), session, ...what }));
    else {
      const isOdd = what.status !== undefined && what.status !== 'completed';
      const text = [what.text, ...(isOdd ? [`(${what.status})`] : [])].filter(Boolean).join(' ');
      print(`${at.toISOString().slice(11, 19)} ${event.padEnd(6)} ${text}`.trimEnd());
    }
  };
  const lost = (isLost: boolean) =>
    complain(isLost ? 'The relay was lost. Still watching.' : 'The relay answers again.');
  await attend(options, session, signal, happened, lost);
}

/** The only reason for a delay to fail. */
function stopped(): void {}

async function show({ door, words: [id = ''], isJson }: Asked): Promise<void> {
  const session = await door('GET', pathOf(id));
  if (isJson) print(JSON.stringify(session));
  else {
    for (const [name, value] of Object.entries(session)) {
      const time = name.endsWith('_at') && typeof value === 'number' ? ` (${timeOf(value)})` : '';
      print(`${name.padEnd(22)} ${typeof value === 'string' ? value : JSON.stringify(value)}${time}`);
    }
  }
}

async function end({ door, words: [id = ''], isJson }: Asked): Promise<void> {
  const ended = await door('DELETE', pathOf(id));
  print(isJson ? JSON.stringify(ended) : `ended ${String(ended.id)}`);
}

async function say({ door, words: [id = '', text = ''], isJson }: Asked): Promise<void> {
  const events = eventsToSay(text, await isCall(door, id));
  const path = `${pathOf(id)}/events`;
  let placed: JsonObject;
  try {
    placed = await door('POST', path, { events });
  } catch (error) {
    if (!(error instanceof DoorError) || error.code !== 'conversation_already_has_active_response') throw error;
    placed = await door('POST', path, { events: [{ type: 'response.cancel' }, ...events] });
  }
  if (isJson) print(JSON.stringify(placed));
  else for (const eventId of placed.event_ids as string[]) print(eventId);
}

/** Whoever may only write is not told; a call by its own id is one all the same. */
async function isCall(door: Door, id: string): Promise<boolean> {
  if (id.startsWith('call_')) return true;
  try {
    return (await door('GET', pathOf(id))).call_id !== null;
  } catch (error) {
    if (error instanceof DoorError && error.code === 'forbidden') return false;
    throw error;
  }
}

function pathOf(id: string): string {
  return `sessions/${encodeURIComponent(id)}`;
}

function lineOf({ id, subject, tenant, profile, transport, state, started_at, turns, tokens }: Description): string {
  const who = tenant === null ? subject : `${subject} (${tenant})`;
  return `${id}  ${who}  ${profile}  ${transport}  ${state}  since ${timeOf(started_at)}  ${turns} turns  ${tokens} tokens`;
}

function timeOf(seconds: number): string {
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}Z`;
}
