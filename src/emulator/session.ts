/** One emulated session, natively GA: takes validated client events, emits server events. Knows no socket. */
import type { JsonObject } from '../protocol/event.js';
import { answer, flood, type Question } from './answer.js';
import { createItem, deleteItem, insertScripted, itemsToRead, retrieveItem, truncateItem } from './editing.js';
import type { Fault } from './faults.js';
import { newId } from './ids.js';
import { Hearing } from './listening.js';
import { McpServers } from './mcp-tools.js';
import type { Personality } from './output.js';
import { ResponseRun, type Stage } from './response.js';
import { userWords, whatWasSaid } from './said.js';
import { type Complaint, complaint, isObject } from './schema.js';
import type { Script } from './script.js';
import {
  type Circumstances,
  echo,
  formatOf,
  isNewerModel,
  modalityOf,
  objectAt,
  objection,
  type Settings,
  updated,
} from './settings.js';
import type { Speech } from './speech.js';
import { Conversation, type Item } from './thread.js';
import { contextTokens, type Tokens } from './tokens.js';

/** What a session needs of the connection it runs on. */
export interface Surroundings {
  readonly speech: Speech;
  readonly speed: number;
  readonly deployment: string | null;
  readonly expiresAt: number;
  readonly like: Personality;
  /** Whether input can be transcribed by what is deployed under this name. */
  transcribes(model: string): boolean;
  emit(event: JsonObject): void;
  /** The peer did something that failed without an event of its own to answer. */
  complain(complaint: Complaint): void;
  ready(resume: () => void): boolean;
  /** The script for a response to these words of the user; null for one that answers something else. */
  nextScript(said: string | null): Script;
  /** What goes wrong at the response that is about to start. */
  nextAccident(): Fault | null;
  /** Whether the MCP server that is asked now does not tell its tools. */
  listFails(): boolean;
  /** Carries out the end of an accident: the connection dies. */
  die(fault: Fault): void;
  spent(usage: JsonObject): void;
  /** So much of the audio that was appended, behind so many bytes, became this item. */
  committed(itemId: string, from: number, audio: Buffer): void;
}

/** Out-of-band responses that may run side by side. */
const maxParallel = 32;
/** How long an MCP server takes to tell its tools, in the time of the conversation. */
const listMs = 100;

/** The state of one session: its settings, its conversation, and who speaks. */
export class Session {
  readonly id: string;
  readonly #conversationId = newId('conv');
  readonly #world: Surroundings;
  readonly #conversation = new Conversation();
  readonly #outOfBand = new Map<string, ResponseRun>();
  readonly #hearing: Hearing;
  readonly #servers: McpServers;
  readonly #timers = new Set<NodeJS.Timeout>();
  #settings: Settings;
  #active: ResponseRun | null = null;
  #audioWasHeard = false;
  #lastInput: Tokens | null = null;

