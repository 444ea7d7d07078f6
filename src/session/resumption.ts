/**
 * What lets a client come back to its session over another connection: the tokens that it shows for that, how long it may be
 * away, and what happens meanwhile.
 */

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Admission } from '../admission/admission.js';
import { type Principal, userKey } from '../auth/principal.js';
import type { ExitId } from '../errors.js';
import type { Connection, Line, Missed } from '../legs/leg.js';
import type { Dialect } from '../protocol/catalogue.js';
import { eventOf, type RealtimeEvent } from '../protocol/event.js';
import type { Initiator, ResumeOutcome } from '../telemetry/labels.js';
import type { Attachment } from './attachment.js';
import type { Chronicle } from './chronicle.js';
import type { Ending } from './ending.js';
import type { Front } from './front.js';

/** Somebody who wants to go on with a session. */
export interface Comer {
  readonly principal: Principal;
  readonly dialect: Dialect;
  /** What the session gave its client for this. */
  readonly token: string;
  /** Messages that the client has. */
  readonly received: number;
}

/** What a resumption needs of its session. */
interface ResumptionPorts {
  readonly admission: Admission;
  readonly front: Pick<Front, 'notify' | 'renewed' | 'farewell' | 'eventId'>;
  readonly chronicle: Pick<Chronicle, 'noted'>;
  state(): string;
  attachment(): Attachment | null;
  /** When the session ends by its limits and its token, in seconds since 1970. */
  endsAt(): number;
  end(id: ExitId, initiator: Initiator, ending: Ending): void;
}

/** An answer that runs when the client is lost goes on for so long; nobody may come back to hear more of it. */
const answerMs = 3000;
/** Who comes back more often within a minute does not come back to talk. */
const mostResumes = 20;
const resumesMs = 60_000;
/** Of tokens that were used up; only to be told from those that never were any. */
const mostSpent = 20;

const shape = /^rr_(sess_[0-9a-f]{32})_[\w-]{43}$/;

/** The session that a token is of, if it is one. */
export function sessionOf(token: string): string | null {
  return shape.exec(token)?.[1] ?? null;
}

export class Resumption {
  readonly #line: Line;
  readonly #ports: ResumptionPorts;
  #epoch = 0;
  #current: Buffer | null = null;
  /** The token before: good until the client has proved that it has the current one. */
  #previous: Buffer | null = null;
  #spent: Buffer[] = [];
  /** When the client came back, in the last minute. */
  #resumes: number[] = [];
  #detachedAt: number | null = null;
  /** What answered when the client was lost. */
  #attachment: Attachment | null = null;
  /** Whether nobody hears what is said. */
  #isQuiet = false;
  /** Answers that were cancelled for that. */
  readonly #cut = new Set<string>();

  constructor(line: Line, ports: ResumptionPorts) {
    this.#line = line;
    this.#ports = ports;
    line.follow({
      mayDetach: () => ports.state() === 'open',
      detached: (closeCode) => this.#detached(closeCode),
      proved: () => this.#proved(),
      lost: (audioMs) => ports.chronicle.noted({ audioMs }, 'session.cut'),
    });
  }

  /** Since when, by the monotonic clock, the session has had no client; null while it has one. */
  get detachedAt(): number | null {
    return this.#detachedAt;
  }

  get isDetached(): boolean {
    return this.#detachedAt !== null;
  }

  /** Hashes of the tokens that are good. */
  get keys(): readonly Buffer[] {
    return [this.#current, this.#previous].filter((one) => one !== null);
  }

  get keptBytes(): number {
    return this.#line.keptBytes;
  }

  /** Whether no new answer may be asked for: nobody would hear it. */
  get isQuiet(): boolean {
    return this.#isQuiet;
  }

  /** How long it waits for its client. */
  get seconds(): number {
    return this.#ports.admission.profile.continuity.resume_seconds;
  }

  /** The session runs: its client learns how to come back to it. */
  opened(): void {
    const token = this.#issue();
    this.#ports.front.notify('relay.resumable', { token, epoch: ++this.#epoch, window_seconds: this.seconds });
  }

  #issue(): string {
    const token = `rr_${this.#ports.admission.id}_${randomBytes(32).toString('base64url')}`;
    this.#current = hashOf(token);
    return token;
  }

