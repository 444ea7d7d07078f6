/** One emulated call: a session whose events go over a data channel and any number of sidebands, and whose sound is RTP. */
import type { WebSocket } from 'ws';
import { decodeAlaw, decodeUlaw, encodeAlaw, encodeUlaw } from '../audio/g711.js';
import { createResampler } from '../audio/resample.js';
import type { Json, JsonObject } from '../protocol/event.js';
import { newId } from './ids.js';
import type { ReceivedConnection } from './received.js';
import { type Complaint, complaint, isObject } from './schema.js';
import { Session } from './session.js';
import { type AudioFormat, formatOf, objectAt, type Settings } from './settings.js';
import type { House } from './socket.js';
import { validate } from './validate.js';
import { answerOffer, type Peer } from './webrtc-peer.js';

/** What is left of the server's events on a data channel with `webrtcfilter=on`. Source: Azure OpenAI WebRTC how-to. */
const filtered: ReadonlySet<string> = new Set([
  'input_audio_buffer.speech_started',
  'input_audio_buffer.speech_stopped',
  'output_audio_buffer.started',
  'output_audio_buffer.stopped',
  'conversation.item.input_audio_transcription.completed',
  'conversation.item.added',
  'conversation.item.created',
  'response.output_text.delta',
  'response.output_text.done',
  'response.output_audio_transcript.delta',
  'response.output_audio_transcript.done',
]);
const maxMessageBytes = 256 * 1024;

/** How a sideband is lost: without a word, with a goodbye, or still open and dead. */
export type Loss = 'cut' | 'closed' | 'frozen';

/** Who sends an event: where the errors about it go. */
type Sender = (event: JsonObject) => void;

/** How a call is set up. */
export interface CallTerms {
  readonly settings: Settings;
  /** The session's id, as the key's answer named it. */
  readonly sessionId: string;
  readonly deployment: string;
  /** Whether the data channel gets the filtered events only. */
  readonly isFiltered: boolean;
  /** Told once when the call is over. */
  ended(): void;
}

export class EmulatedCall {
  readonly id = newId('rtc');
  readonly #house: House;
  readonly #terms: CallTerms;
  readonly #session: Session;
  readonly #sidebands = new Map<WebSocket, ReceivedConnection>();
  readonly #timer: NodeJS.Timeout;
  readonly #slower = createResampler(24_000, 8000);
  readonly #faster = createResampler(8000, 24_000);
  #peer: Peer | null = null;
  #input: AudioFormat;
  #output: AudioFormat;
  /** Where events go while somebody is greeted; null for everybody. */
  #only: Sender | null = null;
  #speaking: string | null = null;
  #isOver = false;

