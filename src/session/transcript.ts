/**
 * The turns of a session in the order of the conversation: each goes out as a record when nothing more will be known of it and of
 * all before it.
 */

import type { Clock } from '../clock.js';
import { Bounded } from '../policy/bounded.js';
import type { Profile } from '../policy/profile.js';
import type { Utterance } from '../telemetry/records.js';
import { Chain } from './chain.js';
import { recordOf, type Turn, turnOf } from './utterance.js';

/** What a transcript needs of its session. */
export interface TranscriptPorts {
  readonly clock: Clock;
  readonly include: Profile['transcripts']['include'];
  /** The time of day at a moment of the monotonic clock. */
  wallOf(at: number): number;
  /** The next record. */
  said(utterance: Utterance): void;
}

/** Items that wait; beyond that the first waits no longer. */
const mostWaiting = 128;
const mostLoose = 64;
const mostTools = 64;

export class Transcript {
  readonly #ports: TranscriptPorts;
  readonly #chain = new Chain<Turn>();
  /** Known, and without a place yet: speech that is not over, the items of a response before they are announced. */
  readonly #loose = new Bounded<Turn>(mostLoose);
  /** Called since the last answer that went out. */
  #tools: string[] = [];

  constructor(ports: TranscriptPorts) {
    this.#ports = ports;
  }

  /** Those that have a place and wait, in order. */
  get waiting(): readonly Turn[] {
    return [...this.#chain];
  }

  /** Whether it has, or had, a place. */
  isPlaced({ id }: Turn): boolean {
    return this.#chain.knows(id);
  }

  find(id: unknown): Turn | undefined {
    return this.#chain.find(String(id)) ?? this.#loose.get(String(id));
  }

  /** The turn of an item, which need not have a place yet; undefined for one that has gone out. */
  turn(id: unknown): Turn | undefined {
    if (typeof id !== 'string' || id === '' || id.length > 512) return undefined;
    const known = this.find(id);
    if (known || this.#chain.knows(id)) return known;
    const turn = turnOf(id, performance.now());
    this.#loose.set(id, turn);
    return turn;
  }

  place(turn: Turn, previous: unknown): void {
    this.#loose.delete(turn.id);
    this.#chain.place(turn, previous);
    const { first } = this.#chain;
    if (this.#chain.length > mostWaiting && first) this.conclude(first);
  }

  /** A response is over: what of it has found no place is not part of the conversation. */
  forget(response: unknown): void {
    for (const [id, turn] of [...this.#loose.entries()]) {
      if (turn.response !== null && turn.response === response) this.#loose.delete(id);
    }
  }

  /** Nothing more will be known of it. */
  finish(turn: Turn): void {
    turn.cancel?.();
    turn.cancel = null;
    turn.isFinal = true;
  }

  /** The same in a while, unless that is said anew. */
  finishIn(turn: Turn, ms: number): void {
    turn.cancel?.();
    turn.cancel = this.#ports.clock.at(ms, () => {
      this.conclude(turn);
      this.advance();
    });
  }

  /** Nobody waits any longer for what is missing. */
  conclude(turn: Turn): void {
    if (turn.isFinal) return;
    if (turn.speaker === 'user') turn.status = 'failed';
    else if (!turn.isOver && turn.status === 'completed') turn.status = 'interrupted';
    this.finish(turn);
  }

  /** What is known to the end goes out, as far as nothing before it waits. */
  advance(): void {
    for (let turn = this.#chain.first; turn?.isFinal; turn = this.#chain.first) {
      this.#chain.shift();
      if (turn.tool !== null && this.#tools.length < mostTools) this.#tools.push(turn.tool);
      const record = recordOf(turn, this.#ports.include, this.#tools, (at) => this.#ports.wallOf(at));
      if (record?.role === 'assistant') this.#tools = [];
      if (record) this.#ports.said(record);
    }
  }

  /** Nothing more will come: what waits goes out, in order. */
  close(): void {
    for (const turn of this.waiting) this.conclude(turn);
    this.advance();
  }
}
