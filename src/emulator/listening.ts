/** The input side of a session: audio in, turns found or committed, user items and their transcripts out. */
import type { JsonObject } from '../protocol/event.js';
import { announce } from './editing.js';
import { newId } from './ids.js';
import { base64Bytes, type Complaint, complaint, notAudio } from './schema.js';
import type { Settings } from './settings.js';
import type { Speech } from './speech.js';
import type { Conversation, Item } from './thread.js';
import { type Terms, Transcript } from './transcribe.js';
import { Listener, type Turn, type Utterance } from './vad.js';

/** What hearing needs of its session. */
export interface Surface {
  readonly speech: Speech;
  readonly speed: number;
  readonly conversation: Conversation;
  settings(): Settings;
  emit(event: JsonObject): void;
  /** Somebody started to speak: whoever else speaks may have to stop. */
  interrupt(): void;
  /** A turn is over and wants an answer. */
  respond(): void;
  isResponding(): boolean;
  /** Whether input can be transcribed by what is deployed under this name. */
  transcribes(model: string): boolean;
  spent(usage: JsonObject): void;
  /** So much of what was appended, behind so many bytes, became this item. */
  committed(itemId: string, from: number, audio: Buffer): void;
}

const minCommitMs = 100;
const maxAppendBytes = 15 * 1024 * 1024;
/** How long transcription takes, in the time of the conversation. */
const transcriptDelayMs = 300;

/** The input audio buffer of one session and what becomes of it. */
export class Hearing {
  readonly #surface: Surface;
  readonly #timers = new Set<NodeJS.Timeout>();
  #listener: Listener | null = null;
  #comingItemId: string | null = null;
  /** What is being said, once it was noticed that somebody speaks. */
  #coming: Transcript | null = null;
  /** Where on the audio timeline the silence after the last turn began; null until there was an answer. */
  #idleSinceMs: number | null = null;

  constructor(surface: Surface) {
    this.#surface = surface;
  }

  append(audio: string): Complaint | null {
    const bytes = base64Bytes(audio);
    if (!bytes) return notAudio('audio');
    if (bytes.length > maxAppendBytes) {
      return complaint('invalid_value', 'Audio is limited to 15 MiB per event.', 'audio');
    }
    const { format, turn_detection } = this.#surface.settings().input;
    this.#listener ??= new Listener(format, turn_detection);
    if (this.#listener.isFull) return complaint('invalid_value', 'The input audio buffer is full.', 'audio');
    for (const turn of this.#listener.append(bytes)) this.#turn(turn);
    this.#understand();
    this.#noticeIdleness(this.#listener.nowMs);
    return null;
  }

  commit(): Complaint | null {
    const heldMs = this.#listener?.heldMs ?? 0;
    if (!this.#listener || heldMs < minCommitMs) {
      const message = `Error committing input audio buffer: buffer too small. Expected at least ${minCommitMs}ms of audio, but buffer only has ${heldMs.toFixed(2)}ms of audio.`;
      return complaint('input_audio_buffer_commit_empty', message);
    }
    this.#committed(this.#listener.take());
    return null;
  }

  clear(): void {
    this.#listener?.clear();
    this.#comingItemId = null;
    this.#coming = null;
    this.#surface.emit({ type: 'input_audio_buffer.cleared' });
  }

  /** The settings changed. */
  configure(): void {
    const { format, turn_detection } = this.#surface.settings().input;
    this.#listener?.configure(format, turn_detection);
  }

  /** An answer was given: from here on, silence counts as idleness. */
  answered(): void {
    this.#idleSinceMs = this.#listener?.nowMs ?? 0;
  }

  /** Stops everything without a word. */
  drop(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#listener = null;
  }

  #turn(turn: Turn): void {
    const { type, input } = this.#surface.settings();
    this.#idleSinceMs = null;
    if (turn.kind === 'started') {
      this.#comingItemId = newId('item');
      this.#coming = new Transcript(this.#comingItemId, this.#surface.emit);
      const at = { audio_start_ms: Math.round(turn.audioMs), item_id: this.#comingItemId };
      this.#surface.emit({ type: 'input_audio_buffer.speech_started', ...at });
      if (input.turn_detection?.interrupt_response !== false) this.#surface.interrupt();
      return;
    }
    this.#comingItemId ??= newId('item');
    const at = { audio_end_ms: Math.round(turn.audioMs), item_id: this.#comingItemId };
    this.#surface.emit({ type: 'input_audio_buffer.speech_stopped', ...at });
    this.#committed(turn.heard);
    if (type === 'realtime' && input.turn_detection?.create_response !== false) this.#surface.respond();
  }

  #noticeIdleness(nowMs: number): void {
    const { type, input } = this.#surface.settings();
    const limitMs = input.turn_detection?.idle_timeout_ms;
    const sinceMs = this.#idleSinceMs;
    if (!limitMs || sinceMs === null || nowMs - sinceMs < limitMs || this.#surface.isResponding()) return;
    this.#idleSinceMs = null;
    this.#comingItemId = newId('item');
    this.#surface.emit({
      type: 'input_audio_buffer.timeout_triggered',
      audio_start_ms: Math.round(sinceMs),
      audio_end_ms: Math.round(nowMs),
      item_id: this.#comingItemId,
    });
    if (this.#listener) this.#committed(this.#listener.take());
    if (type === 'realtime') this.#surface.respond();
  }

  /** Tells words while they are spoken. */
  #understand(): void {
    const spoken = this.#listener?.speaking;
    const terms = this.#terms();
    if (spoken && terms) this.#coming?.hear(spoken.ms, spoken.last, terms, this.#surface.speech);
  }

  /** Null where nothing is transcribed, or cannot be. */
  #terms(): Terms | null {
    const { input, include } = this.#surface.settings();
    const model = String(input.transcription?.model);
    if (!input.transcription || !this.#surface.transcribes(model)) return null;
    return { model, withLogprobs: Array.isArray(include) && include.length > 0, format: input.format };
  }

  #committed({ audio, from }: Utterance): void {
    const id = this.#comingItemId ?? newId('item');
    const transcript = this.#coming ?? new Transcript(id, this.#surface.emit);
    this.#comingItemId = null;
    this.#coming = null;
    const { conversation, emit } = this.#surface;
    const { format } = this.#surface.settings().input;
    const content = [{ type: 'input_audio', transcript: null }];
    const shown = { id, type: 'message', status: 'completed', role: 'user', content };
    const item: Item = { id, shown, heard: { bytes: audio, format }, spoken: null };
    this.#surface.committed(id, from, audio);
    emit({ type: 'input_audio_buffer.committed', previous_item_id: conversation.lastId, item_id: id });
    conversation.insert(item);
    announce(item, conversation, emit);
    if (this.#surface.settings().input.transcription) this.#transcribe(item, audio, transcript);
  }

  #transcribe(item: Item, audio: Buffer, transcript: Transcript): void {
    const terms = this.#terms();
    const { speech, speed, spent } = this.#surface;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (terms === null) {
        transcript.refuse();
        return;
      }
      const { text, usage } = transcript.finish(audio, terms, speech);
      item.shown = { ...item.shown, content: [{ type: 'input_audio', transcript: text }] };
      spent({ type: 'transcription', usage });
    }, transcriptDelayMs / speed);
    this.#timers.add(timer);
  }
}
