/**
 * Writes down what is said in a session, for its transcript. A tap: it sees and cannot change, and is waited for by nobody.
 * Sources of what comes when: recordings of live sessions.
 */

import { Bounded } from '../policy/bounded.js';
import { base64Bytes } from '../protocol/audio.js';
import { type JsonObject, objectOf, type RealtimeEvent } from '../protocol/event.js';
import { family } from '../protocol/family.js';
import { bytesPerSecond } from './limits.js';
import type { Tap } from './taps.js';
import { Transcript, type TranscriptPorts } from './transcript.js';
import { addWords, isWordless, setContent, setWords, type Turn } from './utterance.js';

/** What a scribe needs of its session. */
interface ScribePorts extends TranscriptPorts {
  /** Calls back when the client has read what it is sent next; false when it was never known to have read anything. */
  whenRead(done: () => void): boolean;
  /** Words came for which nobody waited any more. */
  late(): void;
}

/** How long the words of an utterance may hold up what follows. */
const patienceMs = 5000;
/** Behind the end of the sound of an answer, in which it may still be cut. */
const behindMs = 1000;
/** Where upstream says when an answer has been played, for the case that it does not. */
const playingMs = 15_000;
const mostKnown = 128;
/** Source: OpenAI's guide to the costs of realtime sessions, of sound that the model makes. */
const msPerToken = 50;

export class Scribe {
  readonly #ports: ScribePorts;
  readonly #transcript: Transcript;
  /** Items that a backend has put in. */
  readonly #byBackend = new Bounded<true>(mostKnown);
  /** Responses that are being played, where upstream tells. */
  readonly #playing = new Bounded<true>(mostKnown);
  #transcribes = false;
  #bytesPerMs = bytesPerSecond(null) / 1000;
  /** When the client began to send what it will commit itself. */
  #recordingSince = 0;
  #recorded: { readonly from: number; readonly to: number } | null = null;

  constructor(ports: ScribePorts) {
    this.#ports = ports;
    this.#transcript = new Transcript(ports);
  }

  /** What listens. */
  readonly tap: Tap = {
    came: (event) => this.#came(event),
    after: (event) => this.#shown(event),
    passed: (event) => this.#passed(event),
  };

  /** A backend puts in an item of this id. */
  injected(id: string): void {
    this.#byBackend.set(id, true);
  }

  /** The session is over: what waits goes out. */
  close(): void {
    this.#transcript.close();
  }

  /** Speech of so many bytes is not sent to the client after all. */
  dropped(bytes: number): void {
    const turns = [...this.#transcript.waiting].reverse();
    turns.reduce((left, { sound }) => (left > 0 ? sound.drop(left) : 0), bytes);
  }

  #came({ type, body, raw }: RealtimeEvent): void {
    const isWords = type === family.down.words[0] || type === family.down.words[1];
    if (isWords) this.#heard(type, body ?? (JSON.parse(String(raw)) as JsonObject));
    else if (body) this.#on.get(type)?.(body);
  }

  /** Sound on its way to the client. */
  #shown({ type, itemId, body, raw, audioBytes }: RealtimeEvent): void {
    if (type !== family.down.audio) return;
    const turn = this.#transcript.find(itemId ?? body?.item_id);
    if (turn === undefined) return;
    const now = performance.now();
    const { sound } = turn;
    if (sound.startedAt === null) {
      if (turn.parts.length === 0) turn.startedAt = now;
      const isKnown = this.#ports.whenRead(() => sound.read(performance.now()));
      if (!isKnown) sound.read(now);
    }
    turn.isSpoken = true;
    turn.endedAt = now;
    const bytes = raw ? audioBytes : base64Bytes(body?.delta);
    sound.add(bytes / this.#bytesPerMs, raw?.length ?? bytes, now);
  }

  #passed({ type }: RealtimeEvent): void {
    if (type === family.up.audio) {
      if (this.#recordingSince === 0) this.#recordingSince = performance.now();
    } else if (type === family.up.commit) {
      this.#recorded = { from: this.#recordingSince, to: performance.now() };
      this.#recordingSince = 0;
    } else if (type === family.up.clear) this.#recordingSince = 0;
  }

