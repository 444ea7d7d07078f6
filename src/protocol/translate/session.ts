/**
 * The session object and the body of response.create in both dialects.
 * Source: the session objects of the Realtime API reference (GA) and of the Azure OpenAI preview reference.
 */

import type { Json, JsonObject } from '../event.js';
import { type Field, field, flatten, isObject, nest, omit, valueAt, withPath } from './tables.js';

/** What kind of session a socket carries; it cannot change while the socket is open. */
export type SessionKind = 'realtime' | 'transcription';

const formats = [
  ['pcm16', { type: 'audio/pcm', rate: 24000 }],
  ['g711_ulaw', { type: 'audio/pcmu' }],
  ['g711_alaw', { type: 'audio/pcma' }],
] as const;

function formatToGa(value: Json): Json {
  const row = formats.find(([preview]) => preview === value);
  return row ? { ...row[1] } : value;
}

function formatToPreview(value: Json): Json {
  // Preview names no rate; one it does not mean stays as it is, so that the upstream objects instead of mishearing.
  if (!isObject(value) || (value.rate !== undefined && value.rate !== 24000)) return value;
  return formats.find(([, ga]) => ga.type === value.type)?.[0] ?? value;
}

// GA refuses both modalities at once; its audio always comes with a transcript, which is what preview means by both.
function modalitiesToGa(value: Json): Json {
  return Array.isArray(value) && value.includes('audio') ? ['audio'] : value;
}

function modalitiesToPreview(value: Json): Json {
  return Array.isArray(value) && value.includes('audio') ? ['text', 'audio'] : value;
}

function voiceToPreview(value: Json): Json {
  return isObject(value) && typeof value.id === 'string' ? value.id : value;
}

function turnDetectionToGa(value: Json): Json {
  return isObject(value) && value.type === 'none' ? null : value;
}

function toolsToGa(value: Json): Json {
  return Array.isArray(value) ? value.map(unwrapFunction) : value;
}

function toolsToPreview(value: Json): Json {
  return Array.isArray(value) ? value.filter((tool) => !isObject(tool) || tool.type !== 'mcp') : value;
}

function toolChoiceToPreview(value: Json): Json {
  return isObject(value) && value.type === 'mcp' ? 'auto' : value;
}

/** Chat-completions style `{type, function: {name}}`, which the Azure preview reference shows, as `{type, name}`. */
function unwrapFunction(value: Json): Json {
  if (!isObject(value) || value.type !== 'function' || !isObject(value.function)) return value;
  return { ...omit(value, 'function'), ...value.function, type: 'function' };
}

function dropping(...keys: readonly string[]): (value: Json) => Json {
  return (value) => (isObject(value) ? omit(value, ...keys) : value);
}

const responseRows = [
  field('modalities', 'output_modalities', modalitiesToGa, modalitiesToPreview),
  field('voice', 'audio.output.voice', undefined, voiceToPreview),
  field('output_audio_format', 'audio.output.format', formatToGa, formatToPreview),
] as const;

const requestRows = [
  ...responseRows,
  field('tools', 'tools', toolsToGa, toolsToPreview),
  field('tool_choice', 'tool_choice', unwrapFunction, toolChoiceToPreview),
  field('max_response_output_tokens', 'max_output_tokens'),
] as const;

/** Fields of the response object that services send. */
export const responseFields: readonly Field[] = responseRows;

/** Fields of `response` in response.create. */
export const responseRequestFields: readonly Field[] = requestRows;

/** Fields of `session`, in updates and in what services send. */
export const sessionFields: readonly Field[] = [
  ...requestRows,
  field('speed', 'audio.output.speed'),
  field('input_audio_format', 'audio.input.format', formatToGa, formatToPreview),
  field(
    'input_audio_transcription',
    'audio.input.transcription',
    undefined,
    dropping('languages', 'keywords', 'delay'),
  ),
  field('input_audio_noise_reduction', 'audio.input.noise_reduction', undefined, dropping('strength')),
  field('turn_detection', 'audio.input.turn_detection', turnDetectionToGa, dropping('idle_timeout_ms')),
];

