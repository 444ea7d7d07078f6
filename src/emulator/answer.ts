/** What the emulated model says: as scripted, or something sensible of its own. */
import type { Json, JsonObject } from '../protocol/event.js';
import { citation, hitsIn, ownCall, scriptedCalls } from './called.js';
import { recalled, type Said } from './said.js';
import type { Script } from './script.js';
import type { AudioFormat } from './settings.js';
import { bytesPerMs, type Clip, clipOf, type Recording, type Speech } from './speech.js';
import type { Item } from './thread.js';

/** One output item of a response. */
export type Output =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'audio'; readonly text: string; readonly clip: Clip }
  | ({ readonly kind: 'call'; readonly ms: number | null } & Called)
  | ({
      readonly kind: 'mcp';
      readonly label: string;
      readonly output: string | null;
      readonly error: JsonObject | null;
      /** How long the service takes to call, in milliseconds of the clock. */
      readonly ms: number;
      /** Whether the response is done before the call is. */
      readonly doneFirst: boolean;
      /** The request that was approved before. */
      readonly approvalId: string | null;
    } & Called)
  | ({ readonly kind: 'approval'; readonly label: string } & Called);

interface Called {
  readonly name: string;
  readonly arguments: string;
}

/** The whole of a response: what comes out, and how it ends. */
export interface Answer {
  readonly outputs: readonly Output[];
  readonly status: 'completed' | 'incomplete' | 'cancelled' | 'failed';
  readonly reason: string | null;
  readonly overlapping: boolean;
}

/** A tool that the service found at an MCP server. */
export interface McpTool {
  readonly label: string;
  readonly name: string;
  /** Whether somebody has to approve a call. */
  readonly asks: boolean;
}

/** What the model has to go by. */
export interface Question {
  readonly items: readonly Item[];
  readonly said: Said;
  readonly modality: 'audio' | 'text';
  readonly format: AudioFormat;
  readonly tools: readonly JsonObject[];
  readonly mcpTools: readonly McpTool[];
  readonly toolChoice: Json;
  /** Instructions for this response alone. */
  readonly instructions: string | null;
  /** Whether the model is of the second generation. */
  readonly isNewer: boolean;
}

const charactersPerSecond = 15;
const reasons = {
  completed: null,
  incomplete: 'content_filter',
  cancelled: 'turn_detected',
  failed: 'rate_limit_exceeded',
} as const;

/** The answer to what was said last. */
export function answer(question: Question, script: Script, speech: Speech): Answer {
  const status = script.status ?? 'completed';
  const reason = script.reason ?? reasons[status];
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

function outputsOf(question: Question, script: Script, speech: Speech): readonly Output[] {
  const calls = scriptedCalls(script, question);
  const isPlain = script.text === undefined && script.speech === undefined;
  if (isPlain && calls.length > 0) return calls;
  const own = isPlain ? ownCall(question, question.said) : null;
  if (own) return [own];
  const words = spoken(question, script, speech);
  if (script.callsFirst) return [...calls, words];
  const cited = isPlain ? citation(question, question.said) : null;
  return [words, ...calls, ...(cited ? [cited] : [])];
}

function spoken(question: Question, script: Script, speech: Speech): Output {
  const { said } = question;
  const recording = (script.speech ? speech.get(script.speech) : undefined) ?? recordingFor(said, speech);
  const recorded = said.kind === 'speech' || said.kind === 'nothing' || script.speech !== undefined;
  const text = script.text ?? (script.speech ? recording.text : ownWords(question)) ?? (recorded ? recording.text : '');
  const modality = script.audio === undefined ? question.modality : script.audio ? 'audio' : 'text';
  if (modality === 'text') return { kind: 'text', text };
  const seconds = text === recording.text ? recording.seconds : Math.max(0.5, text.length / charactersPerSecond);
  return { kind: 'audio', text, clip: clipOf(recording, question.format, seconds) };
}

/** What the model says of its own; null where a recording fits. */
function ownWords({ said, items, instructions }: Question): string | null {
  const told = /\bsay (?:only|exactly)\b[^:]*:\s*([\s\S]+)$/i.exec(instructions ?? '')?.[1];
  if (told) return told;
  if (said.kind === 'nothing') return null;
  if (said.kind === 'approval') return 'I may not do that.';
  if (said.kind === 'tool_output') return wordsOnOutput(said);
  const fact = recalled(items, said.text);
  if (fact !== null) return `You told me: ${fact}`;
  return said.kind === 'speech' ? null : `You said: ${clipped(said.text)}`;
}

function wordsOnOutput(said: Said): string {
  const [first] = hitsIn(said);
  if (first) return firstSentence(first.text);
  return said.text === '' ? 'I found nothing.' : `The answer is: ${clipped(said.text)}`;
}

function firstSentence(text: string): string {
  return clipped(/^.*?[.!?](?=\s|$)/s.exec(text)?.[0] ?? text).trim();
}

function clipped(text: string): string {
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}

function recordingFor(said: Said, speech: Speech): Recording {
  const wanted = /\bstory\b/i.test(said.text) ? 'answer-story' : 'answer-hello';
  const recording = speech.get(wanted) ?? speech.values().next().value;
  if (!recording) throw new Error('assets/speech/speech.json names no recordings');
  return recording;
}
