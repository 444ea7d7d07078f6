/** What backends are told of one session, numbered in one row over all kinds; some of it the log and those beside are told as well. */

import type { Admission } from '../admission/admission.js';
import { userKey } from '../auth/principal.js';
import { Bounded } from '../policy/bounded.js';
import { eventOf, type JsonObject, objectOf, type RealtimeEvent } from '../protocol/event.js';
import { family } from '../protocol/family.js';
import type { Log } from '../telemetry/log.js';
import type { CallNotice, NoticeBodies, NoticeType, Utterance, Whose } from '../telemetry/records.js';
import type { UsageRecord } from '../telemetry/usage.js';
import type { CallReport } from '../tools/calls.js';
import type { Webhooks } from '../webhooks/webhooks.js';
import type { Tap, Taps } from './taps.js';

/** What notices need of the instance. */
export interface NoticeServices {
  readonly log: Log;
  readonly webhooks: Pick<Webhooks, 'send' | 'wants'>;
  /** Whether records have to say whose provider it is that a user is of. */
  readonly hasSeveralIssuers: boolean;
}

const mostHosted = 64;

export class Notices {
  readonly #admission: Admission;
  readonly #services: NoticeServices;
  readonly #taps: Pick<Taps, 'step'>;
  readonly #whose: Whose;
  /** The time of day at a moment of the monotonic clock. */
  readonly #wallOf: (at: number) => number;
  /** Calls of tools that upstream itself makes. */
  readonly #hosted = new Bounded<Pick<CallNotice, 'name' | 'started_at'>>(mostHosted);
  readonly #counts = { 'transcript.item': 0, 'tool.called': 0 };
  #seq = 0;

  constructor(
    admission: Admission,
    services: NoticeServices,
    taps: Pick<Taps, 'step'>,
    wallOf: (at: number) => number,
  ) {
    const { id, principal, profile } = admission;
    const { issuer, subject, tenant } = principal;
    this.#admission = admission;
    this.#services = services;
    this.#taps = taps;
    this.#wallOf = wallOf;
    const provider = services.hasSeveralIssuers ? { issuer } : null;
    this.#whose = { session: id, ...provider, subject, tenant, profile: profile.name };
  }

  #time(at: number): string {
    return new Date(this.#wallOf(at)).toISOString();
  }

  #send<T extends NoticeType>(type: T, body: NoticeBodies[T], timestamp: string, seq = ++this.#seq): void {
    const { session } = this.#whose;
    const user = userKey(this.#admission.principal);
    this.#services.webhooks.send({ type, timestamp, session, seq, user, data: { ...this.#whose, seq, ...body } });
  }

  /** The client may talk. */
  started(body: NoticeBodies['session.started']): void {
    this.#send('session.started', body, body.started_at);
  }

  /** The next turn of the transcript. */
  said(utterance: Utterance): void {
    const { webhook, log, sideband } = this.#admission.profile.transcripts;
    const seq = ++this.#seq;
    const item = { ...this.#whose, seq, ...utterance };
    if (log) this.#services.log.info(item, 'session.transcript');
    if (sideband) this.#taps.step('told')(eventOf({ type: 'relay.transcript_item', item: jsonOf(item) }));
    if (!webhook) return;
    this.#counts['transcript.item']++;
    this.#send('transcript.item', utterance, this.#time(performance.now()), seq);
  }

  /** A call that the server answers for is over. */
  called({ tool, callId, result: { outcome }, ms }: CallReport): void {
    const now = performance.now();
    const times = { started_at: this.#time(now - ms), ended_at: this.#time(now) };
    this.#tellCall({ call_id: callId, name: tool?.name ?? null, runs: tool?.runs ?? null, outcome, ...times });
  }

  #tellCall(call: CallNotice): void {
    this.#counts['tool.called']++;
    this.#send('tool.called', call, call.ended_at);
  }

  /** Follows the calls that upstream makes; null where nobody wants to know. */
  get hosted(): Tap | null {
    if (!this.#services.webhooks.wants('tool.called')) return null;
    return {
      came: ({ type, body }: RealtimeEvent) => {
        if (body === null) return;
        if (type === family.down.outputAdded) this.#begun(objectOf(body.item));
        else if (type === family.down.toolEnded[0]) this.#ended(body, 'ok');
        else if (type === family.down.toolEnded[1]) this.#ended(body, 'failed');
      },
    };
  }

  #begun({ id, type, name }: JsonObject): void {
    if (type !== 'mcp_call' || typeof id !== 'string') return;
    const known = typeof name === 'string' ? name.slice(0, 64) : null;
    this.#hosted.set(id, { name: known, started_at: this.#time(performance.now()) });
  }

  #ended({ item_id }: JsonObject, outcome: 'ok' | 'failed'): void {
    const id = String(item_id);
    const call = this.#hosted.get(id);
    if (call === undefined) return;
    this.#hosted.delete(id);
    this.#tellCall({ call_id: id, ...call, runs: 'mcp', outcome, ended_at: this.#time(performance.now()) });
  }

  /** What it cost is final. */
  used(record: UsageRecord): void {
    this.#send('session.usage', record, record.ended_at);
  }

  /** The last word. */
  ended(body: Omit<NoticeBodies['session.ended'], 'counts'>): void {
    this.#send('session.ended', { ...body, counts: this.#counts }, body.ended_at);
  }
}

/** A record as an event may hold it. */
function jsonOf(record: Whose & Utterance & { seq: number }): JsonObject {
  const { tools, ...rest } = record;
  return { ...rest, ...(tools && { tools: [...tools] }) };
}