const gaOnly = ['type', 'truncation', 'reasoning', 'parallel_tool_calls'] as const;
const previewOnly = ['temperature', 'client_secret'] as const;

/** Fields that only the first Azure api-version (2024-10-01-preview) took in response.create. */
export const firstVersionOnly = ['commit', 'cancel_previous', 'append_input_items', 'input_items'] as const;

const notOfGa: readonly string[] = [
  ...sessionFields.flatMap(({ preview, ga }) => (preview === ga.join('.') ? [] : [preview])),
  ...previewOnly,
  ...firstVersionOnly,
];

/**
 * A GA client's session or response without what GA does not have and preview does. Policy judged these names as unknown
 * fields; under them the client would say to upstream what it may not.
 */
export function withoutForeign(config: JsonObject): JsonObject {
  return omit(config, ...notOfGa);
}

/** The temperature a preview service reports when nobody set one. */
export const defaultTemperature = 0.8;

/** `session` of a preview update as GA; the model is fixed by the URL and not part of a GA update. */
export function updateToGa(session: JsonObject, kind: SessionKind): JsonObject {
  const dropped = kind === 'transcription' ? [...previewOnly, 'model', 'modalities'] : [...previewOnly, 'model'];
  return { type: kind, ...omit(nest(omit(session, ...dropped), sessionFields), 'type') };
}

/** `session` of a GA update as preview. Fields without a preview form are gone: see unsupported.ts for who objects. */
export function updateToPreview(session: JsonObject): JsonObject {
  return flatten(omit(withoutForeign(session), ...gaOnly, 'model', 'prompt'), sessionFields);
}

/** `session` of a GA service as a preview client expects it. */
export function sessionToPreview(session: JsonObject, temperature: number): JsonObject {
  const flat = flatten(omit(session, ...gaOnly), sessionFields);
  return session.type === 'transcription'
    ? { ...flat, client_secret: null }
    : { ...flat, temperature, client_secret: null };
}

const commonDefaults: readonly (readonly [path: string, value: Json])[] = [
  ['include', null],
  ['audio.input.format', { type: 'audio/pcm', rate: 24000 }],
  ['audio.input.transcription', null],
  ['audio.input.noise_reduction', null],
];

/** What a GA session always shows and a preview one may leave out. Instructions and turn detection are never guessed. */
const defaults: Record<SessionKind, readonly (readonly [path: string, value: Json])[]> = {
  transcription: [['object', 'realtime.transcription_session'], ...commonDefaults],
  realtime: [
    ['object', 'realtime.session'],
    ['output_modalities', ['audio']],
    ['tools', []],
    ['tool_choice', 'auto'],
    ['max_output_tokens', 'inf'],
    ['tracing', null],
    ['truncation', 'auto'],
    ['prompt', null],
    ...commonDefaults,
    ['audio.output.format', { type: 'audio/pcm', rate: 24000 }],
    ['audio.output.voice', 'alloy'],
    ['audio.output.speed', 1],
  ],
};

/** `session` of a preview service as GA, complete with the defaults GA services spell out. */
export function sessionToGa(session: JsonObject, kind: SessionKind): JsonObject {
  let nested: JsonObject = { type: kind, ...omit(nest(omit(session, ...previewOnly), sessionFields), 'type') };
  if (kind === 'transcription') nested = omit(nested, 'output_modalities');
  for (const [path, value] of defaults[kind]) {
    const keys = path.split('.');
    if (valueAt(nested, keys) === undefined) nested = withPath(nested, keys, structuredClone(value));
  }
  const turnDetection = valueAt(nested, ['audio', 'input', 'turn_detection']);
  if (kind === 'transcription' || !isObject(turnDetection) || turnDetection.type !== 'server_vad') return nested;
  return withPath(nested, ['audio', 'input', 'turn_detection'], { idle_timeout_ms: null, ...turnDetection });
}
