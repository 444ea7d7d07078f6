/** The doors of emulated WebRTC: ephemeral keys, calls, their end, and which sideband belongs to which call. */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { WebSocket } from 'ws';
import type { Json, JsonObject } from '../protocol/event.js';
import { type DoorRules, mayEnter } from './doors.js';
import { refusalOf } from './faults.js';
import { gaShapes } from './ga.js';
import { newId } from './ids.js';
import { readBody } from './payload.js';
import type { ReceivedConnection } from './received.js';
import { bodyOf, correlation, type Refusal, refusals } from './refusals.js';
import { isObject } from './schema.js';
import { echo, type Settings, updated, vendorDefaults } from './settings.js';
import type { House } from './socket.js';
import { EmulatedCall, type Loss } from './webrtc-call.js';
import { loadWerift } from './webrtc-peer.js';

const secrets = '/openai/v1/realtime/client_secrets';
const calls = '/openai/v1/realtime/calls';
const maxKeys = 1000;
const maxCalls = 100;
const remembered = 100;

/** Of a key for which no life was asked. Source: recordings of live calls. */
const keySeconds = 7200;

interface Key {
  readonly settings: Settings;
  readonly sessionId: string;
  readonly deployment: string;
  readonly expiresAt: number;
}

/** What programs may know of emulated calls, newest last and within a bound. */
export interface CallRecords {
  /** The sessions that keys were minted for, as they were asked for. */
  readonly minted: readonly JsonObject[];
  /** Ids of the calls that are open. */
  readonly open: readonly string[];
  /** Ids of the calls that were hung up by request. */
  readonly hungUp: readonly string[];
}

/** All calls of one emulator. */
export class CallDesk {
  readonly #house: House;
  readonly #rules: DoorRules;
  readonly #hiddenTries: number;
  readonly #keys = new Map<string, Key>();
  readonly #calls = new Map<string, { call: EmulatedCall; hidden: number }>();
  readonly #minted: JsonObject[] = [];
  readonly #hungUp: string[] = [];
  readonly #keyEchoes: boolean;

  /**
   * @param hiddenTries how many sidebands are told that the call does not exist, as happens just after its creation
   * @param keyEchoes whether a key's answer shows its session
   */
  constructor(house: House, rules: DoorRules, hiddenTries: number, keyEchoes: boolean) {
    this.#house = house;
    this.#rules = rules;
    this.#hiddenTries = hiddenTries;
    this.#keyEchoes = keyEchoes;
  }

