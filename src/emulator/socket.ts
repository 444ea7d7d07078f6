/** One accepted socket: frames and JSON on the outside, a session on the inside, faults in between. */
import type { Duplex } from 'node:stream';
import type { RawData, WebSocket } from 'ws';
import type { Json, JsonObject } from '../protocol/event.js';
import type { Admission } from './doors.js';
import { badFrame, type Fault, type FaultList } from './faults.js';
import { newId } from './ids.js';
import type { Personality } from './output.js';
import { PreviewEdge } from './preview.js';
import type { Received, ReceivedConnection } from './received.js';
import { closes } from './refusals.js';
import { type Complaint, complaint, isObject } from './schema.js';
import type { ScriptList } from './script.js';
import { Session } from './session.js';
import { vendorDefaults } from './settings.js';
import type { Speech } from './speech.js';
import { validate } from './validate.js';

/** What all connections of an emulator share. */
export interface House {
  readonly speech: Speech;
  readonly speed: number;
  readonly sessionSeconds: number;
  readonly like: Personality;
  /** Whether input can be transcribed by what is deployed under this name. */
  transcribes(model: string): boolean;
  readonly faults: FaultList;
  readonly scripts: ScriptList;
  readonly received: Received;
  log(line: string): void;
}

/** More than this waiting in a socket means that nobody reads: the connection is cut. */
const maxBufferedBytes = 64 * 1024 * 1024;
/** From here on, long answers wait for the reader. */
const pauseBytes = 1024 * 1024;
const longestTimerMs = 2 ** 31 - 1;

/** A client that was let in. It owns its socket, its session and its timers, and ends them together. */
export class Connection {
  readonly record: ReceivedConnection;
  readonly #socket: WebSocket;
  readonly #stream: Duplex;
  readonly #admission: Admission;
  readonly #house: House;
  readonly #ownFaults: FaultList;
  readonly #edge: PreviewEdge | null;
  readonly #session: Session;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #waiting: (() => void)[] = [];
  #isSilent = false;
  #stopsReading = false;

