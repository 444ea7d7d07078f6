/**
 * Compares the reader with the reference on generated and damaged messages until the time is up.
 * `npm run fuzz -- [seconds] [seed]`; exits 1 with the smallest message on which the two differ.
 */

import { Buffer } from 'node:buffer';
import { createReader, spliceType } from '../src/protocol/read.js';
import { disagreement, type Rules } from './protocol/reference.js';
import { chance } from './support/dice.js';

const seconds = Number(process.argv[2] ?? 60);
const seed = Number(process.argv[3] ?? Date.now() % 2 ** 32) >>> 0;

// Most messages end in a thrown refusal, and nobody reads its stack.
Error.stackTraceLimit = 0;

const { random, pick } = chance(seed || 1);

const usual = { slowBytes: 262_144, eventBytes: 1_048_576 };
const narrow = { slowBytes: 120, eventBytes: 240, tree: { depth: 4, keys: 9, elements: 6 } };
const upTree = { depth: 16, keys: 512, elements: 4096 };
const downTree = { depth: 32, keys: 20_000, elements: 100_000 };
const allRules: Rules[] = [
  { direction: 'up', dialect: 'ga', ...usual, tree: upTree },
  { direction: 'up', dialect: 'preview', ...narrow },
  { direction: 'down', dialect: 'ga', ...usual, tree: downTree, halves: true },
  { direction: 'down', dialect: 'preview', ...usual, tree: downTree },
  { direction: 'down', dialect: 'ga', ...narrow, halves: true },
];
const sides = allRules.map((rules) => ({
  rules,
  read: createReader({ ...rules, ...(rules.halves && { onHalf: () => undefined }) }),
}));

const types = [
  'input_audio_buffer.append',
  'input_audio_buffer.append',
  'response.output_audio.delta',
  'response.output_audio.delta',
  'response.audio.delta',
  'response.output_text.delta',
  'response.audio_transcript.delta',
  'conversation.item.input_audio_transcription.delta',
  'session.update',
  'response.create',
  'toString',
  '__proto__',
];
const names = [
  'type',
  'audio',
  'delta',
  'event_id',
  'response_id',
  'item_id',
  'output_index',
  'content_index',
  'obfuscation',
];
const oddNames = [
  'Type',
  'item',
  'session',
  'x',
  '',
  'typ\\u0065',
  '\\u0074ype',
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'type\\u0000',
  'a\x7f',
  'ty\xc2\x80',
  'tуpe',
  'typ',
  'types',
  '0',
  '\\ud800',
  'aud\\u0069o',
];
const tokens = [
  ...[
    '{',
    '}',
    '[',
    ']',
    '"',
    ':',
    ',',
    '\\',
    '\\"',
    '\\\\',
    '\\u0022',
    '\\u005c',
    '\\/',
    '\\u0000',
    '\\x',
    '\\u12',
    '=',
    '==',
    '-',
    '_',
    '+',
    '/',
  ],
  ...[
    ' ',
    '\t',
    '\n',
    '\r',
    '\f',
    '\v',
    '\0',
    '\x7f',
    '\x1b',
    '\xa0',
    '\xc2\xa0',
    '\xe2\x80\x8b',
    '\xe2\x80\xa8',
    '\xef\xbb\xbf',
    '\xff',
    '\xfe',
  ],
  ...[
    '\xc1\xb4',
    '\xc0\x80',
    '\xe0\x80\xaf',
    '\xed\xa0\x80',
    '\xed\xbf\xbf',
    '\xf0\x9f\x98\x80',
    '\xf4\x90\x80\x80',
    '\xf8\x88\x80\x80\x80',
    '\x80',
    '\xc3\xa9',
    '\xd1\x83',
  ],
  ...[
    '\\ud83d\\ude00',
    '\\ud83d',
    '\\ude00',
    '\\uDBFF\\uDFFF',
    '\\\\ud800',
    'null',
    'true',
    'false',
    'NaN',
    'Infinity',
    '01',
    '-0',
    '1e999',
    '-1e999',
    '1e-999',
  ],
  ...[
    '0',
    '9999',
    '10000',
    '1.0',
    '1e0',
    '+1',
    '-1',
    '.5',
    '5.',
    '1e',
    '123456789012345678901',
    '{}',
    '[]',
    '""',
    '//',
    '/**/',
    "'",
    '[[[[[[',
    '{"a":',
    ']]]]]]',
    '}}}',
  ],
  ...[
    '"type":"session.update"',
    ',"type":"input_audio_buffer.append"',
    '"audio":"QUJD"',
    ',"delta":"QUJD"',
    '"a":1',
    ',"a":2',
    '"__proto__":{}',
    'rly_',
    '"rly_1"',
  ],
];

