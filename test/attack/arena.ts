/**
 * Where attacks happen: one relay before one emulator, an honest session that must go on working beside them all, and a
 * judge that looks at every attack from three sides: what reached upstream, what the attacker was told, who else noticed.
 */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import { signToken } from '../../src/auth/token.js';
import { loadConfig } from '../../src/config/load.js';
import { type Emulator, type EmulatorOptions, startEmulator } from '../../src/emulator/emulator.js';
import { type ExitId, exits } from '../../src/errors.js';
import { type Relay, startRelay } from '../../src/relay.js';
import { createLog } from '../../src/telemetry/log.js';
import { connect, type ServerEvent, type TestClient } from '../support/client.js';
import { jwt } from '../support/relay.js';
import { faultOf, type Sight } from './oracle.js';
import { type Passage, startWire, type Wire } from './wire.js';

/** In what no client may say: an attack that gets it upstream has won. */
export const evil = 'EVIL_WORD';

/** Words that only the server's side knows: a client that reads one has won. */
export const canaries = {
  instructions: 'CANARY_INSTRUCTIONS',
  tool: 'canary_server_tool',
  description: 'CANARY_DESCRIPTION',
  schema: 'CANARY_SCHEMA',
} as const;

/** No limits but those of a case's own: an attack must not be saved by a budget. */
const unlimited = `
    limits: { sessions_per_user: 10000, connects_per_second: 1000000, connects_burst: 1000000, events_per_second: 1000000, events_burst: 1000000, responses_per_second: 1000000,
      responses_burst: 1000000, audio_realtime_factor: 1000000, audio_burst_seconds: 1000000, items: 1000000,
      refusals: 1000000 }`;

const profile = `
    session:
      instructions: ${canaries.instructions} and be kind.
      max_output_tokens: 500
      tool_choice: auto
      audio: { input: { noise_reduction: { type: far_field } }, output: { voice: marin } }
      tools:
        - type: function
          name: ${canaries.tool}
          description: ${canaries.description}
          parameters: { type: object, properties: { place: { type: string, description: ${canaries.schema} } } }
    tools: [{ name: client_tool, description: shows a picture, runs: client }]`;

const yaml = `profiles:\n  default:${profile}${unlimited}`;
/** Of the instance; a busy machine refuses nobody here. */
const idle = 'busy_delay_ms: 0, busy_percent: 0';

/** What the profile above sets and so locks. */
const locked = ['audio.input.noise_reduction', 'audio.output.voice'];

export type Dialect = 'ga' | 'preview';
export const dialects: readonly Dialect[] = ['ga', 'preview'];

export const doorOf: Record<Dialect, string> = {
  ga: '/openai/v1/realtime?model=voice',
  preview: '/openai/realtime?api-version=2024-10-01-preview&deployment=voice',
};

export interface ArenaOptions {
  /** Further profiles, or in place of the usual file when it starts with `profiles:`. */
  yaml?: string;
  env?: Record<string, string>;
  /** An upstream with names of its own, in either dialect. */
  upstream?: { dialect: Dialect; deployment: string; apiKey: string };
  emulator?: EmulatorOptions;
}

/** What came of one strike. */
export interface Outcome {
  /** Frames that reached upstream. */
  readonly up: readonly string[];
  /** Events the attacker got, without those of the fence. */
  readonly events: readonly ServerEvent[];
  readonly errors: readonly ServerEvent[];
  readonly closed: { code: number; reason: string } | null;
}

export interface Arena {
  readonly emulator: Emulator;
  readonly wire: Wire;
  readonly relay: Relay;
  readonly address: string;
  /** The log as it was written. */
  readonly log: readonly string[];
  token(claims?: { subject?: string; profile?: string; ttlSeconds?: number; claims?: object }): string;
  connect(dialect?: Dialect, options?: { token?: string; query?: string; protocols?: string[] }): Promise<TestClient>;
  /** The session that is attacked; a new one when the last was closed. */
  victim(dialect?: Dialect): Promise<Victim>;
  /** Fails unless the honest session, which has been open all the time, completes a turn. */
  honestTurn(): Promise<void>;
  /** The metrics as a scraper sees them. */
  metrics(): Promise<string>;
}

