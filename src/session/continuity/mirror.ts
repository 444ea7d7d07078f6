/** Makes a fresh leg know what a shadow knows, and keeps it so; nobody hears of that. */

import { root } from '../../policy/leading.js';
import { relayPrefix } from '../../protocol/catalogue.js';
import { type JsonObject, objectOf, type RealtimeEvent, type Step } from '../../protocol/event.js';
import { family } from '../../protocol/family.js';
import { type Entry, heard, isWordless, itemOf } from './entry.js';

/** What a mirror needs. */
interface MirrorPorts {
  /** Sends an event upstream, past everything that would take note of it. */
  send(body: JsonObject): void;
  /** The sound of an item whose words are not known. */
  soundOf(itemId: string): string | null;
  /** Nothing is on its way any more. */
  settled(): void;
  /** Begins what is told, before all else; null for nothing. */
  readonly anchor: string | null;
  /** Whether what was said is told as one item, since the upstream would take words of its own for a reason to write. */
  readonly isLabelled: boolean;
}

/** What the leg was told. */
interface Told {
  readonly version: number;
  /** Whether it knows it by another id. */
  alias: string | null;
}

/** The field that upstream names where it does not want the id of an item. */
const aboutId = /^item\.id$/;
const anchorId = `${relayPrefix}anchor`;
const historyId = `${relayPrefix}history`;

export class Mirror {
  readonly #ports: MirrorPorts;
  readonly #prefix: string;
  readonly #told = new Map<string, Told>();
  /** By the id of the event that brings it. */
  readonly #coming = new Map<string, { readonly id: string; readonly item: JsonObject | null }>();
  readonly #goings = new Set<string>();
  /** Items that upstream is to name itself, in order. */
  readonly #nameless: string[] = [];
  readonly #names = new Map<string, string>();
  /** Items that it was told of as lines of one. */
  readonly #lines = new Set<string>();
  #events = 0;
  /** Items that it could not be told. */
  lost = 0;
  /** Items that it was told in sound. */
  readonly sounds = new Set<string>();

  /** @param leg tells the events of several mirrors of a session apart */
  constructor(leg: number, ports: MirrorPorts) {
    this.#prefix = `${relayPrefix}m${leg}_`;
    this.#ports = ports;
  }

  /** Whether the leg has acknowledged all that it was told. */
  get isSettled(): boolean {
    return this.#coming.size === 0 && this.#goings.size === 0 && this.#nameless.length === 0;
  }

