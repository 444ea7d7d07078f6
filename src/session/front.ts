/**
 * What a session has between itself and its client: a policy, where the client talks through the relay, or a guard, where the
 * client talks to upstream and the relay sits beside.
 */

import { randomBytes } from 'node:crypto';
import type { Admission } from '../admission/admission.js';
import type { Clock } from '../clock.js';
import { type ExitId, RelayError } from '../errors.js';
import type { Leg } from '../legs/leg.js';
import { Bounded } from '../policy/bounded.js';
import { createWatch } from '../policy/conformance.js';
import { Policy } from '../policy/policy.js';
import { eventOf, type Json, type JsonObject, objectOf, type RealtimeEvent, type Refusal } from '../protocol/event.js';
import { family } from '../protocol/family.js';
import type { Initiator } from '../telemetry/labels.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { Attachment } from './attachment.js';
import type { Chronicle } from './chronicle.js';
import type { Ending } from './ending.js';
import { createGuard, createHeed, type Guard } from './guard.js';
import { createImposed, type Impositions } from './imposed.js';
import { createInterruption, type Interruption } from './interruption.js';
import { createLimits, type Limits } from './limits.js';
import type { Facts } from './overdue.js';
import { createPatches } from './patches.js';
import { Replies } from './replies.js';
import { createNames, type Say } from './speak.js';
import { beside, type Lists, type Parts, relayed } from './steps.js';

/** The client's side of one session. */
export interface Front {
  /** What upstream is to run. */
  readonly imposed: Impositions;
  /** How fast events may come; null where they come at any pace, or not here. */
  readonly limits: Limits | null;
  /** Events of the client that were refused, or changes that it must not make. */
  readonly refusals: number;
  /** Names what the relay says upstream. */
  readonly named: Say;
  /** What a backend sets, as it is to be sent upstream. */
  readonly updated: (fields: JsonObject) => JsonObject;
  /** An item that a backend puts in, as it is to be sent upstream. */
  readonly put: (body: JsonObject) => JsonObject;
  /** Whether an item of the conversation is known to have this id. */
  has(itemId: string): boolean;
  /** What happens to events with this leg to upstream, and what it is to be configured with. */
  connect(parts: Parts): Connected;
  /** Upstream runs the session, whose end is at this time in seconds since 1970. */
  opened(session: JsonObject, expiresAt: number): void;
  /** The session goes on with another token, and its end is at this time in seconds since 1970. By default the client is told. */
  renewed(expiresAt: number, isTold?: boolean): void;
  /** The id of an event that is made elsewhere. */
  eventId(): string;
  /** An event of the client's that was let pass will never be sent: it does not want that any more, or is refused it. */
  withdrawn(eventId: string, isRefused: boolean): void;
  /** A response begins that the client is not to see. */
  hush(response: JsonObject): void;
  /** Keeps an item from the client; `previous` as upstream gives it. */
  hide(itemId: string, previous: Json | undefined): void;
  /** Speech that waits for the client is not sent any more. */
  still(): void;
  /** From now on the client may ask for an answer only where `mayAsk`. */
  drain(mayAsk: () => boolean): void;
  /** One that is nobody's `fault` is not counted. */
  refuse(refusal: Refusal, isFaultless?: boolean): void;
  /** A `relay.*` event, for a client that asked for them. */
  notify(type: string, fields: JsonObject): void;
  /** What a tool has brought for the client: a `relay.*` event, or one that its profile has asked for in its place. */
  tell(type: string, fields: JsonObject): void;
  /** The last thing the client hears; null for nothing. */
  farewell(id: ExitId, message: string | undefined, retryAfterMs: number | undefined): RealtimeEvent | null;
  /** The session is over. */
  close(): void;
}

/** What happens to events, and what upstream is to be configured with. */
type Connected = Lists & { readonly session: JsonObject };

/** What a front needs of its session. */
interface FrontPorts {
  readonly metrics: Metrics;
  readonly admission: Admission;
  readonly chronicle: Pick<Chronicle, 'reported' | 'violated' | 'dropped'>;
  /** The leg to upstream, once there is one. */
  attachment(): Attachment | null;
  state(): Facts['state'] | 'closed';
  end(id: ExitId, initiator: Initiator, ending: Ending): void;
}

const none: ReadonlySet<string> = new Set();

/** For a client that talks through the relay. */
export function createFront(client: Leg, ports: FrontPorts): Front {
  return new RelayingFront(client, ports);
}

class RelayingFront implements Front {
  readonly imposed: Impositions;
  readonly #client: Leg;
  readonly #ports: FrontPorts;
  readonly #replies: Replies;
  readonly #policy: Policy;
  readonly #interruption: Interruption;
  #limits: Limits | null = null;