/** Starts an arena for the tests of one file, or of one `describe`. */
export function arena(options: ArenaOptions = {}): Arena {
  const made = {} as { -readonly [Key in keyof Arena]: Arena[Key] };
  const folder = mkdtempSync(join(tmpdir(), 'arena-'));
  const config = join(folder, 'relay.yaml');
  const victims = new Map<Dialect, Victim>();
  let honest: TestClient;

  beforeAll(async () => {
    made.emulator = await startEmulator({ speed: Number.POSITIVE_INFINITY, recordEvents: 0, ...options.emulator });
    made.wire = await startWire(made.emulator.url);
    writeFileSync(config, configuration(options, made.wire.url));
    const env = {
      HOST: '127.0.0.1',
      PORT: '0',
      RELAY_OPS_PORT: '0',
      RELAY_CONFIG: config,
      AZURE_OPENAI_ENDPOINT: made.wire.url,
      AZURE_OPENAI_REALTIME_DEPLOYMENT: 'gpt-realtime',
      AZURE_OPENAI_API_KEY: 'emulator-key',
      RELAY_JWT_SECRET: jwt.secret,
      RELAY_JWT_ISSUER: jwt.issuer,
      RELAY_JWT_AUDIENCE: jwt.audience,
      ...options.env,
    };
    const log: string[] = [];
    made.log = log;
    made.relay = await startRelay(loadConfig(env), createLog('trace', { write: (line) => void log.push(line) }));
    made.address = made.relay.url.replace('http', 'ws');
    honest = await made.connect('ga', { token: made.token({ subject: 'honest' }) });
    await honest.next('session.created');
  });

  afterAll(async () => {
    await made.honestTurn();
    await made.relay.close();
    await made.wire.close();
    await made.emulator.close();
    rmSync(folder, { recursive: true, force: true });
  });

  made.token = ({ subject = 'mallory', ttlSeconds = 600, claims, ...rest } = {}) =>
    signToken({ ...jwt, subject, ttlSeconds, ...(claims && { claims: claims as Record<string, unknown> }), ...rest });
  made.connect = (dialect = 'ga', { token = made.token(), query = '', protocols } = {}) =>
    connect(made.address + doorOf[dialect] + query, {
      headers: { Authorization: `Bearer ${token}` },
      ...(protocols && { protocols }),
    });
  made.victim = async (dialect = 'ga') => {
    const last = victims.get(dialect);
    if (last?.isOpen) return last;
    const client = await made.connect(dialect);
    await client.next('session.created');
    const victim = new Victim(client, made.wire.passages.at(-1) as Passage, dialect, options.upstream?.dialect);
    victims.set(dialect, victim);
    return victim;
  };
  made.honestTurn = async () => {
    const content = [{ type: 'input_text', text: 'Are you still there?' }];
    honest.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
    honest.send({ type: 'response.create', response: { output_modalities: ['text'] } });
    const last = await honest.next(({ type }) => type === 'response.done' || type === 'error');
    expect(last).toMatchObject({ type: 'response.done', response: { status: 'completed' } });
  };
  made.metrics = async () => (await fetch(`${made.relay.opsUrl}/metrics`)).text();
  return made;
}

function configuration({ yaml: more = '', upstream }: ArenaOptions, endpoint: string): string {
  if (more.startsWith('profiles:')) return `${more}\nlimits: { ${idle} }\n`;
  const own = `\nlimits: { ${idle}`;
  const rest = more.includes('\nlimits: {') ? more.replace('\nlimits: {', `${own},`) : `${more}${own} }\n`;
  if (!upstream) return yaml + rest;
  const { dialect, deployment, apiKey } = upstream;
  const target = `upstreams: [{ name: main, endpoint: "${endpoint}", deployment: ${deployment}, dialect: ${dialect}, api_key: ${apiKey} }]`;
  // The newer voices do not exist in preview.
  return `${yaml.replace('voice: marin', 'voice: coral')}${rest}\n${target}\n`;
}

/** A session in the hands of an attacker, with the judge at its side. */
export class Victim {
  readonly #items = new Set<string>();
  readonly #own = new Set<string>();
  readonly #responses = new Set<string>();
  readonly #calls = new Set<string>();
  #fences = 0;
  #read = 0;
  isOpen = true;

