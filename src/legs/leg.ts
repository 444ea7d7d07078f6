/** What a session knows of a peer, whoever it is: events come from it, and events are sent to it; both are in GA always. */

import type { Duplex } from 'node:stream';
import type { ExitId, RelayError } from '../errors.js';
import type { JsonObject, RealtimeEvent, Refusal } from '../protocol/event.js';
import type { ClientSocket } from './client-socket.js';

/** Why a leg is held; each reason stands and falls by itself. */
export type Hold = 'opening' | 'full' | 'rate' | 'memory' | 'swap' | 'detached';

/** Since when, by the monotonic clock, a leg has been held without a break, and the latest reason. */
export interface Stretch {
  readonly since: number;
  readonly why: Hold;
}

/** How a session takes leave of a peer. */
export interface Farewell {
  readonly id: ExitId;
  /** The last thing it hears; null where there is nothing to say. */
  readonly event: RealtimeEvent | null;
  /** What the close frame of a client says; left out: the exit. */
  readonly reason?: string;
}

/** What a leg tells its session. Nothing of the first three is told while the leg is held. */
export interface LegEvents {
  /**
   * An event came in so many bytes; 0 for what came with the one before, and for what the leg itself has to say. Its frame
   * is good for this turn only: who keeps the event `detaches` it.
   */
  event(event: RealtimeEvent, bytes: number, arrivedMs: number): void;
  /** What came is no event. */
  unreadable(error: unknown, bytes: number, arrivedMs: number): void;
  /** What came cannot be said in GA: what to tell the peer, or null where nothing is lost. */
  untranslated(refusal: Refusal | null, bytes: number, arrivedMs: number): void;
  /** A binary frame came; events are text frames. */
  binary(): void;
  /** The connection is gone or of no more use. Called once. */
  closed(code: number, reason: string): void;
  /** What was waiting to be written has fallen to half the limit. */
  drained(): void;
  /** The peer broke the rules of its connection, which is being closed with this code. */
  violated(error: RelayError, code: number): void;
  /** The peer answers no pings, so that nobody can know how much of what was sent it has read. Called once at most. */
  unanswered?(): void;
  /** One of these, or what was put off for later, threw. The connection is of no more use. */
  failed(error: unknown): void;
  /** A reason to hold has fallen, after so many seconds. */
  released(why: Hold, seconds: number): void;
}

/** One peer of a session. It is handed over before anything was read from it. */
export interface Leg {
  /** Lets it flow. */
  start(on: LegEvents): void;
  /** Sends an event: in its own frame where it stands in one, whose bytes are of no use to anyone afterwards. */
  send(event: RealtimeEvent): void;
  /** What the peer has no words for in an event; null where there is nothing. Left out: it has words for everything. */
  unsaid?(body: JsonObject): Refusal | null;
  /** Writes what was sent in this turn now, and not at its end. */
  flush(): void;
  /** Drops speech that the peer has yet to be sent: all of it, or that of one response. Gives the bytes of it. */
  dropSpeech(response: string | null): number;
  /**
   * Calls back once the peer has read what it is sent next, as far as its pongs prove that; false while it has never proved
   * anything.
   */
  whenRead(done: () => void): boolean;
  /** Passes nothing on until this reason, and each other that stands, is released; what comes is read and waits. */
  hold(why: Hold): void;
  /** Takes a reason to hold back; with the last of them what waits is passed on. */
  release(why: Hold): void;
  readonly isHeld: boolean;
  /** Null when nothing holds it. */
  readonly held: Stretch | null;
  /** Whether more waits for the peer than may; `drained` is told when there is room again. */
  readonly isFull: boolean;
  /** Bytes that were sent and not yet taken by the operating system. */
  readonly bufferedBytes: number;
  /** Bytes that came in and wait to be passed on. */
  readonly waitingBytes: number;
  /** Bytes that are kept of messages whose end has not come yet. */
  readonly begunBytes: number;
  /**
   * Pings a quiet peer and says whether it is still there. To be called about once a second, with a monotonic clock.
   * @param isDue whether something is due from it, so that it must not take long to find out
   */
  isAlive(nowMs: number, isDue: boolean): boolean;
  /** How long nothing has come, to a second or so; 0 for a peer that is not read. */
  quietMs(nowMs: number): number;
  /** How long the peer has taken nothing of what waits for it, as of the last look. */
  stalledMs(nowMs: number): number;
  /** Asks for a sign of life. */
  ask(): void;
  /** Says goodbye behind all that waits but speech, and tells nothing any more. */
  close(farewell: Farewell): void;
  /** Cuts the connection without a goodbye. */
  terminate(): void;
}

/** A connection of a client whose handshake is done, and from which nothing was read yet. */
export interface Connection {
  readonly socket: ClientSocket;
  readonly stream: Duplex;
}

/** What a client will never get of what was said to it. */
export interface Missed {
  readonly messages: number;
  readonly audioBytes: number;
}

/** Who is told what becomes of the connections of a client. */
export interface LinePorts {
  /** Whether the session goes on without a client for a while. */
  mayDetach(): boolean;
  /** The connection has broken, with this code; 0 where it was not heard of any more. */
  detached(closeCode: number): void;
  /** Something has come over the connection that was taken up last. */
  proved(): void;
  /** The client had to leave out so much sound that it had numbered. */
  lost(audioMs: number): void;
}

/** A client's leg whose connection may break and be replaced, as its session knows it beside the leg. */
export interface Line {
  /** Names who is told of its connections; before that none is replaced. */
  follow(ports: LinePorts): void;
  /** Whether there is no connection. */
  readonly isDetached: boolean;
  /** Messages that have come, over all connections. */
  readonly received: number;
  /** Whether the client should be told how many; `counted` gives that, and is to be told. */
  readonly owesCount: boolean;
  counted(): number;
  /** Bytes that are kept for another connection. */
  readonly keptBytes: number;
  /** Whether something is missing that no connection can bring any more. */
  readonly isSpoilt: boolean;
  /** Whether a client can have so many messages. */
  mayHave(count: number): boolean;
  /** Whether a client that has so many can be given all that it must have. */
  reaches(count: number): boolean;
  /**
   * Goes on over another connection, whose client has so many messages. `greet` makes the first thing that it hears; a
   * connection that is there still takes its leave.
   */
  attach(connection: Connection, count: number, greet: (missed: Missed) => RealtimeEvent, farewell: Farewell): void;
}