  constructor(client: Leg, ports: FrontPorts) {
    const { metrics, admission, chronicle, attachment, state, end } = ports;
    const { profile, principal, model, relayEvents } = admission;
    this.imposed = createImposed(profile, principal.claims);
    this.#client = client;
    this.#ports = ports;
    const replies = new Replies({
      client,
      mostBuffered: 2 * admission.limits.hold_bytes,
      mostRefusals: profile.limits.refusals,
      relayEvents,
      isOpen: () => state() !== 'closed',
      end: (id, message) => end(id, 'client', { message }),
    });
    this.#replies = replies;
    this.#policy = new Policy(this.imposed, model, {
      refuse: (refusal, race) => replies.refuse(refusal, race),
      eventId: () => replies.eventId(),
      answer: (body) => replies.answer(body),
      reported: (detail) => chronicle.reported(detail),
      ignored(type, fields, eventId) {
        metrics.traffic.up.event(type, 'trimmed');
        replies.ignored(fields, eventId);
      },
      decided: (direction, type, decision) => metrics.traffic[direction].event(type, decision),
    });
    this.#interruption = createInterruption({
      running: () => attachment()?.turns.running ?? none,
      drop: (response) => chronicle.dropped(client.dropSpeech(response)),
    });
  }

  get limits(): Limits | null {
    return this.#limits;
  }

  get refusals(): number {
    return this.#replies.refusals;
  }

  readonly named: Say = (body, after) => this.#policy.injected(body, after);

  readonly updated = (fields: JsonObject): JsonObject => this.#policy.updated(fields);

  readonly put = (body: JsonObject): JsonObject => this.#policy.put(body);

  has(itemId: string): boolean {
    return this.#policy.has(itemId);
  }

  connect(parts: Parts): Connected {
    const { admission, attachment } = this.#ports;
    // From here on the client is read.
    this.#limits ??= createLimits(
      admission.profile.limits,
      () => attachment()?.meter.inputRate() ?? 0,
      (refusal) => this.refuse(refusal),
    );
    const own = { limits: this.#limits, policy: this.#policy, interruption: this.#interruption };
    return { ...relayed({ ...parts, ...own }), session: this.imposed.whole() };
  }

  opened(effective: JsonObject, expiresAt: number): void {
    const session = this.#policy.sessionCreated(effective, this.#ports.admission.id, expiresAt);
    this.#client.send(eventOf({ type: family.down.greeting, event_id: this.#replies.eventId(), session }));
  }

  renewed(expiresAt: number, isTold = true): void {
    this.#policy.ends(expiresAt);
    if (isTold) this.notify('relay.authenticated', { expires_at: expiresAt });
  }

  eventId(): string {
    return this.#replies.eventId();
  }

  withdrawn(eventId: string, isRefused: boolean): void {
    if (isRefused) this.#policy.refuseAsk(eventId);
    else this.#policy.withdrawn(eventId);
  }

  hush(response: JsonObject): void {
    this.#policy.hush(response);
  }

  hide(itemId: string, previous: Json | undefined): void {
    this.#policy.hide(itemId, previous);
  }

  still(): void {
    const { chronicle } = this.#ports;
    chronicle.dropped(this.#client.dropSpeech(null));
  }

  drain(mayAsk: () => boolean): void {
    this.#policy.drain(mayAsk);
  }

  refuse(refusal: Refusal, isFaultless?: boolean): void {
    this.#replies.refuse(refusal, isFaultless);
  }

  notify(type: string, fields: JsonObject): void {
    this.#replies.notify(type, fields);
  }

  tell(type: string, fields: JsonObject): void {
    if (!this.#ports.admission.relayEvents && type.startsWith('relay.')) return;
    this.#replies.answer({ type, event_id: this.#replies.eventId(), ...fields });
  }

  farewell(id: ExitId, message: string | undefined, retryAfterMs: number | undefined): RealtimeEvent | null {
    return this.#replies.farewell(id, message, retryAfterMs);
  }

  readonly close = nothing;
}

type BesidePorts = Pick<FrontPorts, 'admission' | 'chronicle' | 'end'> & { readonly clock: Clock };

/** Items whose ids are remembered. */
const mostKnown = 4096;

/** For a client that talks to upstream. */
export function createFrontBeside({ admission, chronicle, clock, end }: BesidePorts): Front {
  const { profile, principal } = admission;
  const imposed = createImposed(profile, principal.claims);
  const { silence } = imposed;
  const patches = createPatches(imposed, clock, again);
  const name = createNames();
  const known = new Bounded<true>(mostKnown);
  let guard: Guard | null = null;

  function again(session: JsonObject): void {
    try {
      guard?.look(session);
    } catch (error) {
      const { id, message, cause } = RelayError.from(error);
      end(id, 'client', { message, cause });
    }
  }

  return {
    imposed,
    limits: null,
    get refusals() {
      return guard?.violations ?? 0;
    },
    named(body) {
      const said = name(body);
      if (body.type !== family.up.configure) return said;
      return { ...said, session: silence.sending(String(said.event_id), objectOf(body.session), true) };
    },
    updated: patches.send,
    put(body) {
      const item = objectOf(body.item);
      const id = typeof item.id === 'string' ? item.id : `item_${randomBytes(12).toString('hex')}`;
      known.set(id, true);
      return name({ ...body, item: { ...item, id } });
    },
    has: (itemId) => known.has(itemId),
    connect(parts) {
      const { reached, say } = parts.attachment;
      const watch = createWatch(imposed, reached.shared ?? {});
      const rules = {
        watch,
        patches,
        violations: profile.webrtc.violations,
        reportOnly: profile.client.report_only,
        isForged: (item: JsonObject) => parts.tools?.isForged(item) ?? false,
      };
      guard = createGuard(rules, {
        say,
        added: (itemId) => known.set(itemId, true),
        violated: (fields, times) => chronicle.violated(fields, times),
      });
      return { ...beside({ ...parts, heed: createHeed(imposed), guard }), session: watch.imposed };
    },
    opened: nothing,
    renewed: nothing,
    eventId: () => '',
    withdrawn: nothing,
    hush: nothing,
    hide: nothing,
    still: nothing,
    ...{ drain: nothing, refuse: nothing, notify: nothing, tell: nothing },
    farewell: () => null,
    close: patches.close,
  };
}

function nothing(): void {}
