/** What the emulated model says: as scripted, or something sensible of its own. */
import type { Json, JsonObject } from '../protocol/event.js';
import { type Item, textOf } from './conversation.js';
import { isObject } from './schema.js';
import type { AudioFormat } from './settings.js';
import { bytesPerMs, type Clip, clipOf, type Recording, type Speech } from './speech.js';

/** How one coming response shall turn out. Fields that are left out keep the default behaviour. */
export interface Script {
  /** What the model says, as text or as the transcript of its speech. */
  readonly text?: string;
  /** The model calls a function, or several in one response: after `text` or `speech` where one is given, else at once. */
  readonly functionCall?: ScriptedCall | readonly ScriptedCall[];
  /** The call begins before the words before it have ended, as with newer models, which do so by themselves. */
  readonly overlapping?: boolean;
  /** Speak (true) or write (false), whatever the session's modality is. */
  readonly audio?: boolean;
  /** A bundled recording by name, such as `answer-story`. */
  readonly speech?: string;
  /** The response does not complete: it stops half way, or fails before it says anything. */
  readonly status?: 'incomplete' | 'failed';
  /** With `incomplete`: `max_output_tokens` or `content_filter` (the default). With `failed`: the error code. */
  readonly reason?: string;
  /** A system message that appears in the conversation before the response, as a server would insert one. */
  readonly systemItem?: string;
  /** Any item that appears in the conversation before the response. */
  readonly serverInsertedItem?: JsonObject;
}

interface ScriptedCall {
  readonly name: string;
  /** A JSON text, sent as it is even when it is broken, or a value to serialise. */
  readonly arguments?: Json;
}

/** One output item of a response. */
export type Output =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'audio'; readonly text: string; readonly clip: Clip }
  | { readonly kind: 'call'; readonly name: string; readonly arguments: string };

/** The whole of a response: what comes out, and how it ends. */
export interface Answer {
  readonly outputs: readonly Output[];
  readonly status: 'completed' | 'incomplete' | 'failed';
  readonly reason: string | null;
  readonly overlapping: boolean;
}

/** What the model has to go by. */
export interface Question {
  readonly items: readonly Item[];
  readonly modality: 'audio' | 'text';
  readonly format: AudioFormat;
  readonly tools: readonly JsonObject[];
  readonly toolChoice: Json;
  /** Whether the model is of the second generation. */
  readonly isNewer: boolean;
}

const charactersPerSecond = 15;

/** The answer to what was said last. */
export function answer(question: Question, script: Script, speech: Speech): Answer {
  const status = script.status ?? 'completed';
  const reason =
    script.reason ?? { completed: null, incomplete: 'content_filter', failed: 'rate_limit_exceeded' }[status];
  const overlapping = script.overlapping ?? question.isNewer;
  if (status === 'failed') return { outputs: [], status, reason, overlapping };
  return { outputs: outputsOf(question, script, speech), status, reason, overlapping };
}

/** Speech without end: as much as makes `bytes` of base64 in the deltas, 64 MiB when left out. */
export function flood(bytes: number | undefined, format: AudioFormat, speech: Speech): Answer {
  const recording = recordingFor({ kind: 'nothing', text: '' }, speech);
  const clip = clipOf(recording, format, ((bytes ?? 64 * 1024 * 1024) * 0.75) / bytesPerMs(format) / 1000);
  const outputs: Output[] = [{ kind: 'audio', text: recording.text, clip }];
  return { outputs, status: 'completed', reason: null, overlapping: false };
}

function outputsOf(question: Question, script: Script, speech: Speech): Output[] {
  const given = script.functionCall ?? [];
  const calls = (Array.isArray(given) ? (given as readonly ScriptedCall[]) : [given as ScriptedCall]).map(scriptedCall);
  const isPlain = script.text === undefined && script.speech === undefined;
  if (isPlain && calls.length > 0) return calls;
  const said = whatWasSaid(question.items, speech);
  const call = isPlain ? callOf(question, said) : null;
  if (call) return [call];
  const modality = script.audio === undefined ? question.modality : script.audio ? 'audio' : 'text';
  return [spoken(question, script, said, speech, modality), ...calls];
}

