/** What sessions of several users have met within a minute is no fault of one of them. */

const withinMs = 60_000;
const mostUsers = 3;

/** The suspicions against one upstream. */
export class Suspicions {
  readonly #now: () => number;
  #met: readonly { readonly user: string; readonly at: number }[] = [];

  /** @param now monotonic milliseconds */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** A session of this user has met one; whether enough of them have. */
  add(user: string): boolean {
    const now = this.#now();
    const others = this.#met.filter((one) => one.user !== user && now - one.at < withinMs);
    this.#met = [...others, { user, at: now }].slice(-mostUsers);
    return this.#met.length >= mostUsers;
  }
}