  constructor(
    socket: WebSocket,
    stream: Duplex,
    admission: Admission,
    house: House,
    record: ReceivedConnection,
    own: FaultList,
  ) {
    this.#socket = socket;
    this.#stream = stream;
    this.#admission = admission;
    this.#house = house;
    this.record = record;
    this.#ownFaults = own;
    this.#edge = admission.dialect === 'preview' ? new PreviewEdge() : null;
    this.#session = new Session(vendorDefaults(admission.kind, admission.model), {
      speech: house.speech,
      speed: house.speed,
      deployment: admission.deployment,
      expiresAt: Math.floor(Date.now() / 1000 + house.sessionSeconds),
      like: house.like,
      // Preview has names of models there, not of deployments.
      transcribes: (model) => admission.dialect === 'preview' || house.transcribes(model),
      emit: (event) => this.#send(event),
      complain: (found) => this.#complain(found, null),
      ready: (resume) => this.#ready(resume),
      nextScript: (said) => house.scripts.take(said),
      nextAccident: () => this.#nextAccident(),
      listFails: () => this.#take('tools') !== null,
      die: (fault) => this.strike(fault),
      spent: (usage) => house.received.spent(usage),
      committed: (itemId, from, audio) => house.received.committed(record, itemId, from, audio),
    });
  }

  /** Greets the peer and listens to it. */
  open(): void {
    this.#socket.on('message', (data, isBinary) => this.#onMessage(data, isBinary));
    this.#socket.on('error', (error) => this.#house.log(`connection ${this.record.id}: ${error.message}`));
    this.#socket.on('close', (code, reason) => this.#onClose(code, reason.toString()));
    this.#stream.on('drain', () => this.#resume());
    const { fatal } = this.#admission;
    if (fatal) {
      this.#complain(complaint(fatal.code, fatal.message), null);
      this.#socket.close(...closes.fatal(fatal.code));
      return;
    }
    for (const list of [this.#ownFaults, this.#house.faults]) {
      const fault = list.take('open');
      if (fault?.fault === 'stop_reading' && fault.delayMs === undefined) this.#stopsReading = true;
      else if (fault) this.strike(fault);
    }
    this.#after(this.#house.sessionSeconds * 1000, () => this.#expire());
    this.#session.start();
  }

  /** Makes a fault happen here and now, or at the next update or response if that is where it belongs. */
  strike(fault: Fault): void {
    switch (fault.fault) {
      case 'silent':
        this.#isSilent = true;
        return;
      case 'expire_early':
        this.#after(fault.delayMs ?? 100, () => this.#expire());
        return;
      case 'stop_reading':
        this.#after(fault.delayMs ?? 0, () => this.#socket.pause());
        return;
      case 'die_mid_response':
        this.#stream.destroy();
        return;
      case 'close_mid_response':
        this.#socket.close(...closes.failed);
        return;
      case 'garbage':
      case 'binary':
      case 'array':
      case 'huge':
      case 'unknown_event':
        this.#sendFrame(badFrame(fault), fault.fault === 'binary');
        return;
      default:
        this.#ownFaults.arm(fault);
    }
  }

  /** Cuts the line. */
  terminate(): void {
    this.#socket.terminate();
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    if (isBinary) {
      this.#complain(complaint('invalid_event', 'Binary frames are not supported: send events as text frames.'), null);
      this.#socket.close(...closes.fatal('invalid_event'));
      return;
    }
    const text = data.toString();
    const body = parse(text);
    if (!isObject(body)) {
      const message = 'We could not parse the JSON body of your event. Expected a JSON object.';
      this.#complain(complaint('invalid_json', message), null);
      return;
    }
    this.#house.received.event(this.record, body, text.length);
    try {
      this.#handle(body);
    } catch (error) {
      this.#house.log(`connection ${this.record.id}: ${error instanceof Error ? error.stack : String(error)}`);
      this.#error('server_error', complaint('internal_error', 'The server had an error.'), eventIdOf(body));
    }
  }

  #handle(body: JsonObject): void {
    const isUpdate = body.type === 'session.update' || body.type === 'transcription_session.update';
    const wrong = validate(body, this.#admission.dialect, this.#admission.apiVersion);
    const fault = isUpdate && !wrong ? this.#take('update') : null;
    if (fault?.fault === 'ignore_update') return;
    const rejected = fault ? complaint('invalid_value', 'The session could not be updated.', 'session') : null;
    const refused = wrong ?? rejected ?? this.#refusedId(body) ?? this.#carryOut(body);
    if (refused) this.#complain(refused, eventIdOf(body));
    else if (isUpdate && this.#stopsReading) this.#socket.pause();
  }

  #refusedId({ type, item }: JsonObject): Complaint | null {
    const hasId = type === 'conversation.item.create' && isObject(item) && typeof item.id === 'string';
    if (!hasId || this.#take('item') === null) return null;
    return complaint('invalid_value', `Invalid 'item.id': '${String(item.id)}'.`, 'item.id');
  }

  #carryOut(body: JsonObject): Complaint | null {
    if (!this.#edge) return this.#session.handle(body);
    const refused = this.#session.handle(this.#edge.inbound(body));
    if (refused) this.#edge.undo();
    return refused;
  }

  #take(moment: 'update' | 'item' | 'response' | 'tools'): Fault | null {
    return this.#ownFaults.take(moment) ?? this.#house.faults.take(moment);
  }

  #nextAccident(): Fault | null {
    const fault = this.#take('response');
    if (
      !fault ||
      ['mute', 'busy', 'text_after_replay', 'slow', 'flood', 'die_mid_response', 'close_mid_response'].includes(
        fault.fault,
      )
    ) {
      return fault;
    }
    this.strike(fault);
    return null;
  }

  #complain(found: Complaint, eventId: string | null): void {
    this.#error('invalid_request_error', found, eventId);
  }

  #error(type: string, { code, message, param }: Complaint, eventId: string | null): void {
    const error = { type, code, message, param, event_id: eventId };
    this.#house.received.error(this.record, error);
    this.#send({ type: 'error', error });
  }

  #send(event: JsonObject): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    const shown = this.#edge ? this.#edge.outbound(event) : event;
    if (!shown) return;
    const { type, ...fields } = shown;
    this.#sendFrame(JSON.stringify({ type, event_id: newId('event'), ...fields }));
  }

  #sendFrame(data: string | Buffer, binary = false): void {
    if (this.#isSilent || this.#socket.readyState !== this.#socket.OPEN) return;
    if (this.#socket.bufferedAmount > maxBufferedBytes) this.terminate();
    else this.#socket.send(data, { binary });
  }

  #ready(resume: () => void): boolean {
    if (this.#socket.bufferedAmount < pauseBytes) return true;
    this.#waiting.push(resume);
    return false;
  }

  #resume(): void {
    for (const resume of this.#waiting.splice(0)) resume();
  }

  #expire(): void {
    const minutes = Math.max(1, Math.round(this.#house.sessionSeconds / 60));
    const [code, reason] = closes.expired(minutes);
    this.#send({
      type: 'error',
      error: { type: 'invalid_request_error', code: 'session_expired', message: reason, param: null, event_id: null },
    });
    this.#session.drop();
    this.#socket.close(code, reason);
  }

  #after(delayMs: number, act: () => void): void {
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer);
        act();
      },
      Math.min(delayMs, longestTimerMs),
    );
    this.#timers.add(timer);
  }

  #onClose(code: number, reason: string): void {
    this.#session.drop();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#waiting.length = 0;
    this.#house.received.closed(this.record, code, reason);
    this.#house.log(`connection ${this.record.id}: closed ${code} ${reason}`);
  }
}

function parse(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}

function eventIdOf({ event_id }: JsonObject): string | null {
  return typeof event_id === 'string' && event_id.length <= 512 ? event_id : null;
}
