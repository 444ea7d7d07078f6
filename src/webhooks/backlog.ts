/** What waits for one webhook, within bounds: when there is too much of it, whoever has most waiting loses some. */

/** A message on its way to a webhook. */
export interface Message {
  /** The same at every attempt. */
  readonly id: string;
  readonly session: string;
  readonly user: string;
  /** What must not be lost for anything else, and has a bound of its own. */
  readonly isUsage: boolean;
  readonly body: string;
  readonly bytes: number;
  /** `performance.now()` */
  readonly bornAt: number;
  attempts: number;
  /** Attempts since the time between them was set anew. */
  tries: number;
}

/** How much may wait. */
export interface Room {
  readonly messages: number;
  readonly bytes: number;
  readonly usage: number;
}

/** For one target. */
export const roomOfTarget: Room = { messages: 10_000, bytes: 32 * 1024 * 1024, usage: 1000 };
/** The part of it that one user may fill: the records of others must not be lost for theirs. */
const shareOfUser = 1 / 8;

/** Those of one session or one user, oldest first. */
class Pile {
  readonly messages = new Set<Message>();
  bytes = 0;

  add(message: Message): void {
    this.messages.add(message);
    this.bytes += message.bytes;
  }

  delete(message: Message): void {
    if (this.messages.delete(message)) this.bytes -= message.bytes;
  }

  isOver(messages: number, bytes: number): boolean {
    return this.messages.size > messages || this.bytes > bytes;
  }
}

/** All messages of one target that are neither delivered nor given up. */
export class Backlog {
  readonly #room: Room;
  readonly #all = new Pile();
  readonly #usage = new Pile();
  readonly #sessions = new Map<string, Pile>();
  readonly #users = new Map<string, Pile>();

  constructor(room: Room) {
    this.#room = room;
  }

  get size(): number {
    return this.#all.messages.size + this.#usage.messages.size;
  }

  get bytes(): number {
    return this.#all.bytes + this.#usage.bytes;
  }

  *[Symbol.iterator](): Iterator<Message> {
    yield* this.#usage.messages;
    yield* this.#all.messages;
  }

  /** Takes one in; gives those that there is no room for any more, which may be this one. `isBusy`: cannot be dropped now. */
  add(message: Message, isBusy: (message: Message) => boolean): readonly Message[] {
    if (message.isUsage) {
      this.#usage.add(message);
      return this.#usage.messages.size > this.#room.usage ? this.#drop(message) : [];
    }
    this.#all.add(message);
    const own = pileOf(this.#users, message.user);
    own.add(message);
    pileOf(this.#sessions, message.session).add(message);
    const { messages, bytes } = this.#room;
    const dropped: Message[] = [];
    // A message may be larger than those that make room for it.
    while (own.isOver(messages * shareOfUser, bytes * shareOfUser)) {
      const sessions = new Set([...own.messages].map(({ session }) => session));
      if (!this.#dropOf(sessions, isBusy, dropped)) break;
    }
    while (this.#all.isOver(messages, bytes)) {
      if (!this.#dropOf(this.#sessions.keys(), isBusy, dropped)) break;
    }
    return dropped;
  }

  /** Drops the newest of the session that has most waiting, among equals of the user who has. */
  #dropOf(sessions: Iterable<string>, isBusy: (message: Message) => boolean, dropped: Message[]): boolean {
    let victim: Message | null = null;
    let [most, mostOfUser] = [0, 0];
    for (const name of sessions) {
      const { messages, bytes } = this.#sessions.get(name) as Pile;
      const weight = Math.max(messages.size / this.#room.messages, bytes / this.#room.bytes);
      if (weight < most) continue;
      const newest = [...messages].findLast((message) => !isBusy(message));
      if (newest === undefined) continue;
      const ofUser = this.#users.get(newest.user)?.messages.size ?? 0;
      if (weight === most && ofUser <= mostOfUser) continue;
      [victim, most, mostOfUser] = [newest, weight, ofUser];
    }
    if (victim === null) return false;
    dropped.push(...this.#drop(victim));
    return true;
  }

  #drop(message: Message): readonly Message[] {
    this.delete(message);
    return [message];
  }

  /** Forgets one that is delivered or given up. */
  delete(message: Message): void {
    if (message.isUsage) {
      this.#usage.delete(message);
      return;
    }
    this.#all.delete(message);
    takeFrom(this.#users, message.user, message);
    takeFrom(this.#sessions, message.session, message);
  }
}

function pileOf(piles: Map<string, Pile>, name: string): Pile {
  const pile = piles.get(name) ?? new Pile();
  piles.set(name, pile);
  return pile;
}

function takeFrom(piles: Map<string, Pile>, name: string, message: Message): void {
  const pile = piles.get(name);
  pile?.delete(message);
  if (pile?.messages.size === 0) piles.delete(name);
}
