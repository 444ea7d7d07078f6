/** What the user's microphone has sent and a fresh leg would need: a little of the past, and what is being said. Bounded. */

import { type Json, type JsonObject, objectOf, type RealtimeEvent } from '../../protocol/event.js';
import { family } from '../../protocol/family.js';

/** A piece of sound as it was sent; positions count the bytes of all sound of the session. */
export interface Piece {
  readonly from: number;
  readonly to: number;
  readonly message: Buffer;
  /** When it was sent, by the monotonic clock. */
  readonly sentAt: number;
}

/** A stretch of sound. */
interface Stretch {
  readonly from: number;
  readonly to: number;
  readonly pieces: readonly Piece[];
  /** In base64, where it came with an item. */
  readonly audio?: string;
}

/** At most so much of what is being said, or waits for its words, is kept. */
const longestSeconds = 30;
const mostUtterances = 16;

function bytesOf(pieces: readonly Piece[]): number {
  let sum = 0;
  for (const { message } of pieces) sum += message.length;
  return sum;
}

export class Microphone {
  /** At least, while nobody speaks. */
  readonly #leastSeconds: number;
  #lookBackSeconds: number;
  #pieces: Piece[] = [];
  /** Where what is not needed ends: all before it is part of an utterance, or was cleared. */
  #floor: number;
  #speechFrom: number | null = null;
  #speechTo: number | null = null;
  #speechItem: string | null = null;
  /** By item: what was said and is not known in words yet. */
  readonly #utterances = new Map<string, Stretch>();
  #rate = 48_000;
  #detects = true;
  /** Bytes of sound so far. */
  position: number;
  /** Bytes of what was being said that had to be let go of. */
  lostBytes = 0;

  constructor(lookBackSeconds: number, position: number) {
    this.#leastSeconds = lookBackSeconds;
    this.#lookBackSeconds = lookBackSeconds;
    this.#floor = position;
    this.position = position;
  }

