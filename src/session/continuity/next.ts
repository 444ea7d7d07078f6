/** The leg that is to take the place of the one a session has: it is reached, told what to run and what was said, and waits. */

import type { Cancel, Clock } from '../../clock.js';
import { RelayError } from '../../errors.js';
import { relayPrefix } from '../../protocol/catalogue.js';
import { eventOf, type JsonObject, objectOf, type Step } from '../../protocol/event.js';
import { family } from '../../protocol/family.js';
import type { Attachment } from '../attachment.js';
import type { Reached } from '../reach.js';
import type { Entry } from './entry.js';
import type { Mirror } from './mirror.js';

/** What a next leg needs of its session. */
export interface NextPorts {
  readonly clock: Clock;
  readonly configureMs: number;
  reach(signal: AbortSignal): Promise<Reached>;
  /** Makes it a leg of the session that is not the session's own yet. */
  attach(reached: Reached, ready: (session: JsonObject) => void, failed: (error: unknown) => void): Attachment;
  mirror(attachment: Attachment, settled: () => void): Mirror;
  /** Lets what comes on it in. */
  listen(attachment: Attachment): void;
  /** What it is to run, and a number that another thing to run has another of. */
  imposed(): { readonly session: JsonObject; readonly version: number };
  /** The field of which it says something else than the leg before it; undefined where there is none. */
  differs(session: JsonObject): string | undefined;
  /** Something has come of what it was told. */
  looked(): void;
  /** It is of no use any more, after it was ready. */
  failed(): void;
}

/** For what a leg was told of the past to be acknowledged. */
const replayMs = 5000;

/** A leg on its way. */
export class Next {
  readonly #ports: NextPorts;
  readonly #stop = new AbortController();
  #attachment: Attachment | null = null;
  #mirror: Mirror | null = null;
  #version = -1;
  /** Updates that it has yet to acknowledge. */
  #updates = 0;
  #limit: Cancel | null = null;
  #isGone = false;
  #isReady = false;
  #expiresAt: unknown = null;
  /** Whether it can take over, once that is known. */
  ready: Promise<boolean> = Promise.resolve(false);
  #settle: { readonly resolve: () => void; readonly reject: (error: unknown) => void } | null = null;

  constructor(ports: NextPorts) {
    this.#ports = ports;
  }

  get attachment(): Attachment {
    return this.#attachment as Attachment;
  }

  get mirror(): Mirror {
    return this.#mirror as Mirror;
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  /** When it will end by its own word; of no meaning before it is ready. */
  get expiresAt(): unknown {
    return this.#expiresAt;
  }

  /** Reaches it, and has it run what is imposed and know what was said; whether that has come to something. */
  prepare(entries: () => readonly Entry[], bySound: boolean): Promise<boolean> {
    this.ready = this.#prepare(entries, bySound).then(
      () => true,
      () => {
        this.close();
        return false;
      },
    );
    return this.ready;
  }

  async #prepare(entries: () => readonly Entry[], bySound: boolean): Promise<void> {
    const reached = await this.#ports.reach(this.#stop.signal);
    await this.#configured(reached);
    reached.heard();
    await this.#until(replayMs, () => {
      this.look(entries(), bySound);
      if (this.#mirror?.isSettled) this.#settle?.resolve();
    });
    this.#isReady = true;
  }

  /** It is the session's from now on. */
  taken(): void {
    this.#isGone = true;
    this.attachment.onGone = null;
  }

  async #configured(reached: Reached): Promise<void> {
    const { attach, mirror, listen, imposed, differs, configureMs } = this.#ports;
    let refused: string | undefined;
    await this.#until(configureMs, () => {
      const ready = (session: JsonObject) => {
        // What has changed meanwhile is told, and judged, later.
        refused = imposed().version === this.#version ? differs(session) : undefined;
        this.#expiresAt = session.expires_at;
        this.#settle?.resolve();
      };
      const attachment = attach(reached, ready, this.#fail);
      this.#attachment = attachment;
      attachment.onGone = () => this.#fail(new RelayError('upstream_lost', 'The next leg is gone.'));
      this.#mirror = mirror(attachment, () => this.#looked());
      const steps = [attachment.configuring, this.#mirror.step, this.#rest];
      attachment.down.connect({ from: reached.leg, to: null, steps, limits: null });
      const { session, version } = imposed();
      this.#version = version;
      attachment.configure(session);
      listen(attachment);
    });
    if (refused === undefined) return;
    throw new RelayError(
      'upstream_configuration_failed',
      `The upstream runs another ${refused} than the one before it.`,
    );
  }

  /** Waits for what is begun here to come to something. */
  #until(ms: number, begin: () => void): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#limit = this.#ports.clock.at(ms, () =>
        reject(new RelayError('upstream_timeout', 'The upstream took too long to take over a session.')),
      );
      begin();
    }).finally(() => {
      this.#limit?.();
      this.#settle = null;
    });
  }

  #looked(): void {
    this.#settle?.resolve();
    this.#ports.looked();
  }

  readonly #fail = (error: unknown): void => {
    if (this.#isGone) return;
    this.#settle?.reject(error);
    if (!this.#isReady) return;
    this.close();
    this.#ports.failed();
  };

  /** What else it says before it is anybody's: whether it runs what was changed meanwhile. */
  readonly #rest: Step = ({ type, body }) => {
    if (type === family.down.configured) {
      this.#updates = Math.max(0, this.#updates - 1);
      const isLast = this.#updates === 0 && this.#ports.imposed().version === this.#version;
      if (isLast && this.#ports.differs(objectOf(body?.session)) !== undefined) this.#fail(null);
      this.#ports.looked();
    } else if (type === family.down.error && objectOf(body?.error).event_id === updateId) {
      this.#fail(new RelayError('upstream_configuration_failed', 'The next leg does not take what has changed.'));
    }
    return null;
  };

  /** Tells it what has changed since; whether it knows and runs all there is. */
  look(entries: readonly Entry[], bySound: boolean): boolean {
    const { session, version } = this.#ports.imposed();
    if (version !== this.#version) {
      this.#version = version;
      this.#updates++;
      this.#attachment?.reached.leg.send(eventOf({ type: family.up.configure, event_id: updateId, session }));
    }
    this.#mirror?.sync(entries, bySound);
    return this.#updates === 0 && this.mirror.isAbreast(entries);
  }

  /** It is not wanted any more. */
  close(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#stop.abort(new RelayError('normal', 'The next leg is not wanted any more.'));
    this.#settle?.reject(new RelayError('normal', 'The next leg is not wanted any more.'));
    this.#limit?.();
    this.#attachment?.letGo();
    this.#attachment?.reached.leave();
  }
}

const updateId = `${relayPrefix}reconfigure`;
