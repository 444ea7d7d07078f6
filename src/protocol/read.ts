/**
 * From the bytes of one message to the one event it is, or a refusal: the scan where it can, else a strict parse.
 * What either accepts has one meaning only, so what is judged afterwards is what the other side will read.
 *
 * `body` comes from `JSON.parse` and is made of ordinary objects, in which no own key is `__proto__`, `constructor` or
 * `prototype`. Reading a field of the protocol by its name is safe: no such name is a property of `Object.prototype`.
 * A look-up by text that a peer chose (`table[body.type]`) must go through a Map or `Object.hasOwn`.
 */

import { Buffer } from 'node:buffer';
import { RelayError } from '../errors.js';
import { audioLength } from './audio.js';
import type { Dialect, Direction } from './catalogue.js';
import { eventOf, isObject, type JsonObject, type RealtimeEvent } from './event.js';
import { type JsonRules, readJson } from './json.js';
import { type SlowReason, scan, scanTable, typeValueAt } from './scan.js';

/**
 * Reads one whole message. Throws `bad_event` when it is no JSON object; bearable, when it is one that could be read in
 * two ways or is too deep or too wide, and `too_big` when it is over the limit for its kind. A missing `type`, or one that is not a string, is the empty string: policy refuses it.
 * `framed` is true for a message that still stands in its frame.
 */
export type Reader = (message: Buffer, framed?: boolean) => RealtimeEvent;

const forbidden = new Set(['constructor', 'prototype']);
const rulesOf: Record<Direction, JsonRules> = {
  up: { depth: 16, keys: 512, elements: 4096, forbidden },
  down: { depth: 32, keys: 20_000, elements: 100_000, forbidden },
};
// Made once: every session has two readers.
const withHalves: Record<Direction, JsonRules> = {
  up: { ...rulesOf.up, allows: 'halves' },
  down: { ...rulesOf.down, allows: 'halves' },
};

/** How large the tree of a parsed message may be. */
type TreeLimits = Required<Pick<JsonRules, 'depth' | 'keys' | 'elements'>>;

interface ReaderOptions {
  readonly direction: Direction;
  /** What the sender of these messages speaks. */
  readonly dialect: Dialect;
  /** Bytes of a message that must be parsed, its audio not counted. */
  readonly slowBytes: number;
  /** Bytes of any message. */
  readonly eventBytes: number;
  /** Default: 16 levels, 512 keys and 4096 elements up; 32, 20,000 and 100,000 down. */
  readonly tree?: TreeLimits;
  /** Told why each message that is not on the fast path is not. */
  readonly onSlow?: (reason: SlowReason) => void;
  /** Halves of surrogate pairs are passed on, as upstream sends them when it cuts its words anywhere; told of each message. */
  readonly onHalf?: () => void;
}

/** Makes the function that reads every message of one direction of a session. */
export function createReader(options: ReaderOptions): Reader {
  const { direction, dialect, slowBytes, eventBytes, onSlow, onHalf } = options;
  const table = scanTable(direction, dialect);
  const usual = (onHalf ? withHalves : rulesOf)[direction];
  const rules = options.tree ? { ...usual, ...options.tree } : usual;
  return (message, framed = false) => {
    if (message.length > eventBytes) throw tooBig(message.length, eventBytes, 'events');
    const judged = scan(message, table, framed);
    if (typeof judged !== 'string') return judged;
    onSlow?.(judged);
    // Speech is large by nature, and some honest clients escape `/` in base64; all else that large is an attack.
    if (message.length > slowBytes && message.length - audioLength(message) > slowBytes) {
      throw tooBig(message.length, slowBytes, 'all that is not audio');
    }
    return eventOf(parse(message, rules, onHalf));
  };
}

/**
 * Renames an event. In a raw one the new name is spliced into the bytes without a parse; a shorter name reuses the
 * buffer, so the given event must not be used any more.
 */
export function spliceType(event: RealtimeEvent, to: string): RealtimeEvent {
  const { raw, type, audioBytes, itemId, responseId } = event;
  if (raw === null) return eventOf({ ...event.body, type: to });
  const at = typeValueAt(raw);
  const shift = type.length - to.length;
  let renamed: Buffer;
  if (shift >= 0) {
    raw.copyWithin(shift, 0, at);
    raw.write(to, at + shift, 'latin1');
    renamed = shift === 0 ? raw : raw.subarray(shift);
  } else {
    renamed = Buffer.allocUnsafe(raw.length - shift);
    raw.copy(renamed, 0, 0, at);
    renamed.write(to, at, 'latin1');
    raw.copy(renamed, at + to.length, at + type.length);
  }
  return { type: to, raw: renamed, body: null, audioBytes, itemId, responseId, framed: false };
}

function parse(message: Buffer, rules: JsonRules, onHalf: (() => void) | undefined): JsonObject {
  const reading = readJson(message, rules);
  if (reading.fault !== null) throw reading.isObject ? refuse(reading.fault) : noObject(reading.fault);
  if (!isObject(reading.value)) throw noObject('is not a JSON object');
  if (reading.halves > 0) onHalf?.();
  return reading.value;
}

function noObject(fault: string): RelayError {
  return new RelayError('bad_event', `The event ${fault}.`);
}

function refuse(fault: string): RelayError {
  return new RelayError('bad_event', `The event ${fault}.`, { isBearable: true });
}

function tooBig(bytes: number, limit: number, what: string): RelayError {
  const message = `The event has ${bytes} bytes; the limit for ${what} is ${limit}.`;
  return new RelayError('too_big', message, { isBearable: true });
}
