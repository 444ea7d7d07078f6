/** A relay whose profile has tools, and the endpoint that they ask, which answers as a test says. */

import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { endpoint } from '../tools/support.js';
import { startLink } from './link.js';
import { startTestEmulator, startTestRelay, type TestRelay, type TestRelayOptions } from './relay.js';

type Emulator = Awaited<ReturnType<typeof startTestEmulator>>;

/** What a tool was asked for. */
export interface Question {
  readonly name: string;
  readonly call_id: string;
  readonly arguments: Record<string, unknown>;
  readonly session: { readonly id: string };
  readonly user: { readonly subject: string };
}

export interface ToolRelay extends TestRelay {
  readonly emulator: Emulator;
  /** What the endpoint was asked, in order. */
  readonly asked: readonly { readonly body: string }[];
  /** Resolves when the endpoint was asked so often. */
  questions(count: number): Promise<Question[]>;
  /** What the relay said upstream, of one type. */
  said(type: string): Record<string, unknown>[];
  /** The outputs of calls that upstream got. */
  outputs(): Record<string, unknown>[];
}

interface Options {
  /** More of the profile, in YAML flow style. */
  readonly profile?: string;
  /** Of each tool by its name, in YAML flow style; all are HTTP tools at the endpoint. */
  readonly tools?: Record<string, string>;
  /** Further tools, in YAML flow style. */
  readonly others?: readonly string[];
  readonly dialect?: 'ga' | 'preview';
  readonly speed?: number;
  /** How far upstream is. */
  readonly rttMs?: number;
  readonly limits?: string;
  readonly relay?: Partial<TestRelayOptions>;
}

/** An answer in JSON. */
export function say(response: ServerResponse, value: unknown): void {
  response.setHeader('content-type', 'application/json').end(JSON.stringify(value));
}

/** Entries under `tools:` for an endpoint, in YAML flow style. */
export function toolEntries(url: string, tools: Readonly<Record<string, string>>): string[] {
  return Object.entries(tools).map(
    ([name, rest]) => `{ name: ${name}, runs: http, http: { url: "${url}" }${rest && `, ${rest}`} }`,
  );
}

/** Starts both; the endpoint is given what it is asked for. */
export async function startToolRelay(
  answer: (question: Question, response: ServerResponse, request: IncomingMessage) => void,
  {
    profile = '',
    tools = { lookup: '' },
    others = [],
    dialect = 'ga',
    speed,
    rttMs = 0,
    limits = '',
    relay = {},
  }: Options = {},
): Promise<ToolRelay> {
  const emulator = await startTestEmulator(speed === undefined ? {} : { speed });
  const waiting = new Set<() => void>();
  const listener: RequestListener = (request, response) => {
    for (const look of waiting) look();
    answer(JSON.parse(asked.at(-1)?.body ?? '{}') as Question, response, request);
  };
  const { url, asked } = await endpoint(listener);
  const entries = [...toolEntries(url, tools), ...others];
  const far = rttMs > 0 ? (await startLink(emulator.url, 50e6, rttMs)).address.replace('ws:', 'http:') : emulator.url;
  const yaml = `
upstreams: [{ name: main, endpoint: "${far}", deployment: gpt-realtime, dialect: ${dialect}, api_key: emulator-key }]
limits: { ${limits} }
profiles:
  default:
    tools: [${entries.join(', ')}]
    ${profile}
`;
  const test = await startTestRelay({ upstream: emulator.url, yaml, ...relay });
  const said = (type: string) =>
    emulator.control.received.events(type).map(({ body }) => body as Record<string, unknown>);
  return {
    ...test,
    emulator,
    asked,
    questions: (count) =>
      new Promise((resolve) => {
        const look = () => {
          if (asked.length < count) return;
          waiting.delete(look);
          resolve(asked.map(({ body }) => JSON.parse(body) as Question));
        };
        waiting.add(look);
        look();
      }),
    said,
    outputs: () =>
      said('conversation.item.create')
        .map(({ item }) => item as Record<string, unknown>)
        .filter(({ type }) => type === 'function_call_output'),
  };
}

/** What the assistant says in a response. */
export function wordsOf(response: unknown): string {
  const { output = [] } = response as { output?: { content?: { text?: string; transcript?: string }[] }[] };
  return output
    .flatMap(({ content = [] }) => content.map(({ text, transcript }) => text ?? transcript ?? ''))
    .join(' ');
}