  /** @param id its id, where a key for it was minted before */
  constructor(settings: Settings, world: Surroundings, id = newId('sess')) {
    this.id = id;
    this.#settings = settings;
    this.#world = world;
    this.#hearing = new Hearing({
      speech: world.speech,
      speed: world.speed,
      conversation: this.#conversation,
      settings: () => this.#settings,
      emit: world.emit,
      interrupt: () => this.#active?.cancel('turn_detected'),
      respond: () => {
        const refused = this.#respond({});
        if (refused) world.complain(refused);
      },
      isResponding: () => this.#active !== null,
      transcribes: world.transcribes,
      spent: world.spent,
      committed: world.committed,
    });
    this.#servers = new McpServers({
      conversation: this.#conversation,
      listMs: listMs / world.speed,
      emit: world.emit,
      fails: world.listFails,
      after: (ms, act) => this.#after(ms, act),
    });
  }

  start(): void {
    this.#world.emit({ type: 'session.created', session: this.#echo() });
  }

  /** Carries out a validated GA client event; returns why not, if not. */
  handle(event: JsonObject): Complaint | null {
    const emit = this.#world.emit;
    switch (event.type) {
      case 'session.update':
        return this.#update(event.session as JsonObject);
      case 'input_audio_buffer.append':
        return this.#hearing.append(event.audio as string);
      case 'input_audio_buffer.commit':
        return this.#hearing.commit();
      case 'input_audio_buffer.clear':
        this.#hearing.clear();
        return null;
      case 'conversation.item.create':
        return createItem(event, this.#conversation, this.#settings.input.format, emit);
      case 'conversation.item.retrieve':
        return retrieveItem(event, this.#conversation, emit);
      case 'conversation.item.truncate':
        return truncateItem(event, this.#conversation, emit);
      case 'conversation.item.delete':
        return deleteItem(event, this.#conversation, emit);
      case 'response.create':
        return this.#respond(isObject(event.response) ? event.response : {});
      case 'response.cancel':
        return this.#cancel(event.response_id as string | undefined);
      default:
        return complaint('invalid_event', `'${String(event.type)}' is only available over WebRTC and SIP.`, 'type');
    }
  }

  /** Stops everything without a word: the peer is gone. */
  drop(): void {
    this.#active?.drop();
    for (const response of this.#outOfBand.values()) response.drop();
    this.#hearing.drop();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  #echo(): JsonObject {
    return echo(this.#settings, this.id, this.#world.expiresAt);
  }

  #update(change: JsonObject): Complaint | null {
    const now: Circumstances = {
      audioWasHeard: this.#audioWasHeard,
      responseIsActive: this.#active !== null,
      deployment: this.#world.deployment,
    };
    const found = objection(this.#settings, change, now);
    if (found) return found;
    this.#settings = updated(this.#settings, change);
    this.#hearing.configure();
    this.#world.emit({ type: 'session.updated', session: this.#echo() });
    this.#servers.configure(this.#settings.tools);
    return null;
  }

  #after(ms: number, act: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      act();
    }, ms);
    this.#timers.add(timer);
  }

  #cancel(id: string | undefined): Complaint | null {
    const response = id === undefined || id === this.#active?.id ? this.#active : this.#outOfBand.get(id);
    if (!response) return complaint('response_cancel_not_active', 'Cancellation failed: no active response found');
    response.cancel('client_cancelled');
    return null;
  }

  #respond(given: JsonObject): Complaint | null {
    const isOutOfBand = given.conversation === 'none';
    const refused = this.#whyNoResponse(given, isOutOfBand);
    if (refused) return refused;
    const settings = this.#settings;
    const items = itemsToRead(given.input, this.#conversation, settings.input.format);
    if ('code' in items) return items;
    const accident = this.#world.nextAccident();
    if (accident?.fault === 'mute') return null;
    if (accident?.fault === 'busy') {
      this.#world.complain(alreadyActive(newId('resp')));
      return null;
    }
    const said = whatWasSaid(items, this.#world.speech);
    const script = this.#world.nextScript(userWords(said));
    if (!isOutOfBand) insertScripted(script, this.#conversation, this.#world.emit);

    const output = objectAt(objectAt(given, 'audio'), 'output');
    const terms = {
      modality: modalityOf(given.output_modalities) ?? settings.outputModality,
      format: formatOf(output.format) ?? settings.output.format,
      voice: output.voice ?? settings.output.voice,
      maxOutputTokens: (given.max_output_tokens as number | 'inf' | undefined) ?? settings.maxOutputTokens,
      metadata: given.metadata ?? null,
      conversationId: isOutOfBand ? null : this.#conversationId,
    };
    const tools = (given.tools as JsonObject[] | undefined) ?? settings.tools;
    const isNewer = isNewerModel(settings.model);
    const instructions = (given.instructions as string | undefined) ?? null;
    const writes = accident?.fault === 'text_after_replay' && !this.#audioWasHeard && items.some(isBroughtIn);
    const question: Question = {
      items,
      said,
      ...terms,
      modality: writes ? 'text' : terms.modality,
      tools,
      mcpTools: this.#servers.usable(tools),
      toolChoice: given.tool_choice ?? settings.toolChoice,
      instructions,
      isNewer,
    };
    const input = contextTokens(instructions ?? settings.instructions, tools, items);
    const stage = this.#stage(isOutOfBand, input, accident);
    const told =
      accident?.fault === 'flood'
        ? flood(accident.bytes, terms.format, this.#world.speech)
        : answer(question, script, this.#world.speech);
    const response = new ResponseRun(told, terms, stage);
    if (isOutOfBand) this.#outOfBand.set(response.id, response);
    else this.#active = response;
    response.start();
    return null;
  }

  #whyNoResponse(given: JsonObject, isOutOfBand: boolean): Complaint | null {
    const { type, output } = this.#settings;
    if (type === 'transcription') {
      return complaint('invalid_parameter', 'Responses are not available in a transcription session.', 'type');
    }
    const { voice } = objectAt(objectAt(given, 'audio'), 'output');
    if (this.#audioWasHeard && voice !== undefined && JSON.stringify(voice) !== JSON.stringify(output.voice)) {
      return complaint('cannot_update_voice', "Cannot update a conversation's voice if assistant audio is present.");
    }
    const busy = isOutOfBand ? [...this.#outOfBand.values()][maxParallel - 1] : this.#active;
    if (!busy) return null;
    return alreadyActive(busy.id);
  }

  #stage(isOutOfBand: boolean, input: Tokens, fault: Fault | null): Stage {
    const world = this.#world;
    const deadly = fault?.fault === 'die_mid_response' || fault?.fault === 'close_mid_response' ? fault : null;
    return {
      conversation: isOutOfBand ? null : this.#conversation,
      input,
      cached: isOutOfBand ? null : this.#lastInput,
      speed: fault?.fault === 'flood' ? Number.POSITIVE_INFINITY : world.speed,
      like: world.like,
      isNewer: isNewerModel(this.#settings.model),
      firstAudioDelayMs: fault?.fault === 'slow' ? (fault.delayMs ?? 2000) : 0,
      accident: deadly && { afterDeltas: deadly.afterDeltas ?? 2, happen: () => world.die(deadly) },
      emit: world.emit,
      ready: world.ready,
      audioWasHeard: () => {
        this.#audioWasHeard = true;
      },
      ended: (response, usage) => {
        if (isOutOfBand) this.#outOfBand.delete(response.id);
        else {
          this.#active = null;
          this.#lastInput = input;
          this.#hearing.answered();
        }
        world.spent({ type: 'response', usage });
      },
      after: (ms, act) => this.#after(ms, act),
    };
  }
}

/** Words of the model that somebody else put into the conversation. */
function isBroughtIn({ shown, spoken }: Item): boolean {
  return shown.role === 'assistant' && spoken === null;
}

function alreadyActive(id: string): Complaint {
  const message = `Conversation already has an active response in progress: ${id}. Wait until the response is finished before creating a new one.`;
  return complaint('conversation_already_has_active_response', message);
}
