/** Many sessions that talk while their tools run, and what is to be found of every call afterwards. */

import type { ServerResponse } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import type { Emulator } from '../../src/emulator/emulator.js';
import type { Script } from '../../src/emulator/script.js';
import type { TestClient } from './client.js';
import { type Question, say } from './tools.js';

/** The tools of the crowd, in YAML flow style, each at the endpoint. */
export function crowdTools(timeoutSeconds: number): Record<string, string> {
  const usual = `timeout_seconds: ${timeoutSeconds}`;
  return {
    quick: usual,
    slow: usual,
    broken: usual,
    hanging: 'timeout_seconds: 0.3',
    shown: `${usual}, reply: if_quiet`,
    noted: `${usual}, reply: silent`,
    dropped: `${usual}, on_interrupt: abort`,
  };
}

/** Answers for all of them; a session gets what names it. */
export function crowdAnswer(slowMs: number) {
  return (question: Question, response: ServerResponse): void => {
    const { name, session, call_id: call } = question;
    if (name === 'hanging') return;
    if (name === 'broken') response.statusCode = 500;
    const ms = name === 'slow' || name === 'dropped' ? slowMs : Math.random() * 60;
    setTimeout(() => say(response, { session: session.id, call }), ms);
  };
}

const call = (name: string) => ({ name, arguments: {} });
/** What the model calls when these words are said. */
export const plans: readonly (Script & { when: string })[] = [
  { when: 'plan one', functionCall: call('quick') },
  { when: 'plan two', functionCall: [call('quick'), call('slow'), call('broken')] },
  { when: 'plan three', functionCall: [call('hanging'), call('quick'), call('quick'), call('slow'), call('noted')] },
  { when: 'plan four', text: 'One moment.', functionCall: [call('shown'), call('noted')] },
  { when: 'plan five', functionCall: [call('dropped'), call('noted')] },
  { when: 'plan six', functionCall: [call('quick'), call('unheard_of')], status: 'incomplete' },
];

/** What a user does while tools run. */
const meanwhile: readonly ((client: TestClient) => void)[] = [
  () => undefined,
  (client) => client.send({ type: 'response.cancel' }),
  (client) => type(client, 'Are you there?', true),
  (client) => type(client, 'By the way.', false),
];

function type(client: TestClient, text: string, asks: boolean): void {
  const content = [{ type: 'input_text', text }];
  client.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
  if (asks) client.send({ type: 'response.create', response: { output_modalities: ['text'] } });
}

/** One session: so many turns, each with a plan and something that the user does meanwhile. */
export async function talk(client: TestClient, turns: number, seed: number): Promise<void> {
  for (let turn = 0; turn < turns; turn++) {
    const plan = plans[(seed + turn) % plans.length] as { when: string };
    type(client, plan.when, true);
    await client.next((event) => event.type === 'response.done' || event.type === 'error');
    await pause((seed * 7) % 50);
    meanwhile[(seed + turn * 3) % meanwhile.length]?.(client);
    await pause(100);
  }
}

/** Resolves when no call has ended for so long: none runs that is shorter. */
export async function quiet(log: () => readonly Line[], ms: number): Promise<void> {
  const ended = () => log().filter(({ msg }) => msg === 'tool.called').length;
  for (let before = -1; before !== ended(); ) {
    before = ended();
    await pause(ms);
  }
}

type Line = Record<string, unknown>;

/** What is wrong with the calls of a crowd whose sessions have ended, or are silent; empty when all is well. */
export function faultsOf(emulator: Emulator, log: readonly Line[]): string[] {
  const { received } = emulator.control;
  const called = log.filter(({ msg }) => msg === 'tool.called');
  const sessionOf = new Map(
    log.filter(({ msg }) => msg === 'session.opened').map((line) => [line.requestId, line.session]),
  );
  const answered = new Map<string, number>();
  const crossed: string[] = [];
  for (const { headers, events } of received.connections) {
    const session = sessionOf.get(headers['x-ms-client-request-id']);
    for (const { body } of events) {
      const item = (body.item ?? {}) as { type?: string; call_id?: string; output?: string };
      if (item.type !== 'function_call_output') continue;
      answered.set(String(item.call_id), (answered.get(String(item.call_id)) ?? 0) + 1);
      const of = /"session":"(\w+)"/.exec(item.output ?? '')?.[1];
      if (of !== undefined && of !== session) crossed.push(`${item.call_id} of ${of} was answered in ${session}`);
    }
  }
  const notOnce = called
    .filter(({ call, error }) => (answered.get(String(call)) ?? 0) !== ((error as Line)?.kind === 'ended' ? 0 : 1))
    .map(({ call, outcome }) => `${call} (${outcome}) was answered ${answered.get(String(call)) ?? 0} times`);
  const uncalled = [...answered.keys()].filter((id) => !called.some((line) => line.call === id));
  const busy = received.errorEvents.filter((event) => JSON.stringify(event).includes('already_has_active_response'));
  return [
    ...crossed,
    ...notOnce,
    ...uncalled.map((id) => `${id} was answered and never called`),
    ...busy.map(() => 'upstream was asked for an answer while it gave one'),
  ];
}