  constructor(house: House, terms: CallTerms) {
    this.#house = house;
    this.#terms = terms;
    this.#input = terms.settings.input.format;
    this.#output = terms.settings.output.format;
    this.#session = new Session(
      terms.settings,
      {
        speech: house.speech,
        speed: house.speed,
        deployment: terms.deployment,
        expiresAt: Math.floor(Date.now() / 1000 + house.sessionSeconds),
        like: house.like,
        transcribes: house.transcribes,
        emit: (event) => this.#emit(event),
        complain: (found) => this.#emit(errorOf(found, null)),
        ready: () => true,
        nextScript: (said) => house.scripts.take(said),
        nextAccident: () => {
          const fault = house.faults.take('response');
          return fault && ['mute', 'busy', 'slow', 'die_mid_response', 'close_mid_response'].includes(fault.fault)
            ? fault
            : null;
        },
        listFails: () => house.faults.take('tools') !== null,
        die: () => this.end(),
        spent: (usage) => house.received.spent(usage),
        // What is heard of a call is none of any connection's.
        committed: () => undefined,
      },
      terms.sessionId,
    );
    this.#timer = setTimeout(() => this.end(), Math.min(house.sessionSeconds * 1000, 2 ** 31 - 1));
  }

  /** Answers the browser's offer. Rejects when it cannot be answered; the call is over then. */
  async answer(offer: string): Promise<string> {
    try {
      this.#peer = await answerOffer(offer, {
        opened: () => this.#greet(this.#toChannel),
        message: (text) => this.#message(text, this.#toChannel, null),
        heard: (ulaw) => this.#heard(ulaw),
        silent: () => this.#said('output_audio_buffer.stopped'),
        closed: () => this.end(),
      });
    } catch (error) {
      this.end();
      throw error;
    }
    return this.#peer.answer;
  }

  /** Lets a sideband in. */
  attach(socket: WebSocket, record: ReceivedConnection): void {
    const { received, log } = this.#house;
    const send: Sender = (event) => sendTo(socket, event);
    socket.on('error', (error) => log(`sideband ${record.id}: ${error.message}`));
    socket.on('close', (code, reason) => {
      this.#sidebands.delete(socket);
      received.closed(record, code, reason.toString());
    });
    socket.on('message', (data) => this.#message(data.toString(), send, record));
    if (this.#isOver) {
      socket.close(1000);
      return;
    }
    // No greeting: the first thing a sideband hears is the answer to what it says. Source: recordings of live calls.
    this.#sidebands.set(socket, record);
  }

  /** Ends the call for everybody. */
  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#session.drop();
    this.#peer?.close();
    this.#terms.ended();
    for (const socket of this.#sidebands.keys()) {
      // One that is frozen would not hear the answer to its goodbye.
      socket.resume();
      socket.close(1000);
    }
  }

  /** Takes the sidebands from their owners; the call goes on. */
  loseSidebands(how: Loss): void {
    for (const socket of this.#sidebands.keys()) {
      if (how === 'cut') socket.terminate();
      else if (how === 'closed') socket.close(1000);
      // Neither reads nor answers pings any more.
      else socket.pause();
    }
  }

  /** Sends every sideband something that is none of the call's own events. */
  tellSidebands(data: string | Buffer): void {
    for (const socket of this.#sidebands.keys()) socket.send(data);
  }

  readonly #toChannel: Sender = (event) => {
    const { isFiltered } = this.#terms;
    if (!isFiltered || filtered.has(String(event.type))) this.#peer?.send(textOf(event));
  };

  #greet(to: Sender): void {
    this.#only = to;
    this.#session.start();
    this.#only = null;
  }

  #message(text: string, sender: Sender, record: ReceivedConnection | null): void {
    if (this.#isOver) return;
    const body = text.length <= maxMessageBytes ? parse(text) : undefined;
    if (!isObject(body)) {
      sender(errorOf(complaint('invalid_json', 'Expected a JSON object.'), null));
      return;
    }
    const { received, faults } = this.#house;
    if (record) received.event(record, body, text.length);
    const eventId = typeof body.event_id === 'string' ? body.event_id : null;
    const wrong = validate(body, 'ga', null);
    const fault = body.type === 'session.update' && record && !wrong ? faults.take('update') : null;
    if (fault?.fault === 'ignore_update') return;
    const rejected = fault ? complaint('invalid_value', 'The session could not be updated.', 'session') : null;
    const refused = wrong ?? rejected ?? this.#carryOut(body);
    if (!refused) return;
    const event = errorOf(refused, eventId);
    if (record) received.error(record, event.error as JsonObject);
    sender(event);
  }

  #carryOut(body: JsonObject): Complaint | null {
    if (body.type !== 'output_audio_buffer.clear') return this.#session.handle(body);
    this.#hush();
    return null;
  }

  #emit(event: JsonObject): void {
    if (this.#isOver) return;
    const { type } = event;
    if (type === 'response.output_audio.delta') {
      this.#say(event);
      return;
    }
    if (type === 'session.updated') this.#learn(objectAt(objectAt(event, 'session'), 'audio'));
    if (type === 'input_audio_buffer.speech_started') this.#hush();
    if (this.#only) {
      this.#only(event);
      return;
    }
    this.#toChannel(event);
    for (const socket of this.#sidebands.keys()) sendTo(socket, event);
  }

  #learn(audio: JsonObject): void {
    this.#input = formatOf(objectAt(audio, 'input').format) ?? this.#input;
    this.#output = formatOf(objectAt(audio, 'output').format) ?? this.#output;
  }

  #heard(ulaw: Buffer): void {
    if (this.#isOver) return;
    const { type } = this.#input;
    const bytes =
      type === 'audio/pcmu'
        ? ulaw
        : type === 'audio/pcma'
          ? encodeAlaw(decodeUlaw(ulaw))
          : bytesOf(this.#faster(decodeUlaw(ulaw)));
    this.#session.handle({ type: 'input_audio_buffer.append', audio: Buffer.from(bytes).toString('base64') });
  }

  #say({ delta, response_id }: JsonObject): void {
    if (!this.#peer) return;
    const bytes = Buffer.from(String(delta), 'base64');
    const { type } = this.#output;
    const ulaw =
      type === 'audio/pcmu'
        ? bytes
        : encodeUlaw(type === 'audio/pcma' ? decodeAlaw(bytes) : this.#slower(samplesOf(bytes)));
    if (this.#speaking === null) {
      this.#speaking = String(response_id);
      this.#emit({ type: 'output_audio_buffer.started', response_id: this.#speaking });
    }
    this.#peer.say(ulaw);
  }

  #hush(): void {
    this.#peer?.hush();
    this.#said('output_audio_buffer.cleared');
  }

  #said(type: 'output_audio_buffer.stopped' | 'output_audio_buffer.cleared'): void {
    if (this.#speaking === null) return;
    const response_id = this.#speaking;
    this.#speaking = null;
    this.#emit({ type, response_id });
  }
}

function errorOf({ code, message, param }: Complaint, eventId: string | null): JsonObject {
  return { type: 'error', error: { type: 'invalid_request_error', code, message, param, event_id: eventId } };
}

function sendTo(socket: WebSocket, event: JsonObject): void {
  if (socket.readyState === socket.OPEN) socket.send(textOf(event));
}

function textOf({ type, ...fields }: JsonObject): string {
  return JSON.stringify({ type, event_id: newId('event'), ...fields });
}

function parse(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: Int16Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

function samplesOf(bytes: Buffer): Int16Array {
  return Int16Array.from({ length: bytes.length >> 1 }, (_, index) => bytes.readInt16LE(index * 2));
}
