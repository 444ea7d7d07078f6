/**
 * The life of tool calls in one session: sees what is said, and never changes, swallows or delays any of it. What a call
 * brings goes upstream later, as an event of the relay's own.
 */

import { Bounded } from '../policy/bounded.js';
import { replyOf } from '../policy/tools.js';
import { relayPrefix } from '../protocol/catalogue.js';
import { type Json, type JsonObject, objectOf, type Step } from '../protocol/event.js';
import type { Answering } from './answering.js';
import { type ApprovalPorts, type Approvals, createApprovals } from './approvals.js';
import { type CallPorts, type CallReport, type CallSetup, type Calls, createCalls } from './calls.js';
import { createFillers, type Fillers, fillerMark } from './fillers.js';
import { isOver, longestCallMs } from './mcp.js';
import { createOutputs, type Outputs } from './outputs.js';
import { createPrompting } from './prompting.js';
import { beginRound, finish, isUnanswered, mayFollow, type Round, wantsAnswer, wish } from './round.js';
import type { ClientResult } from './tool.js';

/** What a runner needs of its session. */
export interface RunnerPorts extends CallPorts, ApprovalPorts {
  readonly answering: Answering;
  /** Speaks upstream; the event has its id, so that whoever answers it can be told. */
  say(body: JsonObject): void;
  /** The instructions that make the model say this and nothing else. */
  toSay(text: string): string;
  /** A call has brought something for the client. */
  result(told: ClientResult): void;
  /** Upstream did not take the output of a call. */
  outputRefused(callId: string, code: Json): void;
  /** What the answer that begins had to wait for, from the first call to begin to the last to end. */
  waited(ms: number): void;
}

/** What backends have to do with calls: with those that are theirs to answer, and with those that they may approve. */
type ForBackends = Pick<Calls, 'isBackends' | 'answer'> & Pick<Approvals, 'isDecided' | 'decide'>;

/** The calls of one session. */
export interface Runner {
  /** Sees every event of upstream. */
  readonly down: Step;
  /** Sees every event of the client that policy let pass. */
  readonly up: Step;
  /** Whether a call has begun and not ended. */
  readonly isWorking: boolean;
  /** Whether an item pretends to be the output of a call that the server answers for. */
  isForged(item: JsonObject): boolean;
  /** Whether a `call_id` is that of a call that the server answers for. */
  isServed(callId: unknown): boolean;
  /** What backends have to do with calls. */
  readonly forBackends: ForBackends;
  /** Whether an answer is to follow on a response that ends now. */
  awaits(responseId: unknown): boolean;
  /** The session has ended: what runs is given up, and nothing is said any more. */
  close(): void;
}

/** More than an honest session has of a kind at a time. */
const most = 64;
const tagKey = relayPrefix.slice(0, -1);

/** Makes the runner of a session that begins. */
export function createRunner(setup: CallSetup, ports: RunnerPorts): Runner {
  return new SessionRunner(setup, ports);
}

class SessionRunner implements Runner {
  readonly #trusted: boolean;
  readonly #ports: RunnerPorts;
  readonly #calls: Calls;
  readonly #fillers: Fillers;
  readonly outputs: Outputs;
  /** Responses by id, until all is over that they called. */
  readonly #rounds = new Bounded<Round>(most);
  /** Tags of the client's responses that are no part of the conversation. */
  readonly #outside = new Bounded<true>(most);
  readonly #approvals: Approvals;
  readonly prompting = createPrompting();
  readonly forBackends: ForBackends;
  #waitedMs = 0;
  #isClosed = false;