  /** What would become of somebody who wants to go on; it changes nothing. */
  judge({ principal, dialect, token, received }: Comer): ResumeOutcome {
    const hash = hashOf(token);
    if (ownerOf({ principal, dialect }) !== ownerOf(this.#ports.admission)) return 'other_user';
    if (!this.keys.some((one) => timingSafeEqual(one, hash)))
      return this.#spent.some((one) => timingSafeEqual(one, hash)) ? 'reused' : 'unknown';
    if (!this.#line.mayHave(received)) return 'unknown';
    if (this.#ports.state() !== 'open' || !this.#line.reaches(received)) return 'late';
    const since = performance.now() - resumesMs;
    if (this.#resumes.filter((at) => at > since).length >= mostResumes) return 'too_often';
    return this.#line.isDetached ? 'ok' : 'superseded';
  }

  /** Goes on over another connection, with somebody who was judged in this turn. */
  resume({ principal, token, received }: Comer, connection: Connection): void {
    const { admission, front, chronicle, attachment } = this.#ports;
    const now = performance.now();
    const [hash, before] = [hashOf(token), this.#ports.endsAt()];
    admission.become(principal);
    // The one before may be shown again: the answer to it may get lost. Who has shown it does not have the current one.
    this.#spend(this.keys.filter((one) => !timingSafeEqual(one, hash)));
    this.#previous = hash;
    this.#resumes = [...this.#resumes, now].slice(-mostResumes);
    const next = { token: this.#issue(), epoch: ++this.#epoch };
    const isSuperseding = this.#detachedAt === null;
    const wasReplaced = !isSuperseding && attachment() !== this.#attachment;
    const greet = (missed: Missed): RealtimeEvent => {
      const outputRate = attachment()?.meter.outputRate() ?? 1;
      const lost = { messages: missed.messages, audio_ms: Math.round((missed.audioBytes / outputRate) * 1000) };
      const isFull = this.#cut.size === 0 && !wasReplaced && lost.messages === 0 && lost.audio_ms === 0;
      const continuity = isFull ? 'full' : 'transcript_only';
      const seconds = (now - (this.#detachedAt ?? now)) / 1000;
      const { epoch } = next;
      chronicle.noted({ seconds, epoch, continuity, superseded: isSuperseding, missed: lost }, 'session.resumed');
      return eventOf({
        type: 'relay.resumed',
        event_id: front.eventId(),
        received: this.#line.received,
        ...next,
        window_seconds: this.seconds,
        expires_at: this.#ports.endsAt(),
        continuity,
        missed: lost,
      });
    };
    const farewell = { id: 'superseded', event: front.farewell('superseded', undefined, undefined) } as const;
    this.#line.attach(connection, received, greet, farewell);
    this.#detachedAt = null;
    this.#attachment = null;
    this.#cut.clear();
    this.#isQuiet = false;
    if (before !== this.#ports.endsAt()) front.renewed(this.#ports.endsAt(), false);
    attachment()?.asks.look();
  }

  /** The client has the current token. */
  #proved(): void {
    this.#spend([this.#previous]);
    this.#previous = null;
  }

  #spend(tokens: readonly (Buffer | null)[]): void {
    this.#spent = [...this.#spent, ...tokens.filter((one) => one !== null)].slice(-mostSpent);
  }

  #detached(closeCode: number): void {
    const { chronicle, attachment } = this.#ports;
    this.#detachedAt = performance.now();
    this.#attachment = attachment();
    chronicle.noted({ closeCode }, 'session.detached');
  }

  /** Nobody hears what is said: it is cancelled, and nothing new is asked for. */
  #silence(): void {
    this.#isQuiet = true;
    const attachment = this.#ports.attachment();
    for (const id of attachment?.turns.running ?? []) {
      if (!this.#cut.has(id)) attachment?.cancel(id);
      this.#cut.add(id);
    }
  }

  /** Once a second. */
  tick(now: number): void {
    const { front } = this.#ports;
    if (this.#detachedAt === null) {
      if (this.#line.owesCount) front.notify('relay.ack', { received: this.#line.counted() });
      return;
    }
    const awayMs = now - this.#detachedAt;
    // Each time: what was asked for before may begin only now.
    if (awayMs >= answerMs) this.#silence();
    if (this.#line.isSpoilt) this.#lose('More came for the client that was away than can be kept for it.');
    else if (awayMs >= this.seconds * 1000) this.#lose('The client did not come back.');
  }

  #lose(message: string): void {
    this.#ports.end('client_lost', 'client', { message });
  }
}

/** Whose a session is, and in what form: who comes back must be and speak the same. */
export function ownerOf({ principal, dialect }: Pick<Comer, 'principal' | 'dialect'>): string {
  return JSON.stringify([userKey(principal), principal.profile, dialect]);
}

/** What is kept of a token. */
export function hashOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