  /** Whether the leg knows this item from here. */
  has(id: unknown): boolean {
    return typeof id === 'string' && (this.#told.has(id) || this.#lines.has(id));
  }

  /** Whether the leg knows this item as a line of another one. */
  isLine(id: unknown): boolean {
    return typeof id === 'string' && this.#lines.has(id);
  }

  /** The leg is told by somebody else that this item is no more. */
  forget(id: string): void {
    this.#told.delete(id);
    this.#lines.delete(id);
  }

  /** Takes an item away that the leg has made itself. */
  drop(id: string): void {
    this.#remove(id);
  }

  /** What the leg calls an item. */
  nameOf(id: string): string {
    return this.#told.get(id)?.alias ?? id;
  }

  /** What an item of the leg is called by all others. */
  idOf(name: string): string {
    return this.#names.get(name) ?? name;
  }

  get hasNames(): boolean {
    return this.#names.size > 0;
  }

  /**
   * Tells what is not told yet, or has changed.
   * @param bySound whether what is not known in words is told in sound
   */
  sync(entries: readonly Entry[], bySound: boolean): void {
    if (this.#ports.anchor !== null && !this.#told.has(anchorId) && entries.length > 0) {
      const content = [{ type: 'input_text', text: this.#ports.anchor }];
      this.#put({ id: anchorId, type: 'message', role: 'system', content }, 1, undefined);
    }
    for (const id of [...this.#told.keys()]) {
      if (!isOwn(id) && !entries.some((entry) => entry.id === id)) this.#remove(id);
    }
    if (this.#ports.isLabelled) this.#label(entries);
    const single = this.#ports.isLabelled ? entries.filter((entry) => !isLine(entry, entries)) : entries;
    for (const [at, entry] of single.entries()) this.#tell(entry, single.slice(0, at), bySound);
  }

  /** Whether nothing would be told that is not. */
  isAbreast(entries: readonly Entry[]): boolean {
    const known = entries.filter((entry) => !(this.#ports.isLabelled && isLine(entry, entries)));
    const isTold = (entry: Entry) => this.#told.get(entry.id)?.version === entry.version || itemOf(entry) === null;
    const gone = [...this.#told.keys()].some((id) => !isOwn(id) && !entries.some((entry) => entry.id === id));
    const label = this.#ports.isLabelled ? versionOf(entries) === (this.#told.get(historyId)?.version ?? 0) : true;
    return this.isSettled && known.every(isTold) && !gone && label;
  }

  /** Tells one of these items anew, in its place. */
  retell(id: string, entries: readonly Entry[]): void {
    const at = entries.findIndex((one) => one.id === id);
    if (this.#lines.has(id)) this.#label(entries.filter((one) => this.#lines.has(one.id)));
    else if (at >= 0) this.#tell(entries[at] as Entry, entries.slice(0, at), false, true);
  }

  #tell(entry: Entry, before: readonly Entry[], bySound: boolean, isInside = false): void {
    const told = this.#told.get(entry.id);
    if (told?.version === entry.version) return;
    const isSilent = entry.role === 'user' && isWordless(entry);
    const item = isSilent && bySound ? this.#inSound(entry) : itemOf(entry);
    if (item === null && told === undefined) {
      if (isSilent && bySound) this.lost++;
      return;
    }
    if (told) this.#remove(entry.id);
    if (item === null) return;
    const isLast = !isInside && told === undefined;
    const previous = before.findLast(({ id }) => isInside || this.#told.has(id));
    this.#put(item, entry.version, isLast ? undefined : previous ? this.nameOf(previous.id) : root);
  }

  #inSound(entry: Entry): JsonObject | null {
    const audio = this.#ports.soundOf(entry.id);
    if (audio === null) return null;
    this.sounds.add(entry.id);
    const words = entry.parts.filter((part) => part !== null && part !== '');
    const content = [{ type: 'input_audio', audio }, ...words.map((text) => ({ type: 'input_text', text }))];
    return { id: entry.id, type: 'message', role: 'user', content };
  }

  /** What was said, as one item of the user's: a line in it is nobody's but who is named. */
  #label(entries: readonly Entry[]): void {
    const lines = entries.filter((entry) => isLine(entry, entries)).flatMap(lineOf);
    const version = versionOf(entries);
    const told = this.#told.get(historyId);
    if (told?.version === version) return;
    if (told) this.#remove(historyId);
    for (const { id } of entries.filter((entry) => isLine(entry, entries))) this.#lines.add(id);
    if (lines.length === 0) return;
    const last = entries.findLast((entry) => isLine(entry, entries));
    if (last) this.#names.set(historyId, last.id);
    const text = [labelled, ...lines.map((line) => JSON.stringify(line))].join('\n');
    const item = { id: historyId, type: 'message', role: 'user', content: [{ type: 'input_text', text }] };
    this.#put(item, version, told ? root : undefined);
  }

  #put(item: JsonObject, version: number, previous: string | undefined): void {
    const id = String(item.id);
    this.#told.set(id, { version, alias: null });
    this.#send({ type: family.up.item, ...(previous !== undefined && { previous_item_id: previous }), item }, id, item);
  }

  #remove(id: string): void {
    const name = this.nameOf(id);
    this.#told.delete(id);
    this.#names.delete(name);
    this.#goings.add(name);
    this.#send({ type: family.up.remove, item_id: name }, id, null);
  }

  #send(body: JsonObject, id: string, item: JsonObject | null): void {
    const eventId = `${this.#prefix}${++this.#events}`;
    if (item !== null) this.#coming.set(eventId, { id, item: body });
    this.#ports.send({ ...body, event_id: eventId });
  }

  /** Keeps what comes of it from everybody. */
  readonly step: Step = (event) => {
    if (event.body === null) return event;
    const isOurs = this.#isOurs(event, event.body);
    if (isOurs && this.isSettled) this.#ports.settled();
    return isOurs ? null : event;
  };

  #isOurs({ type }: RealtimeEvent, body: JsonObject): boolean {
    if (type === family.down.error) return this.#refused(objectOf(body.error));
    if (type === family.down.deleted) return this.#goings.delete(String(body.item_id));
    const { id } = objectOf(body.item);
    if (typeof id !== 'string' || !ofItems.has(type)) return false;
    if (!this.#told.has(id) && !this.#names.has(id)) return type !== family.down.itemEnded && this.#named(id);
    this.#arrived(this.#told.has(id) ? id : this.idOf(id));
    return true;
  }

  #arrived(id: string): void {
    for (const [eventId, one] of this.#coming) if (one.id === id) this.#coming.delete(eventId);
  }

  /** Upstream has named an item that it did not want to have the name of. */
  #named(name: string): boolean {
    const id = this.#nameless.shift();
    const told = id === undefined ? undefined : this.#told.get(id);
    if (id === undefined || told === undefined) return false;
    told.alias = name;
    this.#names.set(name, id);
    this.#arrived(id);
    return true;
  }

  #refused({ event_id: eventId, code, param }: JsonObject): boolean {
    if (typeof eventId !== 'string' || !eventId.startsWith(this.#prefix)) return false;
    const refused = this.#coming.get(eventId);
    this.#coming.delete(eventId);
    if (refused === undefined) {
      // Of what is taken away nothing is known, and of an item that upstream did not want to name either, no more will come.
      this.#goings.clear();
      if (this.#nameless.shift() !== undefined) this.lost++;
      return true;
    }
    const { id, item } = refused;
    if (item !== null && code === 'invalid_value' && aboutId.test(String(param))) {
      const { id: _, ...rest } = objectOf(item.item);
      this.#nameless.push(id);
      this.#send({ ...item, item: rest }, id, null);
    } else if (this.#told.delete(id) && !isOwn(id)) this.lost++;
    return true;
  }
}

const labelled = 'What was said so far, a line for each turn. Go on from there:';
const ofItems: ReadonlySet<string> = new Set([...family.down.itemAdded, family.down.itemEnded]);

function isOwn(id: string): boolean {
  return id === anchorId || id === historyId;
}

/** All but what the server says, and calls that wait for their output. */
function isLine({ kind, role, callId }: Entry, entries: readonly Entry[]): boolean {
  if (kind === 'message') return role !== 'system';
  return (
    kind !== 'function_call' || entries.some((one) => one.kind === 'function_call_output' && one.callId === callId)
  );
}

function lineOf(entry: Entry): JsonObject[] {
  const { kind, role, name, parts } = entry;
  const [text = ''] = parts;
  if (kind === 'function_call') return [{ role: 'assistant', called: name, arguments: text }];
  if (kind === 'function_call_output') return [{ role: 'tool', output: text }];
  const words = heard(entry);
  return words.length === 0 ? [] : [{ role, text: words.join(' ') }];
}

function versionOf(entries: readonly Entry[]): number {
  const lines = entries.filter((entry) => isLine(entry, entries));
  return lines.reduce((sum, { version }) => (Math.imul(sum, 31) + version) >>> 0, lines.length);
}