  /** Bytes that are kept. Asked for once a second of every session, so that nothing is made to add it up. */
  get bytes(): number {
    let sum = bytesOf(this.#pieces);
    for (const { pieces, audio = '' } of this.#utterances.values()) sum += bytesOf(pieces) + audio.length;
    return sum;
  }

  get bytesPerMs(): number {
    return this.#rate / 1000;
  }

  /** The item that is being spoken, as far as upstream has said so. */
  get speaking(): { readonly itemId: string; readonly isOver: boolean } | null {
    return this.#speechItem === null ? null : { itemId: this.#speechItem, isOver: this.#speechTo !== null };
  }

  /** Takes note of the session as upstream runs it. */
  configured(inputRate: number, session: JsonObject): void {
    this.#rate = inputRate;
    const { turn_detection: detection } = objectOf(objectOf(session.audio).input);
    this.#detects = detection !== null;
    const { prefix_padding_ms: padding } = objectOf(detection);
    // What stands before a word, and until it is noticed.
    this.#lookBackSeconds = Math.max(this.#leastSeconds, typeof padding === 'number' ? padding / 1000 + 1 : 0);
  }

  /** Keeps a copy of sound on its way upstream, whose bytes are of no use afterwards. */
  keep({ raw, body, audioBytes }: RealtimeEvent): void {
    const message = raw ? Buffer.from(raw) : Buffer.from(JSON.stringify(body));
    const from = this.position;
    this.position += raw ? audioBytes : Buffer.byteLength(String(body?.audio), 'base64');
    this.#pieces.push({ from, to: this.position, message, sentAt: performance.now() });
    this.#trim();
  }

  /** Where what a fresh leg is sent begins. */
  get start(): number {
    if (!this.#detects) return this.#floor;
    if (this.#speechFrom !== null) return this.#speechFrom;
    // What came all at once is heard later than it was sent.
    const since = performance.now() - this.#lookBackSeconds * 1000;
    const fresh = this.#pieces.find(({ sentAt }) => sentAt > since)?.from ?? this.position;
    return Math.max(this.#floor, Math.min(fresh, this.position - this.#lookBackSeconds * this.#rate));
  }

  /** What a fresh leg is sent, with nothing before `start`. */
  pending(): Piece[] {
    const { start } = this;
    return this.#pieces.filter(({ to }) => to > start).map((piece) => behind(piece, start));
  }

  /** The sound of an item in base64; null where it is not kept. */
  soundOf(itemId: string): string | null {
    const kept = this.#utterances.get(itemId);
    if (kept === undefined) return null;
    if (kept.audio !== undefined) return kept.audio;
    const sounds = kept.pieces.map((piece) => audioOf(before(behind(piece, kept.from), kept.to)));
    return sounds.length === 0 ? null : Buffer.concat(sounds).toString('base64');
  }

  /** Keeps the sound that an item of the client's is made of, in base64. */
  brought(itemId: string, audio: string): void {
    this.#utterances.set(itemId, { from: 0, to: Math.floor((audio.length * 3) / 4), pieces: [], audio });
    this.#trimUtterances();
  }

  /** The words of an item are known: its sound is not needed. */
  worded(itemId: string): void {
    this.#utterances.delete(itemId);
  }

  /** Takes note of an event of upstream whose times count from the beginning of the session; `sentAt` is where a commit was sent. */
  saw(type: string, body: JsonObject, sentAt: number): void {
    switch (type) {
      case family.down.speechBegun:
        this.#speaks(this.#at(body.audio_start_ms));
        this.#speechItem = String(body.item_id);
        this.#speechTo = null;
        break;
      case family.down.speechEnded:
      case family.down.silence:
        this.#speechTo = this.#at(body.audio_end_ms);
        this.#speechItem = String(body.item_id);
        break;
      case family.down.committed:
        this.#committed(String(body.item_id), sentAt);
        break;
      case family.down.cleared:
        this.#passed(sentAt);
        break;
      case family.down.transcribed:
      case family.down.deleted:
        this.#utterances.delete(String(body.item_id));
    }
  }

  #speaks(from: number): void {
    const first = this.#pieces[0]?.from ?? this.position;
    this.#speechFrom = Math.max(this.#floor, first, from);
    if (from >= this.#floor && from < first) this.lostBytes += first - from;
  }

  #at(ms: Json | undefined): number {
    const at = typeof ms === 'number' ? ms * this.bytesPerMs : this.position;
    return Math.min(this.position, Math.round(at));
  }

  #committed(itemId: string, sentAt: number): void {
    const isMine = this.#speechItem === itemId;
    const to = (isMine && this.#speechTo) || sentAt;
    const from = (isMine && this.#speechFrom) || this.#floor;
    const pieces = this.#pieces.filter((piece) => piece.to > from && piece.from < to);
    if (pieces.length > 0) this.#utterances.set(itemId, { from, to, pieces });
    this.#passed(to);
    this.#trimUtterances();
  }

  #passed(to: number): void {
    this.#floor = Math.max(this.#floor, to);
    this.#speechFrom = null;
    this.#speechTo = null;
    this.#speechItem = null;
    this.#trim();
  }

  #trim(): void {
    const { start } = this;
    const least = this.position - longestSeconds * this.#rate;
    const keepsFrom = Math.max(start, least);
    let gone = 0;
    while (gone < this.#pieces.length && (this.#pieces[gone] as Piece).to <= keepsFrom) gone++;
    if (gone === 0) return;
    if (least > start) {
      this.lostBytes += least - start;
      this.#floor = least;
      if (this.#speechFrom !== null) this.#speechFrom = least;
    }
    this.#pieces.splice(0, gone);
  }

  #trimUtterances(): void {
    const most = longestSeconds * this.#rate;
    let left = 0;
    for (const [id, { from, to }] of [...this.#utterances].reverse()) {
      left += to - from;
      if (left > most || this.#utterances.size > mostUtterances) this.#utterances.delete(id);
    }
  }
}

/** What of a piece is not before a position. */
function behind(piece: Piece, at: number): Piece {
  if (piece.from >= at) return piece;
  return cut(piece, audioOf(piece).subarray(at - piece.from), at);
}

function before(piece: Piece, at: number): Piece {
  return piece.to <= at ? piece : cut(piece, audioOf(piece).subarray(0, at - piece.from), piece.from);
}

function cut({ message, sentAt }: Piece, sound: Buffer, from: number): Piece {
  const body = { ...(JSON.parse(String(message)) as JsonObject), audio: sound.toString('base64') };
  return { from, to: from + sound.length, sentAt, message: Buffer.from(JSON.stringify(body)) };
}

function audioOf({ message }: Piece): Buffer {
  return Buffer.from(String((JSON.parse(String(message)) as JsonObject).audio), 'base64');
}