  constructor(setup: CallSetup, ports: RunnerPorts) {
    this.#trusted = setup.trusted;
    this.#ports = ports;
    this.#calls = createCalls(setup, ports, (round, report) => this.#over(round, report));
    this.#fillers = createFillers(ports);
    this.outputs = createOutputs(ports);
    this.#approvals = createApprovals(ports, (round, answer) => {
      if (answer !== null) this.outputs.put(round, answer);
      this.#settle(round);
    });
    const [{ isBackends, answer }, { isDecided, decide }] = [this.#calls, this.#approvals];
    this.forBackends = { isBackends, answer, isDecided, decide };
  }

  readonly down: Step = (event) => {
    if (event.body !== null && !this.#isClosed) onDown.get(event.type)?.(this, event.body);
    return event;
  };

  readonly up: Step = (event) => {
    if (event.body !== null) onUp.get(event.type)?.(this, event.body);
    return event;
  };

  get isWorking(): boolean {
    return this.#calls.open + this.#approvals.open > 0;
  }

  isForged({ type, id, call_id: callId }: JsonObject): boolean {
    return type === 'function_call_output' && this.#calls.knows(callId) && !this.outputs.isOwn(id);
  }

  isServed(callId: unknown): boolean {
    return this.#calls.knows(callId);
  }

  awaits(responseId: unknown): boolean {
    const round = typeof responseId === 'string' ? this.#rounds.get(responseId) : undefined;
    return round !== undefined && isUnanswered(round);
  }

  close(): void {
    this.#isClosed = true;
    this.#fillers.close();
    this.#calls.close();
    this.#approvals.close();
    // What was kept back of the client's is not sent any more.
    for (const round of this.#rounds.values()) round.giveUp?.();
  }

  began({ id, conversation_id: conversation, metadata }: JsonObject): Round | null {
    if (typeof id !== 'string' || this.#rounds.has(id)) return null;
    const { relay, [tagKey]: tag } = objectOf(metadata);
    const isOutside = conversation === null || this.#outside.delete(String(tag));
    const round = beginRound(id, isOutside, this.prompting.isUnprompted);
    this.#rounds.set(id, round);
    if (isOutside || relay === fillerMark.relay || this.#waitedMs === 0) return round;
    this.#ports.waited(this.#waitedMs);
    this.#waitedMs = 0;
    return round;
  }

  /** An item of a response has begun. */
  added(round: Round, item: JsonObject): void {
    const { type, id } = item;
    if (type === 'function_call' && !round.isOutside) this.#calls.announced(item);
    if (type !== 'mcp_call' || typeof id !== 'string') return;
    if (this.#trusted || round.isOutside || round.open.size >= most) return;
    round.hasMcpCalls = true;
    round.open.set(id, null);
  }

  /** An item of a response is complete, or is cut off. */
  ended(round: Round, item: JsonObject): void {
    if (round.isOutside) return;
    const { type, status, id } = item;
    if (type === 'function_call') {
      // What is cut off is never run.
      if (status === 'completed') this.#calls.begin(round, item);
    } else if (type === 'mcp_call') {
      if (isOver(item)) this.rested(id);
    } else if (type === 'mcp_approval_request' && !this.#trusted) this.#approvals.ask(round, id);
  }

  #over(round: Round, { tool, callId, itemId, result: { outcome, output, result } }: CallReport): void {
    if (this.#isClosed) return;
    if (tool && outcome === 'ok' && result !== undefined) {
      this.#ports.result({ tool: tool.name, callId, itemId, result });
    }
    // Nobody but the relay can answer for a backend that never came.
    const isLost = tool?.runs === 'backend' && outcome === 'timeout';
    if (outcome !== 'aborted') wish(round, tool && !isLost ? replyOf(tool) : 'always');
    this.outputs.put(round, { type: 'function_call_output', call_id: callId, output });
    this.#fillers.look(round);
    this.#settle(round);
  }

  /** A tool of upstream's own is done. */
  rested(id: Json | undefined): void {
    this.prompting.read();
    const round = [...this.#rounds.values()].find(({ open }) => open.get(String(id)) === null);
    if (!round) return;
    round.open.delete(String(id));
    round.isUnprompted = true;
    this.#settle(round);
  }

  done(response: JsonObject): void {
    const round = this.roundOf(response.id);
    if (!round) return;
    if (round.isOutside) {
      this.#leave(round);
      return;
    }
    finish(round, response);
    this.outputs.flush(round);
    if (round.hasClientCalls && round.open.size > 0 && mayFollow(round)) {
      round.release = this.#ports.answering.keep();
    }
    if ([...round.open.values()].includes(null)) {
      round.giveUp = this.#ports.clock.at(longestCallMs, () => {
        for (const [id, tool] of round.open) if (tool === null) round.open.delete(id);
        this.#settle(round);
      });
    }
    this.#fillers.look(round);
    this.#settle(round);
  }

  /** Asks for the answer to what a round brought, when all of it is there. */
  #settle(round: Round): void {
    if (round.status === null || round.open.size > 0) return;
    if (mayFollow(round) && round.calls > 0) {
      const waited = performance.now() - round.startedAt;
      if (round.hasClientCalls || wantsAnswer(round)) this.#waitedMs = Math.max(this.#waitedMs, waited);
    }
    this.#leave(round);
    if (!wantsAnswer(round)) return;
    const { acknowledged } = this.#ports.answering.want({ kind: 'follow-up', after: round.responseId });
    if (round.unacknowledged.size === 0) acknowledged();
    else round.acknowledged = acknowledged;
  }

  #leave(round: Round): void {
    this.#rounds.delete(round.responseId);
    round.giveUp?.();
    round.release?.();
  }

  roundOf(responseId: Json | undefined): Round | undefined {
    return typeof responseId === 'string' ? this.#rounds.get(responseId) : undefined;
  }

  /** An item has come into the conversation. */
  item({ type, role, id }: JsonObject): void {
    if (type === 'function_call_output' || type === 'mcp_call') this.prompting.read();
    else if (type === 'message' && role === 'user') this.prompted(id);
    this.outputs.acknowledged(id);
  }

  /** The user has said something new. */
  prompted(itemId: Json | undefined): void {
    if (this.prompting.spoke(itemId)) this.#fillers.prompted();
  }

  interrupted(): void {
    this.#calls.interrupt();
  }

  /** The client wants to hear nothing more of what has begun. */
  cancelled(): void {
    for (const round of this.#rounds.values()) {
      round.isDropped = true;
      this.#fillers.look(round);
    }
    this.interrupted();
  }

  asked({ response }: JsonObject): void {
    this.#fillers.prompted();
    const { conversation, metadata } = objectOf(response);
    const tag = objectOf(metadata)[tagKey];
    if (conversation === 'none' && typeof tag === 'string') this.#outside.set(tag, true);
  }
}

type Look = (runner: SessionRunner, body: JsonObject) => void;

const ofItem: Look = (runner, { item }) => runner.item(objectOf(item));
const ofRest: Look = (runner, { item_id }) => runner.rested(item_id);
/** Of an item that a response brings forth; one whose beginning was missed begins now. */
const ofOutput =
  (look: (runner: SessionRunner, round: Round, item: JsonObject) => void): Look =>
  (runner, { response_id: id, item }) => {
    const round = runner.roundOf(id) ?? runner.began({ id });
    if (round) look(runner, round, objectOf(item));
  };

const onDown: ReadonlyMap<string, Look> = new Map<string, Look>([
  ['response.created', (runner, { response }) => void runner.began(objectOf(response))],
  ['response.output_item.added', ofOutput((runner, round, item) => runner.added(round, item))],
  ['response.output_item.done', ofOutput((runner, round, item) => runner.ended(round, item))],
  ['response.done', (runner, { response }) => runner.done(objectOf(response))],
  ['response.mcp_call.completed', ofRest],
  ['response.mcp_call.failed', ofRest],
  ['conversation.item.added', ofItem],
  ['conversation.item.created', ofItem],
  ['input_audio_buffer.timeout_triggered', (runner, { item_id }) => runner.prompting.silent(item_id)],
  ['input_audio_buffer.committed', (runner, { item_id }) => runner.prompted(item_id)],
  ['input_audio_buffer.speech_started', (runner) => runner.interrupted()],
  ['error', (runner, { error }) => runner.outputs.refused(objectOf(error))],
]);

const onUp: ReadonlyMap<string, Look> = new Map<string, Look>([
  ['response.create', (runner, body) => runner.asked(body)],
  ['response.cancel', (runner) => runner.cancelled()],
]);