  readonly #on: ReadonlyMap<string, (body: JsonObject) => void> = new Map([
    [family.down.configured, (body: JsonObject) => this.#configured(objectOf(body.session))],
    [family.down.speechBegun, ({ item_id }: JsonObject) => this.#speaks(item_id, true)],
    [family.down.speechEnded, ({ item_id }: JsonObject) => this.#speaks(item_id, false)],
    [family.down.committed, (body: JsonObject) => this.#committed(body)],
    [family.down.transcribed, ({ item_id, transcript }: JsonObject) => this.#transcribed(item_id, transcript)],
    [family.down.untranscribed, ({ item_id }: JsonObject) => this.#transcribed(item_id, null)],
    ...family.down.itemAdded.map((type) => [type, (body: JsonObject) => this.#added(body)] as const),
    [family.down.outputAdded, (body: JsonObject) => this.#output(body)],
    [family.down.outputEnded, (body: JsonObject) => this.#output(body)],
    ...family.down.wordsEnded.map((type) => [type, (body: JsonObject) => this.#heard(type, body)] as const),
    [family.down.answerEnded, (body: JsonObject) => this.#answered(objectOf(body.response))],
    [family.down.truncated, (body: JsonObject) => this.#truncated(body)],
    [family.down.deleted, (body: JsonObject) => this.#deleted(body.item_id)],
    [family.down.playingBegun, ({ response_id: id }: JsonObject) => this.#playing.set(String(id), true)],
    ...family.down.playingEnded.map((type) => [type, (body: JsonObject) => this.#played(body.response_id)] as const),
  ]);

  #configured({ audio }: JsonObject): void {
    const { input, output } = objectOf(audio);
    const { transcription } = objectOf(input);
    this.#transcribes = typeof transcription === 'object' && transcription !== null;
    this.#bytesPerMs = bytesPerSecond(objectOf(output).format) / 1000;
  }

  #speaks(id: unknown, begins: boolean): void {
    const turn = this.#transcript.turn(id);
    if (turn === undefined) return;
    const now = performance.now();
    if (begins) turn.startedAt = now;
    turn.endedAt = now;
    turn.isSpoken = true;
  }

  #committed({ item_id, previous_item_id }: JsonObject): void {
    const recorded = this.#recorded;
    this.#recorded = null;
    const turn = this.#transcript.turn(item_id);
    if (turn === undefined || this.#transcript.isPlaced(turn)) return;
    if (!turn.isSpoken && recorded) {
      turn.startedAt = recorded.from || recorded.to;
      turn.endedAt = recorded.to;
    }
    this.#utter(turn, previous_item_id);
  }

  /** The user has said something, whose words are still to come, or came while it was said. */
  #utter(turn: Turn, previous: unknown): void {
    this.#transcript.place(turn, previous);
    if (this.#transcribes) turn.speaker = 'user';
    turn.isFinal = !this.#transcribes || turn.status === 'failed' || turn.parts.length > 0;
    if (!turn.isFinal) this.#transcript.finishIn(turn, patienceMs);
    this.#transcript.advance();
  }

  /** @param words null when there will be none */
  #transcribed(id: unknown, words: unknown): void {
    const turn = this.#transcript.turn(id);
    if (turn === undefined || turn.isFinal) {
      if (typeof words === 'string') this.#ports.late();
      return;
    }
    if (typeof words === 'string') setWords(turn, 0, words);
    else turn.status = 'failed';
    if (!this.#transcript.isPlaced(turn)) return;
    this.#transcript.finish(turn);
    this.#transcript.advance();
  }

  #added({ item, previous_item_id }: JsonObject): void {
    const shown = objectOf(item);
    const { id, type, role, status } = shown;
    const turn = this.#transcript.turn(id);
    if (turn === undefined || this.#transcript.isPlaced(turn)) return;
    const source = this.#byBackend.delete(turn.id) ? 'backend' : role === 'user' ? 'user' : 'client';
    if (type !== 'message' || (role !== 'user' && role !== 'assistant')) {
      this.#transcript.place(turn, previous_item_id);
      this.#called(turn, shown);
      turn.isFinal = !isCall(type) || turn.tool !== null;
    } else if (role === 'assistant' && (status === 'in_progress' || turn.response !== null)) {
      this.#transcript.place(turn, previous_item_id);
      turn.speaker = 'assistant';
      turn.source = 'model';
    } else {
      setContent(turn, shown);
      if (isWordless(turn) && hasSound(shown)) {
        turn.parts.length = 0;
        this.#utter(turn, previous_item_id);
        return;
      }
      this.#transcript.place(turn, previous_item_id);
      turn.speaker = isWordless(turn) ? 'other' : role;
      turn.source = source;
      turn.isFinal = true;
    }
    this.#transcript.advance();
  }

  /** An item of a response begins or ends. */
  #output({ response_id, item }: JsonObject): void {
    const shown = objectOf(item);
    const turn = this.#transcript.turn(shown.id);
    if (turn === undefined) return;
    if (typeof response_id === 'string') turn.response = response_id;
    this.#called(turn, shown);
    if (turn.tool !== null && this.#transcript.isPlaced(turn)) {
      turn.isFinal = true;
      this.#transcript.advance();
    }
  }

  #called(turn: Turn, { type, name }: JsonObject): void {
    if (isCall(type) && typeof name === 'string' && name !== '') turn.tool = name.slice(0, 64);
  }

  /** Words of an answer; all of them where they come with its end. */
  #heard(type: string, { item_id, response_id, content_index, delta, text, transcript }: JsonObject): void {
    const turn = this.#transcript.turn(item_id);
    if (turn === undefined) return;
    const now = performance.now();
    if (typeof response_id === 'string') turn.response = response_id;
    if (turn.parts.length === 0 && !turn.isSpoken) turn.startedAt = now;
    if (type === family.down.words[1] || type === family.down.wordsEnded[1]) turn.isSpoken = true;
    if (delta === undefined) setWords(turn, content_index, text ?? transcript);
    else {
      turn.endedAt = now;
      addWords(turn, content_index, delta);
    }
  }

  #answered({ id, status, output, usage }: JsonObject): void {
    const items = Array.isArray(output) ? output.map(objectOf) : [];
    const { audio_tokens: tokens } = objectOf(objectOf(usage).output_token_details);
    for (const turn of this.#transcript.waiting) {
      const item = items.find((one) => one.id === turn.id);
      if (item === undefined && (turn.response === null || turn.response !== id)) continue;
      // A call that never got its name.
      if (turn.speaker !== 'assistant') {
        this.#transcript.finish(turn);
        continue;
      }
      if (isWordless(turn) && item) setContent(turn, item);
      turn.isOver = true;
      turn.response = typeof id === 'string' ? id : turn.response;
      turn.soundMs = typeof tokens === 'number' ? tokens * msPerToken : 0;
      if (status !== 'completed') turn.status = status === 'failed' ? 'failed' : 'interrupted';
      this.#settle(turn);
    }
    this.#transcript.forget(id);
    this.#transcript.advance();
  }

  /** An answer that is over may still be cut, until it has had the time to be played. */
  #settle(turn: Turn): void {
    if (!turn.isOver || turn.isFinal) return;
    if (!turn.isSpoken || turn.cut) {
      this.#transcript.finish(turn);
      return;
    }
    const { sound } = turn;
    const isPlaying = turn.response !== null && this.#playing.has(turn.response);
    const endsAt = (sound.startedAt ?? turn.startedAt) + (sound.ms || turn.soundMs);
    const leftMs = Math.max(0, endsAt - performance.now()) + behindMs + (isPlaying ? playingMs : 0);
    this.#transcript.finishIn(turn, leftMs);
  }

  #played(response: unknown): void {
    this.#playing.delete(String(response));
    for (const turn of this.#transcript.waiting) {
      if (turn.response === response && turn.isOver && !turn.isFinal) this.#transcript.finishIn(turn, behindMs);
    }
  }

  #truncated({ item_id, audio_end_ms }: JsonObject): void {
    const turn = this.#transcript.find(item_id);
    if (turn === undefined || typeof audio_end_ms !== 'number') return;
    turn.cut ??= { claimedMs: audio_end_ms, at: performance.now() };
    this.#settle(turn);
    this.#transcript.advance();
  }

  #deleted(id: unknown): void {
    const turn = this.#transcript.find(id);
    if (turn) turn.isDeleted = true;
  }
}

function isCall(type: unknown): boolean {
  return type === 'function_call' || type === 'mcp_call';
}

function hasSound({ content }: JsonObject): boolean {
  return Array.isArray(content) && content.some((part) => objectOf(part).type === 'input_audio');
}
