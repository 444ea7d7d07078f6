/**
 * Lets a conversation outlive its legs to upstream: before one ends, and after one was lost, another takes its place, which knows
 * what was said and is sent what the first one left unanswered. The client has one session.
 */

import type { ExitId } from '../../errors.js';
import type { Profile } from '../../policy/profile.js';
import { isObject, type JsonObject, objectOf, type RealtimeEvent } from '../../protocol/event.js';
import { family } from '../../protocol/family.js';
import type { ReplacementTrigger } from '../../telemetry/labels.js';
import type { Attachment } from '../attachment.js';
import type { Ending } from '../ending.js';
import type { Lists } from '../steps.js';
import type { Want } from '../wants.js';
import { Boundary } from './boundary.js';
import { createNext, spokenOn } from './coming.js';
import { askedWith, cutOff, forgetBeginnings, owedFor, tellWordless } from './cutting.js';
import { differing, type Echo, echoOf } from './echo.js';
import { type Fresh, Line } from './line.js';
import { Failures, type Loss, Losses } from './losses.js';
import { Memory } from './memory.js';
import type { Next } from './next.js';
import type { ContinuityPorts } from './ports.js';
import { Schedule } from './schedule.js';
import { createSpoken } from './spoken.js';
import { type LostSoFar, report } from './telling.js';
import { isDeadly, isPlain, triggerOf } from './triggers.js';
import { View } from './view.js';

const mostItems = 400;
/** To get another leg after one was lost; each attempt may try two upstreams. */
const longestMs = 6000;
const againMs = 250;

export class Continuity {
  readonly #ports: ContinuityPorts;
  readonly #settings: Profile['continuity'];
  readonly #schedule: Schedule;
  readonly #losses = new Losses();
  #memory: Memory | null = null;
  #boundary: Boundary | null = null;
  #line: Line | null = null;
  #next: Next | null = null;
  #isNextReady = false;
  #loss: Loss | null = null;
  #failures = new Failures();
  #echo: Echo = new Map();
  #legs = 0;
  #isClosed = false;
  /** What had been lost when a leg was replaced last. */
  #told: LostSoFar = { items: 0, bytes: 0 };
  /** Legs that are no more the session's and have yet to say what they cost. */
  #settling = 0;

  constructor(ports: ContinuityPorts) {
    this.#ports = ports;
    this.#settings = ports.admission.profile.continuity;
    this.#schedule = new Schedule(ports.clock, { prepare: () => this.#prepare(), look: () => this.#look() });
  }

  /** Whether the conversation outlives its legs. */
  get isOn(): boolean {
    return this.#memory !== null;
  }

  /** Whether a leg that was replaced has yet to say what it cost. */
  get isSettling(): boolean {
    return this.#settling > 0;
  }

  /** Bytes that are kept for a leg to come. */
  get bytes(): number {
    return this.#memory?.bytes ?? 0;
  }

  /** Upstream has said what it runs on the session's leg: whether that may be replaced may depend on it. */
  configured(attachment: Attachment, session: JsonObject): void {
    const { front } = this.#ports;
    if (this.#memory !== null || !this.#isWanted(session)) {
      if (this.#line?.attachment === attachment) this.#echo = echoOf(session, front.imposed.whole());
      return;
    }
    const { words_bytes, look_back_seconds } = this.#settings;
    const memory = new Memory({ bytes: words_bytes, items: mostItems }, look_back_seconds, attachment.meter.soundBytes);
    memory.configured(session);
    this.#memory = memory;
    this.#boundary = new Boundary(memory);
    this.#line = this.#lineOf(attachment, memory, null);
    this.#echo = echoOf(session, front.imposed.whole());
    this.#schedule.begin(session.expires_at);
    this.#ports.become(attachment);
  }

  /** Words are what a conversation is told again with. */
  #isWanted({ audio, type }: JsonObject): boolean {
    const transcribes = isObject(objectOf(objectOf(audio).input).transcription);
    return type !== 'transcription' && (this.#settings.enabled ?? transcribes);
  }

  #lineOf(attachment: Attachment, memory: Memory, fresh: Fresh | null): Line {
    const line = new Line(attachment, memory, fresh, (event) => this.#came(event));
    attachment.outward = line.outgoing;
    return line;
  }

  get #isSilent(): boolean {
    return this.#ports.front.imposed.silence.isOn;
  }