  get records(): CallRecords {
    return { minted: this.#minted, open: [...this.#calls.keys()], hungUp: this.#hungUp };
  }

  /** Whether a path is one of these doors. */
  serves(path: string): boolean {
    return path === secrets || path === calls || path.startsWith(`${calls}/`);
  }

  /** Whether a sideband may attach to the call now; counts the tries. */
  find(id: string): boolean {
    const known = this.#calls.get(id);
    if (!known) return false;
    if (known.hidden > 0) {
      known.hidden--;
      return false;
    }
    return true;
  }

  attach(id: string, socket: WebSocket, record: ReceivedConnection): void {
    const known = this.#calls.get(id);
    if (known) known.call.attach(socket, record);
    else socket.close(1000);
  }

  /** Takes every sideband from its owner; the calls go on. */
  loseSidebands(how: Loss): void {
    for (const { call } of this.#calls.values()) call.loseSidebands(how);
  }

  /** Sends every sideband something that is none of its call's own events. */
  tellSidebands(data: string | Buffer): void {
    for (const { call } of this.#calls.values()) call.tellSidebands(data);
  }

  /** Ends every call. */
  close(): void {
    for (const { call } of [...this.#calls.values()]) call.end();
  }

  /** Answers a request to one of these doors; never rejects. */
  async serve(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const refuse = (refusal: Refusal) => {
      const { status, headers } = refusal;
      response.writeHead(status, { ...correlation(), 'content-type': 'application/json', ...headers });
      response.end(bodyOf(refusal));
    };
    try {
      const body = await readBody(request);
      const fault = this.#house.faults.take(momentOf(url.pathname));
      if (fault?.fault === 'hang') return;
      if (fault?.fault === 'reset') {
        request.socket.destroy();
        return;
      }
      const struck = fault && (refusalOf(fault) ?? refusals['500']);
      const refusal = struck ?? (await this.#answer(request, response, url, body));
      if (refusal) refuse(refusal);
    } catch (error) {
      this.#house.log(`call: ${error instanceof Error ? error.message : String(error)}`);
      if (!response.headersSent) refuse(refusals['500']);
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse, url: URL, body: string): Promise<Refusal | null> {
    if (request.method !== 'POST') return refusals['404'];
    if (url.pathname === calls) return this.#create(request, response, url, body);
    if (!mayEnter(request, url, this.#rules)) return refusals['401'];
    if (url.pathname === secrets) return this.#mint(response, body);
    const [, id = '', verb] = /^\/([^/]+)\/([a-z]+)$/.exec(url.pathname.slice(calls.length)) ?? [];
    const known = this.#calls.get(id);
    if (verb !== 'hangup') return refusals['404'];
    if (!known) return refusals['404_call'];
    keep(this.#hungUp, id);
    known.call.end();
    response.writeHead(200, correlation()).end();
    return null;
  }

  #mint(response: ServerResponse, text: string): Refusal | null {
    const body = parse(text);
    if (!isObject(body)) return wrong('BadRequest', 'We could not parse the JSON body of your request.');
    const { session, expires_after } = body;
    if (!isObject(session) || (session.type !== 'realtime' && session.type !== 'transcription')) {
      return wrong('InvalidSessionType', "The session type must be 'realtime' or 'transcription'.");
    }
    const found = gaShapes.session(session, 'session');
    if (found) return wrong(found.code, found.message);
    const seconds = isObject(expires_after) ? (expires_after.seconds ?? keySeconds) : keySeconds;
    if (typeof seconds !== 'number' || !Number.isInteger(seconds) || seconds < 10 || seconds > 7200) {
      return wrong('invalid_value', "Invalid 'expires_after.seconds': it must be from 10 to 7200.");
    }
    const deployment = String(session.model ?? '');
    const known = Object.hasOwn(this.#rules.deployments, deployment) ? this.#rules.deployments[deployment] : undefined;
    if (!known) return refusals['404_deployment'];
    if (known.kind === 'chat') return refusals['400'];
    keep(this.#minted, session);
    const input = isObject(session.audio) ? session.audio.input : null;
    if (isObject(input) && input.transcription && this.#house.faults.take('mint')) return refusals['500'];
    const settings = updated(vendorDefaults(session.type, known.model), session);
    const value = `ek_${randomBytes(16).toString('hex')}`;
    const expiresAt = Math.floor(Date.now() / 1000) + seconds;
    const sessionId = newId('sess');
    this.#keys.set(value, { settings, sessionId, deployment, expiresAt });
    const [oldest] = this.#keys.keys();
    if (this.#keys.size > maxKeys && oldest !== undefined) this.#keys.delete(oldest);
    response.writeHead(200, { ...correlation(), 'content-type': 'application/json' });
    const echoed = this.#keyEchoes ? { session: echo(settings, sessionId, 0) } : {};
    response.end(JSON.stringify({ value, expires_at: expiresAt, ...echoed }));
    return null;
  }

  async #create(request: IncomingMessage, response: ServerResponse, url: URL, offer: string): Promise<Refusal | null> {
    const value = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? '';
    const key = this.#keys.get(value);
    if (!key || key.expiresAt * 1000 <= Date.now()) {
      return { status: 401, code: '401', message: 'Realtime session ephemeral token is required.' };
    }
    if (!/^application\/sdp\b/.test(request.headers['content-type'] ?? '')) {
      return wrong('BadRequest', 'The body must be an SDP offer, sent as application/sdp.');
    }
    if (this.#calls.size >= maxCalls) return refusals['429'];
    try {
      await loadWerift();
    } catch (error) {
      return { status: 501, code: 'NotImplemented', message: error instanceof Error ? error.message : String(error) };
    }
    const call: EmulatedCall = new EmulatedCall(this.#house, {
      settings: key.settings,
      sessionId: key.sessionId,
      deployment: key.deployment,
      isFiltered: url.searchParams.get('webrtcfilter') === 'on',
      ended: () => {
        this.#calls.delete(call.id);
        this.#house.log(`call ${call.id}: ended`);
      },
    });
    this.#calls.set(call.id, { call, hidden: this.#hiddenTries });
    try {
      const answer = await call.answer(offer);
      response.writeHead(201, {
        ...correlation(),
        // As the service names it, and where: the path is not one of its own. Source: recordings of live calls.
        'content-type': 'text/plain; charset=utf-8',
        location: `/v1/realtime/calls/${call.id}`,
        'access-control-allow-origin': '*',
        'access-control-expose-headers': 'Location,X-Request-Id',
      });
      response.end(answer);
      this.#house.log(`call ${call.id}: ${key.deployment}`);
      return null;
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      return wrong('invalid_offer', `The SDP offer could not be answered: ${detail}`);
    }
  }
}

function momentOf(path: string): 'handshake' | 'offer' | 'hangup' {
  if (path === secrets) return 'handshake';
  return path === calls ? 'offer' : 'hangup';
}

function wrong(code: string, message: string): Refusal {
  return { status: 400, code, message };
}

function keep<T>(list: T[], one: T): void {
  list.push(one);
  if (list.length > remembered) list.shift();
}

function parse(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}
