/** What is told outside of a session: the kinds of messages for webhooks, and what each says. No credential in any of them. */

import type { Initiator } from './labels.js';
import type { UsageRecord } from './usage.js';

/** The types of messages that a webhook may ask for. */
export const noticeTypes = [
  'session.started',
  'session.ended',
  'session.usage',
  'transcript.item',
  'tool.called',
] as const;
/** One of them. */
export type NoticeType = (typeof noticeTypes)[number];

/** Who brought an item into a conversation. `client`: as words of the model's, brought along as history. */
export type ItemSource = 'user' | 'model' | 'backend' | 'client';

/** What was said in one turn by one side; times are RFC 3339. */
export interface Utterance {
  readonly item_id: string;
  readonly role: 'user' | 'assistant';
  readonly source: ItemSource;
  /** Of an answer that was cut short: what was heard of it. */
  readonly text: string;
  /** Of the user `failed`: it did not become words. */
  readonly status: 'completed' | 'interrupted' | 'failed';
  readonly started_at: string;
  readonly ended_at: string;
  /** Functions that were called since the answer before; absent where the profile leaves them out. */
  readonly tools?: readonly string[];
  /** Where the client, or upstream, says that it was cut. */
  readonly audio_end_ms?: number;
  /** All words of an answer that was cut, where the profile asks for them. */
  readonly full_text?: string;
  /** It was taken out of the model's memory. */
  readonly deleted?: true;
  /** There was more text than is told. */
  readonly truncated?: true;
}

/** Whose session a record is of; `issuer` only where there are several. */
export interface Whose {
  readonly session: string;
  readonly issuer?: string;
  readonly subject: string;
  readonly tenant: string | null;
  readonly profile: string;
}

/** A call of a tool that is over: neither its arguments nor what it brought. */
export interface CallNotice {
  readonly call_id: string;
  /** Null for a function that the profile does not list. */
  readonly name: string | null;
  readonly runs: 'http' | 'search' | 'backend' | 'mcp' | null;
  readonly outcome: string;
  readonly started_at: string;
  readonly ended_at: string;
}

/** What a message says beside whose session it is, and its number. */
export interface NoticeBodies {
  'session.started': {
    readonly transport: 'websocket' | 'webrtc';
    readonly dialect: string;
    readonly upstream: string;
    readonly started_at: string;
  };
  'session.ended': {
    readonly reason: string;
    readonly initiator: Initiator;
    readonly started_at: string;
    readonly ended_at: string;
    readonly turns: number;
    /** How many of these there were: who asks for some types only sees by it whether any is missing. */
    readonly counts: { readonly 'transcript.item': number; readonly 'tool.called': number };
  };
  'session.usage': UsageRecord;
  'transcript.item': Utterance;
  'tool.called': CallNotice;
}