function spoken(question: Question, script: Script, said: Said, speech: Speech, modality: 'audio' | 'text'): Output {
  const recording = (script.speech ? speech.get(script.speech) : undefined) ?? recordingFor(said, speech);
  const own = said.kind === 'speech' || said.kind === 'nothing' || script.speech !== undefined;
  const text = script.text ?? (own ? recording.text : sentenceFor(said));
  if (modality === 'text') return { kind: 'text', text };
  const seconds = text === recording.text ? recording.seconds : Math.max(0.5, text.length / charactersPerSecond);
  return { kind: 'audio', text, clip: clipOf(recording, question.format, seconds) };
}

type Said = { readonly kind: 'text' | 'speech' | 'tool_output' | 'nothing'; readonly text: string };

function whatWasSaid(items: readonly Item[], speech: Speech): Said {
  const last = items.findLast((item) => item.shown.type === 'function_call_output' || item.shown.role === 'user');
  if (!last) return { kind: 'nothing', text: '' };
  if (last.shown.type === 'function_call_output') return { kind: 'tool_output', text: textOf(last.shown) };
  if (last.heard) return { kind: 'speech', text: textHeard(last.heard.bytes, last.heard.format, speech) };
  return { kind: 'text', text: textOf(last.shown) };
}

/** What the emulator understands of speech: the bundled question when the length fits it, else a plausible sentence. */
export function textHeard(bytes: Buffer, format: AudioFormat, speech: Speech): string {
  const seconds = bytes.length / bytesPerMs(format) / 1000;
  const known = [...speech.values()].find(
    ({ name, seconds: length }) => name.startsWith('question-') && Math.abs(seconds - length) < 0.6,
  );
  return known?.text ?? 'Hello, can you hear me?';
}

function sentenceFor(said: Said): string {
  const clipped = said.text.length > 300 ? `${said.text.slice(0, 300)}…` : said.text;
  return said.kind === 'tool_output' ? `The answer is: ${clipped}` : `You said: ${clipped}`;
}

function recordingFor(said: Said, speech: Speech): Recording {
  const wanted = /\bstory\b/i.test(said.text) ? 'answer-story' : 'answer-hello';
  const recording = speech.get(wanted) ?? speech.values().next().value;
  if (!recording) throw new Error('assets/speech/speech.json names no recordings');
  return recording;
}

function callOf({ tools, toolChoice }: Question, said: Said): Output | null {
  // A tool's output is answered in words even when a call is required: nobody could end such a loop.
  if (toolChoice === 'none' || said.kind === 'tool_output') return null;
  const functions = tools.filter((tool) => tool.type === 'function');
  const tool = isObject(toolChoice)
    ? functions.find(({ name }) => name === toolChoice.name)
    : (functions.find(({ name }) => names(said.text, String(name))) ??
      (toolChoice === 'required' ? functions[0] : undefined));
  if (!tool) return null;
  return { kind: 'call', name: String(tool.name), arguments: argumentsFor(tool, said.text) };
}

/** Whether the text has the tool's name in it, as a word or, for `get_weather`, as words. */
function names(text: string, tool: string): boolean {
  const plain = (words: string) => ` ${words.toLowerCase().replaceAll(/[^a-z0-9]+/g, ' ')} `;
  return plain(text).includes(plain(tool));
}

/** JSON that the user spelled out, or a value of each property the tool's schema has. */
function argumentsFor(tool: JsonObject, text: string): string {
  const spelled = text.slice(text.indexOf('{'), text.lastIndexOf('}') + 1);
  if (spelled !== '' && isJson(spelled)) return spelled;
  return JSON.stringify(sample(tool.parameters, 0) ?? {});
}

function sample(schema: Json | undefined, depth: number): Json {
  if (!isObject(schema) || depth > 4) return null;
  if (schema.const !== undefined) return schema.const;
  if (Array.isArray(schema.enum)) return schema.enum[0] ?? null;
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  if (type === 'string') return 'example';
  if (type === 'number' || type === 'integer') return typeof schema.minimum === 'number' ? schema.minimum : 1;
  if (type === 'boolean') return true;
  if (type === 'array') return [];
  if (!isObject(schema.properties)) return type === 'object' ? {} : null;
  const entries = Object.entries(schema.properties).map(([key, value]) => [key, sample(value, depth + 1)]);
  return Object.fromEntries(entries) as JsonObject;
}

function scriptedCall(call: ScriptedCall): Output {
  const given = call.arguments ?? {};
  return { kind: 'call', name: call.name, arguments: typeof given === 'string' ? given : JSON.stringify(given) };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
