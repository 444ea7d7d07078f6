/** The operator's webhooks: each gets the types of messages that it asks for. */

import type { NoticeType } from '../telemetry/records.js';
import { Target, type TargetServices } from './target.js';

/** Where messages go, and which. */
export interface WebhookSettings {
  readonly url: string;
  /** In base64, with or without the prefix `whsec_`; the new one first while it takes the place of another. */
  readonly secrets: readonly string[];
  readonly events: readonly NoticeType[];
}

/** A message about a session. */
export interface Notice {
  readonly type: NoticeType;
  /** RFC 3339. */
  readonly timestamp: string;
  readonly session: string;
  /** Of the session, over all types. */
  readonly seq: number;
  /** Whose session it is; one user's messages do not fill the room of others. */
  readonly user: string;
  readonly data: object;
}

interface Entry {
  readonly target: Target;
  readonly events: ReadonlySet<NoticeType>;
}

/** All webhooks of a process. */
export class Webhooks {
  readonly #services: TargetServices;
  #entries: readonly Entry[] = [];
  #isHurried = false;
  /** Targets that the settings do not have any more, until they are closed. */
  readonly #leaving = new Set<Promise<void>>();

  constructor(list: readonly WebhookSettings[], services: TargetServices) {
    this.#services = services;
    this.use(list);
  }

  /**
   * From now on these. What waits for one that stays is signed with its new secrets; what waits for one that is gone is
   * dropped. Of several with one URL, the first stays the first.
   */
  use(list: readonly WebhookSettings[]): void {
    const old = this.#entries.map(({ target }) => target);
    this.#entries = list.map(({ url, secrets, events }) => {
      const at = old.findIndex((target) => target.url === url);
      const [stays] = at < 0 ? [] : old.splice(at, 1);
      stays?.use(secrets);
      return { target: stays ?? this.#opened(url, secrets), events: new Set(events) };
    });
    for (const target of old) {
      const left = target.close(0);
      this.#leaving.add(left);
      void left.finally(() => this.#leaving.delete(left));
    }
  }

  #opened(url: string, secrets: readonly string[]): Target {
    const target = new Target(url, secrets, this.#services);
    if (this.#isHurried) target.hurry();
    return target;
  }

  /** Whether anybody wants to be told of this. */
  wants(type: NoticeType): boolean {
    return this.#entries.some(({ events }) => events.has(type));
  }

  /** Bytes of what waits. */
  get bytes(): number {
    return this.#entries.reduce((sum, { target }) => sum + target.bytes, 0);
  }

  /** Tells everybody who wants it; never throws and never waits. */
  send({ type, timestamp, session, seq, user, data }: Notice): void {
    if (!this.wants(type)) return;
    const body = JSON.stringify({ type, timestamp, data });
    const content = { id: `${session}_${seq}`, session, user, isUsage: type === 'session.usage', body };
    for (const { target, events } of this.#entries) if (events.has(type)) target.send(content);
  }

  /** The process is about to end. */
  hurry(): void {
    this.#isHurried = true;
    for (const { target } of this.#entries) target.hurry();
  }

  /** Waits so long at the most until all has arrived; what is left then is dropped. */
  async close(ms: number): Promise<void> {
    await Promise.all([...this.#entries.map(({ target }) => target.close(ms)), ...this.#leaving]);
  }
}
