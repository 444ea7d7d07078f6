/** Whether a peer is still there: what was heard of it, and what it was asked. */

/** Liveness settings, in milliseconds. */
interface Heartbeat {
  /** How often a quiet peer is asked for a sign of life. */
  readonly pingMs: number;
  /** Time to answer the first ping since it was heard. */
  readonly pongMs: number;
  /** Who was heard within this is not gone. */
  readonly silenceMs: number;
}

/** How a peer is asked for a sign of life: at most times, and while something is due from it. */
export interface Heartbeats {
  readonly idle: Heartbeat;
  readonly due: Heartbeat;
}

/** A peer whose socket is not read is found gone only by writing to it, so it is written to this often. */
const unreadPingMs = 5000;
const longestLookMs = 2000;

/** What a look at a peer came to. */
interface Look {
  readonly isDead: boolean;
  /** Whether it has been quiet for long enough to be pinged. */
  readonly isToBeAsked: boolean;
}

export class Liveness {
  #heard = true;
  #lookedAt = 0;
  /** The look that found that something had come. */
  #heardAt = 0;
  #silentMs = 0;
  #unaskedMs = 0;
  /** Since the first ping that nothing followed; below 0: there is none. */
  #askedMs = -1;

  /** To be called with each piece that comes: a large message may take longer than the silence that is borne, and lets no pong pass. */
  heard(): void {
    this.#heard = true;
  }

  /** How long nothing has come, to a second or so. */
  quietMs(nowMs: number): number {
    return this.#heard ? 0 : nowMs - this.#heardAt;
  }

  /**
   * To be called about once a second, with a monotonic clock.
   * @param isRead whether the socket is read: who is not read is not heard, and not dead for it
   */
  look(nowMs: number, isRead: boolean, { pingMs, pongMs, silenceMs }: Heartbeat): Look {
    // A look that comes late says that we stood still, not that the peer did.
    const passed = Math.min(nowMs - this.#lookedAt, longestLookMs);
    this.#lookedAt = nowMs;
    this.#unaskedMs = this.#heard ? 0 : this.#unaskedMs + passed;
    if (this.#heard || !isRead) {
      this.#heardAt = nowMs;
      this.#silentMs = 0;
      this.#askedMs = -1;
    } else {
      this.#silentMs += passed;
      if (this.#askedMs >= 0) this.#askedMs += passed;
    }
    this.#heard = false;
    const isDead = this.#askedMs >= 0 && this.#askedMs >= pongMs && this.#silentMs >= silenceMs;
    const isToBeAsked = this.#unaskedMs >= (isRead ? pingMs : unreadPingMs);
    if (isToBeAsked) {
      this.#unaskedMs = 0;
      this.#askedMs = Math.max(0, this.#askedMs);
    }
    return { isDead, isToBeAsked };
  }
}
