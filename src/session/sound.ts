/** How much of an answer's sound there was, and how much of it was heard before it was cut. */

/** Between the client's socket and the user's ear. */
const delayMs = 2000;

/** The sound of one answer; times are monotonic, in milliseconds. */
export class Sound {
  /** When the first of it was sent to the client; null before that. */
  #startedAt: number | null = null;
  /** Since when the client is known to have the first of it; null while it is not. */
  #readAt: number | null = null;
  #ms = 0;
  /** Messages, and those of them that were dropped before they were sent, in bytes. */
  #bytes = 0;
  #dropped = 0;

  /** Milliseconds of all that was forwarded. */
  get ms(): number {
    return this.#ms;
  }

  get startedAt(): number | null {
    return this.#startedAt;
  }

  /** A message of so many bytes with so much sound is sent to the client. */
  add(ms: number, bytes: number, now: number): void {
    this.#startedAt ??= now;
    this.#ms += ms;
    this.#bytes += bytes;
  }

  /** The client has the first of it, or nobody can know and it was sent. */
  read(now: number): void {
    this.#readAt ??= now;
  }

  /** So many bytes of messages were taken back, the last ones first; gives what of them was not of this answer. */
  drop(bytes: number): number {
    const own = Math.min(bytes, this.#bytes - this.#dropped);
    this.#dropped += own;
    return bytes - own;
  }

  /**
   * Milliseconds that were heard when a client said so: not less than it has had the time to play, since who says 0 would
   * erase what was said, and not more than it was sent.
   */
  heardMs(claimedMs: number, now: number): number {
    const sent = this.#bytes === 0 ? 0 : this.#ms * (1 - this.#dropped / this.#bytes);
    const played = this.#readAt === null ? 0 : now - this.#readAt - delayMs;
    return Math.min(sent, Math.max(claimedMs, played));
  }
}
