/** Legs whose peers speak preview: what comes from them becomes GA, and what is sent to them preview. */

import { relayPrefix } from '../protocol/catalogue.js';
import { eventOf, type JsonObject, type RealtimeEvent, type Refusal, type Step } from '../protocol/event.js';
import { errorOf } from '../protocol/refused.js';
import { previewClient } from '../protocol/translate/client-end.js';
import type { TranslationPorts } from '../protocol/translate/step.js';
import { previewUpstream } from '../protocol/translate/upstream-end.js';
import type { Farewell, Hold, Leg, LegEvents, Stretch } from './leg.js';

/** Both ways through one leg; what cannot be said is refused, and nothing comes of it. */
interface Translation {
  readonly incoming: Step;
  readonly outgoing: Step;
  readonly unsaid?: (body: JsonObject) => Refusal | null;
}

/** For a client of preview; `apiVersion` is the one that it names. */
export function asPreviewClient(leg: Leg, apiVersion: string | null): Leg {
  return new PreviewLeg(leg, (ports) => {
    const { fromClient, toClient } = previewClient(ports, apiVersion);
    return { incoming: fromClient, outgoing: toClient };
  });
}

/** For an upstream of preview. */
export function asPreviewUpstream(leg: Leg): Leg {
  return new PreviewLeg(leg, (ports) => {
    const { fromUpstream, toUpstream, unsaid } = previewUpstream(ports);
    return { incoming: fromUpstream, outgoing: toUpstream, unsaid };
  });
}

class PreviewLeg implements Leg {
  readonly #leg: Leg;
  readonly #incoming: Step;
  readonly #outgoing: Step;
  readonly #unsaid: ((body: JsonObject) => Refusal | null) | null;
  #on: LegEvents | null = null;
  /** Why nothing came of the event that is being translated. */
  #refusal: Refusal | null = null;
  #ids = 0;

  constructor(leg: Leg, translationFor: (ports: TranslationPorts) => Translation) {
    this.#leg = leg;
    const {
      incoming,
      outgoing,
      unsaid = null,
    } = translationFor({
      refuse: (refusal) => {
        this.#refusal = refusal;
      },
      eventId: this.#eventId,
    });
    this.#incoming = incoming;
    this.#outgoing = outgoing;
    this.#unsaid = unsaid;
  }

  /** Of events that the peer's dialect does not have, or that are ours. */
  readonly #eventId = (): string => `event_${relayPrefix}p${++this.#ids}`;

  start(on: LegEvents): void {
    this.#on = on;
    this.#leg.start({
      event: this.#came,
      unreadable: (error, bytes, arrivedMs) => on.unreadable(error, bytes, arrivedMs),
      untranslated: (refusal, bytes, arrivedMs) => on.untranslated(refusal, bytes, arrivedMs),
      binary: () => on.binary(),
      closed: (code, reason) => on.closed(code, reason),
      drained: () => on.drained(),
      violated: (error, code) => on.violated(error, code),
      unanswered: () => on.unanswered?.(),
      failed: (error) => on.failed(error),
      released: (why, seconds) => on.released(why, seconds),
    });
  }

  readonly #came = (event: RealtimeEvent, bytes: number, arrivedMs: number): void => {
    const on = this.#on;
    if (on === null) return;
    const result = this.#incoming(event);
    if (result === null) on.untranslated(this.#taken(), bytes, arrivedMs);
    else if ('type' in result) on.event(result, bytes, arrivedMs);
    else this.#several(result, bytes, arrivedMs);
  };

  #several(events: readonly RealtimeEvent[], bytes: number, arrivedMs: number): void {
    let left = bytes;
    for (const event of events) {
      this.#on?.event(event, left, arrivedMs);
      left = 0;
    }
  }

  send(event: RealtimeEvent): void {
    const result = this.#outgoing(event);
    if (result === null) this.#untaken();
    else if ('type' in result) this.#leg.send(result);
    else for (const each of result) this.#leg.send(each);
  }

  unsaid(body: JsonObject): Refusal | null {
    return this.#unsaid?.(body) ?? null;
  }

  /** Whoever sent it hears of it as of all that the peer does not take. */
  #untaken(): void {
    const refusal = this.#taken();
    if (refusal !== null) this.#on?.event(eventOf(errorOf(refusal, this.#eventId())), 0, performance.now());
  }

  #taken(): Refusal | null {
    const refusal = this.#refusal;
    this.#refusal = null;
    return refusal;
  }

  close(farewell: Farewell): void {
    if (farewell.event !== null) this.send(farewell.event);
    this.#on = null;
    this.#leg.close({ ...farewell, event: null });
  }

  terminate(): void {
    this.#on = null;
    this.#leg.terminate();
  }

  flush(): void {
    this.#leg.flush();
  }

  dropSpeech(response: string | null): number {
    return this.#leg.dropSpeech(response);
  }

  whenRead(done: () => void): boolean {
    return this.#leg.whenRead(done);
  }

  hold(why: Hold): void {
    this.#leg.hold(why);
  }

  release(why: Hold): void {
    this.#leg.release(why);
  }

  get isHeld(): boolean {
    return this.#leg.isHeld;
  }

  get held(): Stretch | null {
    return this.#leg.held;
  }

  get isFull(): boolean {
    return this.#leg.isFull;
  }

  get bufferedBytes(): number {
    return this.#leg.bufferedBytes;
  }

  get waitingBytes(): number {
    return this.#leg.waitingBytes;
  }

  get begunBytes(): number {
    return this.#leg.begunBytes;
  }

  isAlive(nowMs: number, isDue: boolean): boolean {
    return this.#leg.isAlive(nowMs, isDue);
  }

  quietMs(nowMs: number): number {
    return this.#leg.quietMs(nowMs);
  }

  stalledMs(nowMs: number): number {
    return this.#leg.stalledMs(nowMs);
  }

  ask(): void {
    this.#leg.ask();
  }
}