  constructor(
    readonly client: TestClient,
    readonly passage: Passage,
    readonly dialect: Dialect,
    readonly upstream: Dialect = 'ga',
  ) {
    void client.closed.then(() => {
      this.isOpen = false;
    });
  }

  /** Ids of what the client was shown, as the client itself can tell. */
  get sight(): Sight {
    for (const event of this.client.events.slice(this.#read)) this.#see(event);
    this.#read = this.client.events.length;
    return {
      upstream: this.upstream,
      locked,
      maxOutputTokens: 500,
      seenItems: this.#items,
      ownItems: this.#own,
      seenResponses: this.#responses,
      calls: this.#calls,
    };
  }

  #see({ type, item, item_id, response }: ServerEvent): void {
    const shown = item as { id?: string; type?: string; role?: string; call_id?: string } | undefined;
    if (shown?.id) this.#items.add(shown.id);
    if (shown?.id && shown.role === 'user') this.#own.add(shown.id);
    if (shown?.type === 'function_call' && shown.call_id) this.#calls.add(shown.call_id);
    if (typeof item_id === 'string' && type.startsWith('input_audio_buffer.')) {
      this.#items.add(item_id);
      this.#own.add(item_id);
    }
    if (type === 'response.created') this.#responses.add((response as { id: string }).id);
  }

  /**
   * Sends these frames, then a plain message of the user: when that comes back from upstream, all that the frames could
   * cause in either direction has happened.
   */
  async strike(...messages: (string | Buffer | object)[]): Promise<Outcome> {
    const { client, passage } = this;
    const fence = `fence_${++this.#fences}`;
    const sight = this.sight;
    const [sent, got] = [passage.up.length, client.events.length];
    for (const message of messages) {
      const isBytes = typeof message === 'string' || Buffer.isBuffer(message);
      client.ws.send(isBytes ? message : JSON.stringify(message), { binary: false });
    }
    client.send({
      type: 'conversation.item.create',
      item: { id: fence, type: 'message', role: 'user', content: [{ type: 'input_text', text: 'fence' }] },
    });
    // What the client itself names may be referred to by its later frames, before any answer to them.
    for (const id of namedIn(messages)) {
      this.#items.add(id);
      this.#own.add(id);
    }
    const passed = client.next(({ type, item }) => type !== 'error' && (item as { id?: string })?.id === fence);
    const closed = await passed.then(
      () => null,
      () => client.closed,
    );
    if (closed) this.isOpen = false;
    const up = passage.up.slice(sent).filter((text) => !text.includes(`"${fence}"`));
    const events = client.events.slice(got).filter((event) => !JSON.stringify(event).includes(`"${fence}"`));
    const outcome = { up, events, errors: events.filter(({ type }) => type === 'error'), closed };
    judge(outcome, sight, messages.length);
    return outcome;
  }

  /** Waits until no answer is running that a strike may have asked for. */
  async settle(): Promise<void> {
    const count = (type: string) => this.client.events.filter((event) => event.type === type).length;
    while (this.isOpen && count('response.created') > count('response.done')) {
      await this.client.next('response.done').catch(() => undefined);
    }
  }
}

function namedIn(messages: readonly (string | Buffer | object)[]): string[] {
  return messages.flatMap((message) => {
    const { type, item } = message as { type?: unknown; item?: { id?: unknown; role?: unknown } | null };
    if (type !== 'conversation.item.create' || item?.role !== 'user') return [];
    return typeof item.id === 'string' ? [item.id] : [];
  });
}

/** Fails when an attack got anything upstream that may not go there, or was met with silence or an unknown end. */
function judge({ up, events, errors, closed }: Outcome, sight: Sight, messages: number): void {
  for (const frame of up) {
    expect(faultOf(frame, sight)).toBeNull();
    expect(frame).not.toContain(evil);
  }
  for (const word of Object.values(canaries)) expect(JSON.stringify(events)).not.toContain(word);
  if (closed) {
    expect(Object.keys(exits)).toContain(closed.reason);
    const exit = exits[closed.reason as ExitId];
    expect(closed.code).toBe(exit.close);
    if (exit.announced) expect(errors.at(-1)?.error).toMatchObject({ code: closed.reason });
  } else {
    // Whatever was not carried out must have been answered.
    if (messages > 0) expect(up.length + events.length).toBeGreaterThan(0);
  }
}
