/** Recordings of live sessions: reading them, filling them with ids, and holding other events against them. */

import { readFileSync } from 'node:fs';

export interface Event {
  readonly type: string;
  readonly [key: string]: unknown;
}

interface Frame {
  readonly from: 'service' | 'client';
  readonly event: Event;
}

export interface Skeleton {
  readonly name: string;
  readonly frames: readonly Frame[];
}

export const skeletonNames = [
  'azure-typed-turn',
  'azure-spoken-turn',
  'azure-call-round',
  'azure-seeded',
  'azure-sideband-text',
  'openai-two-items',
] as const;

export function skeletonOf(name: (typeof skeletonNames)[number]): Skeleton {
  const { frames } = JSON.parse(readFileSync(new URL(`./live/${name}.json`, import.meta.url), 'utf8')) as {
    frames: ['<' | '>', Event][];
  };
  return { name, frames: frames.map(([way, event]) => ({ from: way === '<' ? 'service' : 'client', event })) };
}

/** What each placeholder stands for, and how long the ids of live services are. */
const forms: Readonly<Record<string, RegExp>> = {
  item: /^item_[0-9A-Za-z]{21}$/,
  resp: /^resp_[0-9A-Za-z]{21}$/,
  conv: /^conv_[0-9A-Za-z]{21}$/,
  sess: /^sess_[0-9A-Za-z]{21}$/,
  call: /^call_[0-9A-Za-z]{16}$/,
};
const placeholder = /^\$(item|resp|conv|sess|call)(\d+)$/;

/** Words, which nobody else says alike. */
const freeText = new Set([
  'delta',
  'obfuscation',
  'text',
  'transcript',
  'arguments',
  'output',
  'instructions',
  'audio',
]);

/** Says how an event differs from the recorded one in its fields and their kinds; empty when it does not. */
export function differences(expected: unknown, actual: unknown, bound: Map<string, string>, path = ''): string[] {
  if (typeof expected === 'string') return stringFaults(expected, actual, bound, path);
  if (typeof expected === 'number') {
    // What a session is set to is compared; what was counted depends on the words.
    const isSetting = path.startsWith('.session.');
    return (isSetting ? actual === expected : typeof actual === 'number') ? [] : [`${path}: ${actual}`];
  }
  if (expected === null || typeof expected === 'boolean') return actual === expected ? [] : [`${path}: ${actual}`];
  if (Array.isArray(expected)) {
    if (!Array.isArray(actual) || actual.length !== expected.length) return [`${path}: ${JSON.stringify(actual)}`];
    return expected.flatMap((one, index) => differences(one, actual[index], bound, `${path}[${index}]`));
  }
  if (typeof actual !== 'object' || actual === null || Array.isArray(actual)) return [`${path}: ${actual}`];
  const [wanted, given] = [Object.keys(expected as object), Object.keys(actual).filter((key) => key !== 'event_id')];
  const missing = wanted.filter((key) => !given.includes(key)).map((key) => `${path}.${key} is missing`);
  const foreign = given.filter((key) => !wanted.includes(key)).map((key) => `${path}.${key} is not in the recording`);
  const inner = wanted.filter((key) => given.includes(key));
  return [
    ...missing,
    ...foreign,
    ...inner.flatMap((key) =>
      differences(
        (expected as Record<string, unknown>)[key],
        (actual as Record<string, unknown>)[key],
        bound,
        `${path}.${key}`,
      ),
    ),
  ];
}

function stringFaults(expected: string, actual: unknown, bound: Map<string, string>, path: string): string[] {
  if (expected.startsWith('$now')) {
    const due = Date.now() / 1000 + Number(expected.slice(5));
    return typeof actual === 'number' && Math.abs(actual - due) < 60 ? [] : [`${path}: ${actual}`];
  }
  if (typeof actual !== 'string') return [`${path}: ${JSON.stringify(actual)}`];
  const [, kind] = placeholder.exec(expected) ?? [];
  if (kind) {
    const known = bound.get(expected) ?? actual;
    bound.set(expected, known);
    return forms[kind]?.test(actual) && known === actual ? [] : [`${path}: ${actual} for ${expected}`];
  }
  if (expected.startsWith('$')) return actual === '' ? [`${path} is empty`] : [];
  const key = path.slice(path.lastIndexOf('.') + 1);
  return freeText.has(key) || actual === expected ? [] : [`${path}: ${actual}`];
}

const fills: Readonly<Record<string, string>> = {
  $deployment: 'gpt-realtime',
  $vendor: 'The instructions of the vendor.',
  $transcriber: 'gpt-realtime-whisper',
};

/** A recorded value with ids of the live form in place of placeholders. */
export function filled<T>(value: T): T {
  return JSON.parse(JSON.stringify(value), (_key, one: unknown) => {
    if (typeof one !== 'string' || !one.startsWith('$')) return one;
    if (one.startsWith('$now')) return Math.floor(Date.now() / 1000) + Number(one.slice(5));
    const [, kind = '', number = ''] = placeholder.exec(one) ?? [];
    if (kind === '') return fills[one] ?? one;
    return `${kind}_E3Ud7${number.padStart(kind === 'call' ? 11 : 16, 'aZ')}`;
  }) as T;
}

export const isDelta = ({ type }: Event) => type.endsWith('.delta');
export const isTranscription = ({ type }: Event) => type.includes('input_audio_transcription');