/** Mostly nothing; sometimes blanks, rarely what only looks like one. */
function blank(): string {
  const roll = random(40);
  return roll > 4
    ? ''
    : roll > 0
      ? pick([' ', '\n', '\t', '\r', '  ', ' \r\n\t'])
      : pick(['\f', '\v', '\xa0', '\0', '\xef\xbb\xbf', '\xe2\x80\x8b']);
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
function base64(): string {
  const large = random(3000) === 0;
  const groups = large ? 16_380 + random(10) : random(9);
  let text = '';
  if (large) text = 'QUJD'.repeat(groups);
  else for (let i = 0; i < groups * 4; i++) text += alphabet[random(64)];
  if (groups > 0) text = pick([text, text, `${text.slice(0, -1)}=`, `${text.slice(0, -2)}==`]);
  return random(12) > 0 ? text : damage(text);
}

function scalar(): string {
  switch (random(8)) {
    case 0:
      return String(random(12_000));
    case 1:
      return pick(['null', 'true', 'false', '-0', '1.5', '1e3', '01', '1e999', '-12', '0', '1E+2']);
    case 2:
      return `"${base64()}"`;
    case 3:
      return `"${pick(tokens)}"`;
    default:
      return `"${pick(['event_1', 'item_A', 'resp_1', 'rly_1', 'a:b.c-d', 'x y', '', 'i'.repeat(126 + random(5))])}"`;
  }
}

function value(depth: number): string {
  if (depth === 0 || random(3) > 0) return scalar();
  const count = random(4);
  const parts: string[] = [];
  const isObject = random(2) === 0;
  for (let i = 0; i < count; i++) parts.push(blank() + (isObject ? member(depth - 1) : value(depth - 1)) + blank());
  return isObject ? `{${parts.join(',')}}` : `[${parts.join(',')}]`;
}

function member(depth: number): string {
  const name = random(5) === 0 ? pick(oddNames) : pick(names);
  return `"${name}"${blank()}:${blank()}${value(depth)}`;
}

/** Words as a service writes them: mostly plain, sometimes escaped, sometimes beyond ASCII. */
function words(): string {
  const some = pick([
    ' and',
    ' so',
    '',
    ' caf\u00c3\u00a9',
    ' \u00e4\u00bd\u00a0',
    ' "',
    '\\n',
    ' /',
    ' \u007f',
    '\u00ff',
    ' \\"type\\":',
  ]);
  return random(8) > 0 ? `"${some}${pick(['', ' then', '.', '\\u0041'])}"` : scalar();
}

const heard = 'conversation.item.input_audio_transcription.delta';

/** What live upstreams pad words with, and what only looks like it. */
function padding(): string {
  if (random(8) === 0) return scalar();
  return `"${'aB3dE5fG7hI9jK1l'.slice(random(17))}${random(12) === 0 ? pick(['-', '_', ' ', '\\u0041', '\u00e9']) : ''}"`;
}

/** An event that is right except where chance has it otherwise. */
function event(rules: Rules): string {
  const up = rules.direction === 'up';
  const isWords = !up && random(3) === 0;
  const right = up
    ? 'input_audio_buffer.append'
    : rules.dialect === 'ga'
      ? isWords
        ? pick(['response.output_text.delta', 'response.output_audio_transcript.delta', heard])
        : 'response.output_audio.delta'
      : isWords
        ? pick(['response.text.delta', 'response.audio_transcript.delta', heard])
        : 'response.audio.delta';
  const parts = [`"type"${blank()}:${blank()}"${random(6) > 0 ? right : pick(types)}"`];
  parts.push(`"${up ? 'audio' : 'delta'}"${blank()}:${blank()}${isWords ? words() : `"${base64()}"`}`);
  if (random(2) === 0) parts.push(`"event_id":${random(6) > 0 ? `"event_${random(99)}"` : value(1)}`);
  if (!up && random(12) > 0) {
    parts.push(`"item_id":${random(9) > 0 ? `"item_${random(99)}"` : scalar()}`);
    if (right !== heard || random(4) === 0) parts.push(`"response_id":"resp_${random(99)}"`);
  }
  if (!up && random(3) > 0) parts.push('"content_index":0');
  if (!up && random(right === heard ? 9 : 2) === 0)
    parts.push(`"output_index":${random(5) > 0 ? random(20) : scalar()}`);
  if (random(isWords ? 2 : 20) === 0) parts.push(`"obfuscation"${blank()}:${blank()}${padding()}`);
  if (random(5) === 0) parts.push(member(3));
  for (let i = random(3); i > 0; i--) {
    const [from, to] = [random(parts.length), random(parts.length)];
    const [a, b] = [parts[from] as string, parts[to] as string];
    parts[from] = b;
    parts[to] = a;
  }
  if (random(25) === 0) parts.push(pick(parts));
  return `${blank()}{${parts.map((part) => blank() + part + blank()).join(',')}}${blank()}`;
}

/** One change to a message, which is held with one character a byte. */
function damage(text: string): string {
  const at = random(text.length + 1);
  const end = Math.min(text.length, at + 1 + random(8));
  switch (random(11)) {
    case 0:
      return text.slice(0, at) + String.fromCharCode(random(256)) + text.slice(at + 1);
    case 1:
      return (
        text.slice(0, at) + String.fromCharCode((text.charCodeAt(at) || 0) ^ (1 << random(8))) + text.slice(at + 1)
      );
    case 2:
      return text.slice(0, at) + text.slice(end);
    case 3:
      return text.slice(0, end) + text.slice(at);
    case 4:
      return text.slice(0, at);
    case 5: {
      const hex = (text.charCodeAt(at) || 0).toString(16).padStart(4, '0');
      return `${text.slice(0, at)}\\u${random(2) ? hex : hex.toUpperCase()}${text.slice(at + 1)}`;
    }
    case 6: {
      const other = random(text.length + 1);
      return text.slice(0, at) + text.slice(other, other + 12) + text.slice(at);
    }
    case 7:
      return random(4) > 0 ? `{"a":${text}}` : `${text}${text}`;
    case 8:
      return text.slice(0, at) + pick(tokens) + text.slice(end);
    default:
      return text.slice(0, at) + pick(tokens) + text.slice(at);
  }
}

function message(rules: Rules): string {
  let text = random(5) > 0 ? event(rules) : `{${member(5)},${member(4)}}`;
  for (let i = Math.max(0, random(5) - 2); i > 0; i--) text = damage(text);
  return text;
}

type Side = (typeof sides)[number];
const counts = { fast: 0, slow: 0, reject: 0 };

/** What is wrong with how this message is read or renamed, or null. */
function faultOf(text: string, { rules, read }: Side): string | null {
  const bytes = Buffer.from(text, 'latin1');
  const { verdict, fault, event } = disagreement(bytes, read, rules);
  counts[verdict]++;
  if (fault !== null || event === null || event.raw === null) return fault;
  const to = pick(['response.audio.delta', 'response.output_audio.delta', 'input_audio_buffer.append', 'a']);
  const renamed = spliceType({ ...event, raw: Buffer.from(bytes) }, to);
  const sent = renamed.raw?.toString('latin1') ?? '';
  const isExact = renamed.type === to && sent.length === text.length - event.type.length + to.length;
  const isSame = isExact && JSON.stringify(JSON.parse(sent)) === JSON.stringify({ ...JSON.parse(text), type: to });
  return isSame ? null : `renamed to ${to}: ${sent}`;
}

function shrink(text: string, side: Side): string {
  let smallest = text;
  for (let size = smallest.length >> 1; size > 0; size = size >> 1) {
    for (let at = 0; at + size <= smallest.length; ) {
      const shorter = smallest.slice(0, at) + smallest.slice(at + size);
      if (faultOf(shorter, side) !== null) smallest = shorter;
      else at += size;
    }
  }
  return smallest;
}

console.log(`fuzz: seed ${seed}, ${seconds} s`);
const start = performance.now();
const deadline = start + seconds * 1000;
let inputs = 0;
while (inputs % 1024 !== 0 || performance.now() < deadline) {
  inputs++;
  const side = pick(sides);
  const text = message(side.rules);
  if (faultOf(text, side) === null) continue;
  const smallest = shrink(text, side);
  console.error(`fuzz: input ${inputs} of seed ${seed}, ${side.rules.direction} ${side.rules.dialect}`);
  console.error(`fuzz: ${faultOf(smallest, side)}`);
  console.error(`fuzz: ${JSON.stringify(smallest)} (one character a byte)`);
  process.exit(1);
}
const rate = Math.round(inputs / ((performance.now() - start) / 1000));
console.log(`fuzz: ${inputs} inputs, ${rate} a second, no difference: ${JSON.stringify(counts)}`);
