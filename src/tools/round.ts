/** What one response called, and what is owed for it when all of that has come to an end. */

import { replyOf, type ServedTool } from '../policy/tools.js';
import { isObject, type Json, type JsonObject, objectOf } from '../protocol/event.js';

/** Whether the model answers after a tool. */
export type Reply = 'always' | 'if_quiet' | 'silent';

/** One response with its calls; it changes as they go. */
export interface Round {
  readonly responseId: string;
  /** Whether it is no part of the conversation: its calls belong to who asked for it. */
  readonly isOutside: boolean;
  /** Whether the model had read the output of a tool since the user's last words. */
  isUnprompted: boolean;
  /** How it ended; null while it runs. */
  status: Json;
  /** How many calls the server answers for. */
  calls: number;
  /** What is at work: calls by their `call_id`, and without a tool, by their item, those of upstream's own tools. */
  readonly open: Map<string, ServedTool | null>;
  /** Items that wait for the end of the response, with the calls that they answer. */
  unsent: JsonObject[];
  /** Items that upstream has yet to acknowledge. */
  readonly unacknowledged: Set<string>;
  /** Called when it has acknowledged the last of them, once an answer is wanted. */
  acknowledged: (() => void) | null;
  /** The strongest wish of its tools. */
  reply: Reply;
  /** Whether the model said something in it. */
  hasSpoken: boolean;
  /** Whether it also called what the client runs. */
  hasClientCalls: boolean;
  /** Whether upstream ran tools of its own in it, after which it leaves the answer to us. */
  hasMcpCalls: boolean;
  /** Whether the client has cancelled what would follow. */
  isDropped: boolean;
  /** When its first call began; 0 before. */
  startedAt: number;
  /** Stops waiting for upstream's own tools. */
  giveUp: (() => void) | null;
  /** Lets the client ask for the answer. */
  release: (() => void) | null;
}

const strength: readonly Reply[] = ['silent', 'if_quiet', 'always'];

/** Makes the record of a response that begins. */
export function beginRound(responseId: string, isOutside: boolean, isUnprompted: boolean): Round {
  return {
    responseId,
    isOutside,
    isUnprompted,
    status: null,
    calls: 0,
    open: new Map(),
    unsent: [],
    unacknowledged: new Set(),
    acknowledged: null,
    reply: 'silent',
    hasSpoken: false,
    hasClientCalls: false,
    hasMcpCalls: false,
    isDropped: false,
    startedAt: 0,
    giveUp: null,
    release: null,
  };
}

/** Takes note of what a tool wishes. */
export function wish(round: Round, reply: Reply): void {
  if (strength.indexOf(reply) > strength.indexOf(round.reply)) round.reply = reply;
}

/** Takes note of the end of the response. */
export function finish(round: Round, { status, output }: JsonObject): void {
  round.status = status ?? 'completed';
  const items = Array.isArray(output) ? output.map(objectOf) : [];
  round.hasSpoken = items.some(isSpeech);
  const last = items.findLastIndex(({ type }) => type === 'mcp_call');
  if (round.hasMcpCalls && !items.slice(last + 1).some(isSpeech)) wish(round, 'always');
}

/** Whether something of the round is at work, or done, after which an answer is wanted. */
export function isUnanswered({ open, reply }: Round): boolean {
  return reply !== 'silent' || [...open.values()].some((tool) => tool === null || replyOf(tool) !== 'silent');
}

/** Whether anything may follow a response that ended like that. */
export function mayFollow({ status, isDropped }: Round): boolean {
  return !isDropped && (status === 'completed' || status === 'incomplete');
}

/** Whether the relay asks for an answer to what the round brought. */
export function wantsAnswer(round: Round): boolean {
  if (!mayFollow(round) || round.hasClientCalls) return false;
  return round.reply === 'always' || (round.reply === 'if_quiet' && !round.hasSpoken);
}

function isSpeech({ type, role, content }: JsonObject): boolean {
  if (type !== 'message' || role !== 'assistant' || !Array.isArray(content)) return false;
  return content.some((part) => isObject(part) && (isText(part.text) || isText(part.transcript)));
}

function isText(value: Json | undefined): boolean {
  return typeof value === 'string' && value.trim() !== '';
}
