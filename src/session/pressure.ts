/** What an instance does when it is short of time, memory or descriptors: it takes nobody new, and lets go of as few as it must. */

import { userKey } from '../auth/principal.js';
import { countDescriptors, type Descriptors } from '../telemetry/descriptors.js';
import type { Log } from '../telemetry/log.js';
import { type LoopLook, watchLoop } from '../telemetry/loop.js';
import type { Metrics } from '../telemetry/metrics.js';
import { bytesByDefault, Ledger } from './ledger.js';
import type { Registered, SessionRegistry } from './registry.js';
import { type Choice, choose, chooseByBytes, type Weighed } from './shedding.js';
import { calm, isBusy, judge, type Load, shareToShed, tellsBusy } from './strain.js';

/** What it works with; limits are read anew each time. */
export interface PressureServices {
  readonly registry: SessionRegistry;
  readonly metrics: Pick<Metrics, 'shed' | 'loopDelayed'>;
  readonly log: Log;
  readonly workers: number;
  limits(): {
    readonly busy_delay_ms: number;
    readonly busy_percent: number;
    readonly buffered_bytes?: number | undefined;
  };
  /** Left out: what the system says. */
  readonly descriptors?: () => Descriptors;
}

interface Candidate extends Weighed {
  readonly session: Registered;
}

/** What is known of a session between two looks. */
interface Mark {
  bytes: number;
  /** When it last took something, or had nothing waiting. */
  movedAt: number;
}

/** A flood fills memory in less than a second. */
const weighMs = 250;
/** Not only just under the limit again, or the next look would shed the next. */
const afterShedding = 0.9;
/** What is left is for those who are there already, and for operators. */
const mostDescriptors = 0.9;
/** A client's and an upstream's connection. */
const descriptorsOfSession = 2;
/** A loop that stood still for longer is worth a line: everybody waited. */
const stallMs = 1000;

export class Pressure {
  /** Bytes of whoever keeps some for others. */
  readonly ledger: Ledger;
  readonly #services: PressureServices;
  readonly #marks = new WeakMap<Registered, Mark>();
  /** What sessions had cost when the loop began to be late. */
  #workBefore = new Map<Registered, number>();
  #load: Load = calm;
  #wasShort = false;
  readonly #loop: { close(): void };
  readonly #timer: NodeJS.Timeout;

  constructor(services: PressureServices) {
    const { registry, limits, workers } = services;
    this.#services = services;
    const byDefault = bytesByDefault(workers);
    this.ledger = new Ledger(() => limits().buffered_bytes ?? byDefault);
    this.ledger.add({
      name: 'sessions',
      bytes: () => [...registry].reduce((sum, session) => sum + bytesOf(session), 0),
    });
    this.#loop = watchLoop((look) => this.look(look));
    this.#timer = setInterval(() => this.weigh(), weighMs).unref();
  }

  /** Whether a balancer should send nobody here for now. */
  get isBusy(): boolean {
    return tellsBusy(this.#load, performance.now());
  }

  /** Once a second: how the loop does. */
  look(look: LoopLook): void {
    const { registry, metrics, log, limits, descriptors = countDescriptors } = this.#services;
    if (look.lateMs > stallMs) log.warn({ seconds: look.lateMs / 1000 }, 'relay.stalled');
    metrics.loopDelayed(look.delayMs / 1000);
    const before = this.#load;
    this.#load = judge(before, look, limits(), performance.now());
    const { open, most } = descriptors();
    const room = Math.floor((most * mostDescriptors - open) / descriptorsOfSession);
    const lacksDescriptors = room <= 0;
    const isShort = isBusy(this.#load) || lacksDescriptors;
    registry.letIn(isShort ? 0 : room);
    if (isShort !== this.#wasShort) {
      const what = {
        delayMs: Math.round(look.delayMs),
        percent: Math.round(look.utilisation * 100),
        descriptors: lacksDescriptors,
      };
      if (isShort) log.warn(what, 'relay.busy');
      else log.info(what, 'relay.relieved');
    }
    this.#wasShort = isShort;
    this.#shedForTime(look, before);
  }

  #shedForTime(look: LoopLook, before: Load): void {
    const { registry } = this.#services;
    const { lateLooks } = this.#load;
    if (lateLooks === 0) return;
    if (before.lateLooks === 0) this.#workBefore = new Map([...registry].map((one) => [one, one.workMs ?? 0]));
    const count = Math.ceil(shareToShed(this.#load, look) * registry.size);
    const candidates = this.#candidates((one) => (one.workMs ?? 0) - (this.#workBefore.get(one) ?? 0));
    for (let i = 0; i < count && candidates.length > 0; i++) this.#shed(choose(candidates), candidates, 'time');
  }

  /** A few times a second: who has got on, and whether all of it is too much. */
  weigh(): void {
    const now = performance.now();
    for (const session of this.#services.registry) {
      const bytes = bytesOf(session);
      const mark = this.#marks.get(session);
      if (!mark) this.#marks.set(session, { bytes, movedAt: now });
      else {
        if (bytes === 0 || bytes < mark.bytes) mark.movedAt = now;
        mark.bytes = bytes;
      }
    }
    let excess = this.ledger.excess;
    if (excess <= 0) return;
    excess += (this.ledger.bytes - excess) * (1 - afterShedding);
    excess -= this.ledger.shed(excess);
    const candidates = this.#candidates(bytesOf);
    while (excess > 0 && candidates.length > 0) {
      const choice = chooseByBytes(candidates);
      // It is not sessions that fill the memory.
      if (choice.victim.weight === 0) return;
      excess -= this.#shed(choice, candidates, 'memory');
    }
  }

  close(): void {
    this.#loop.close();
    clearInterval(this.#timer);
  }

  #candidates(weightOf: (session: Registered) => number): Candidate[] {
    const now = performance.now();
    return [...this.#services.registry].map((session) => ({
      session,
      user: userKey(session.admission.principal),
      weight: weightOf(session),
      stillMs: now - (this.#marks.get(session)?.movedAt ?? now),
    }));
  }

  #shed({ victim, heaviest }: Choice<Candidate>, candidates: Candidate[], want: 'time' | 'memory'): number {
    const { metrics, log } = this.#services;
    const { session, weight, stillMs } = victim;
    candidates.splice(candidates.indexOf(victim), 1);
    const { subject, tenant } = session.admission.principal;
    const [, heaviestTenant, heaviestSubject] = JSON.parse(heaviest.user) as (string | null)[];
    log.warn(
      {
        session: session.id,
        subject,
        ...(tenant !== null && { tenant }),
        want,
        weight: Math.round(weight),
        stillSeconds: Math.round(stillMs / 1000),
        heaviest: { subject: heaviestSubject, tenant: heaviestTenant, weight: Math.round(heaviest.weight) },
      },
      'session.shed',
    );
    metrics.shed(want);
    session.end(want === 'memory' ? 'slow_consumer' : 'overloaded', 'relay');
    return weight;
  }
}

function bytesOf({ buffered }: Registered): number {
  return buffered.up + buffered.down;
}