  /** The steps of a leg, with what it takes to replace it. */
  around(attachment: Attachment, lists: Lists): Lists {
    return this.#line?.attachment === attachment ? this.#line.around(lists) : lists;
  }

  #came({ type, body }: RealtimeEvent): void {
    if (type === family.down.answerEnded) this.#answered(objectOf(body?.response));
    if (this.#next !== null) this.#later(() => this.#look());
  }

  /** When what has come has been passed on; what throws then ends this session and no other. */
  #later(work: () => void): void {
    queueMicrotask(() => {
      try {
        work();
      } catch (error) {
        this.#ports.unforeseen(error);
      }
    });
  }

  /** An upstream that has failed twice in a row will go on to: the second answer is asked for elsewhere. */
  #answered(response: JsonObject): void {
    const last = this.#memory?.running.last;
    if (!last || last.isAside || !this.#failures.ended(response)) return;
    const again: Want = { kind: 'again', after: last.id, ...askedWith(last.asked) };
    this.#later(() => {
      if (this.#loss === null && this.#ports.isOpen()) this.#lose('server_error', this.#goOn, again);
    });
  }

  /** With the leg that there is. */
  readonly #goOn = (): void => this.#ports.client.release('swap');

  /** Takes an end by upstream for the end of a leg only. False where it is the session's. */
  takes(id: ExitId, ending: Ending): boolean {
    if (this.#memory === null || !this.#ports.isOpen()) return false;
    const trigger = triggerOf(id, ending.closeCode);
    if (trigger === null) return false;
    const otherwise = () => this.#ports.end(id, 'upstream', ending);
    // The leg that is being replaced already may have had something left to live for.
    if (this.#loss === null) this.#lose(trigger, otherwise, null);
    else if (this.#loss.otherwise === this.#goOn) this.#loss.otherwise = otherwise;
    return true;
  }

  #lose(trigger: ReplacementTrigger, otherwise: () => void, again: Want | null): void {
    const { client, metrics, chronicle, front } = this.#ports;
    const [line, memory] = [this.#line as Line, this.#memory as Memory];
    const { reached, turns } = line.attachment;
    reached.lost(isPlain(trigger));
    const at = performance.now();
    if (!this.#losses.add(at)) {
      metrics.replaced(trigger, 'bounded', null);
      this.#memory = null;
      this.#ports.end('upstream_lost', 'upstream', { message: 'The connection to the upstream was lost too often.' });
      return;
    }
    client.hold('swap');
    chronicle.lost(trigger);
    front.notify('relay.upstream_replacing', { trigger });
    const isDead = isDeadly(trigger);
    if (isDead && turns.isUnsettled()) chronicle.unsettled();
    const lost = cutOff(line.attachment, memory, isDead);
    const owed = again ?? owedFor(lost, line.attachment, memory, this.#isSilent);
    if (isDead) reached.leg.terminate();
    this.#loss = { trigger, at, otherwise, owed, lost };
    this.#replace(this.#loss).catch((error: unknown) => this.#ports.unforeseen(error));
  }

  async #replace(loss: Loss): Promise<void> {
    const { metrics, chronicle, clock } = this.#ports;
    for (let attempt = 1; !this.#isClosed && performance.now() - loss.at < longestMs; attempt++) {
      const next = this.#next ?? this.#begin(true);
      if (await next.ready) {
        if (!this.#isClosed) this.#swap(next, loss.trigger, loss);
        return;
      }
      // Many may have lost theirs with this one.
      const waitMs = Math.min(attempt, 4) * againMs * (0.5 + Math.random());
      if (!this.#isClosed) await new Promise<void>((resolve) => clock.at(waitMs, resolve));
    }
    if (this.#isClosed) return;
    metrics.replaced(loss.trigger, 'failed', null);
    chronicle.lost(loss.trigger, true);
    const { otherwise } = loss;
    this.#loss = null;
    if (otherwise !== this.#goOn) this.#memory = null;
    otherwise();
  }

  /** A leg is reached that is to follow. */
  #begin(isUrgent: boolean): Next {
    const memory = this.#memory as Memory;
    const upstream = this.#line?.attachment.reached.upstream.name ?? null;
    const next = createNext(this.#ports, memory, {
      ...{ leg: ++this.#legs, isUrgent, upstream },
      differs: (session) => differing(this.#echo, session),
      looked: () => this.#look(),
      failed: () => this.#failed(next),
    });
    [this.#next, this.#isNextReady] = [next, false];
    void next
      .prepare(() => memory.shadow.entries, isUrgent)
      .then((isReady) => {
        if (!isReady) this.#failed(next);
        else if (this.#next === next) this.#isNextReady = true;
      });
    return next;
  }

  #failed(next: Next): void {
    if (this.#next !== next) return;
    this.#next = null;
    if (!this.#isClosed && this.#loss === null) this.#schedule.failed();
  }

  /** The time of the leg is nearly up. */
  #prepare(): void {
    if (this.#next === null && this.#loss === null && this.#ports.isOpen()) this.#begin(false);
  }

  /** Goes over to the leg that waits, if nobody would notice, or if there is no time left. */
  #look(): void {
    const [next, line, boundary] = [this.#next, this.#line, this.#boundary];
    if (next === null || line === null || boundary === null || !this.#isNextReady) return;
    if (this.#loss !== null || !this.#ports.isOpen()) return;
    const { leftMs, moments } = this.#schedule;
    if (leftMs > moments.soft) return;
    const memory = this.#memory as Memory;
    const { attachment } = line;
    const now = performance.now();
    const isBoundary = boundary.is(attachment, leftMs <= moments.firm, now);
    const isAbreast = next.look(memory.shadow.entries, boundary.areWordsLate(now));
    const isSilent = attachment.turns.running.size === 0;
    const isDue = leftMs <= moments.cut || (isAbreast && (isBoundary || (leftMs <= moments.hard && isSilent)));
    if (isDue) this.#swap(next, 'expiry', null);
  }

  /** The one transition from a leg to the next; all in one turn of the event loop. */
  #swap(next: Next, trigger: ReplacementTrigger, loss: Loss | null): void {
    const { client, asks, become } = this.#ports;
    const [old, memory] = [(this.#line as Line).attachment, this.#memory as Memory];
    const startedAt = loss?.at ?? performance.now();
    const lost = loss?.lost ?? cutOff(old, memory, false);
    const owed = loss ? loss.owed : owedFor(lost, old, memory, this.#isSilent);
    const { attachment, mirror } = next;
    if (this.#settings.lost_answer === 'regenerate') forgetBeginnings(lost, memory);
    const { microphone, shadow } = memory;
    const offsetMs = microphone.start / microphone.bytesPerMs;
    const view = new View({ offsetMs, speaking: microphone.speaking, conversationId: memory.conversationId, mirror });
    const hasSpoken = shadow.entries.some(({ role }) => role === 'assistant');
    const spoken = hasSpoken ? createSpoken(spokenOn(next, memory, () => this.#ports.metrics.replayedText())) : null;
    next.look(shadow.entries, true);
    next.taken();
    this.#next = null;
    this.#loss = null;
    this.#line = this.#lineOf(attachment, memory, { mirror, view, spoken });
    become(attachment);
    tellWordless(mirror.sounds, attachment, memory);
    asks.moved();
    this.#line.catchUp();
    if (owed && this.#settings.lost_answer === 'regenerate' && !asks.isBusy) asks.want(owed);
    client.release('swap');
    this.#leave(old, loss !== null && isDeadly(loss.trigger));
    const isCut = lost.some(({ isAside }) => !isAside);
    this.#told = report(this.#ports, next, memory, { trigger, isCut, startedAt, before: this.#told });
    this.#schedule.begin(next.expiresAt);
  }

  /** What a leg costs that is no more the session's is still to be told. */
  #leave(old: Attachment, isGone: boolean): void {
    const { settlements, chronicle } = this.#ports;
    old.outward = null;
    if (isGone) return;
    this.#settling++;
    old.settle(settlements, (isComplete) => {
      this.#settling--;
      if (!isComplete) chronicle.unsettled();
      old.letGo();
    });
  }

  /** The session is over. */
  close(): void {
    this.#isClosed = true;
    this.#schedule.close();
    this.#next?.close();
    this.#next = null;
  }
}
