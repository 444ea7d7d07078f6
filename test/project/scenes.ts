/** A relay in the situations in which it writes its log, for the levels and fields of its lines. */

import { relayEnv, serve } from '../support/process.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { startUpstream } from '../support/upstream.js';
import { call } from '../webrtc/caller.js';

/** Runs one situation until these lines are written, and returns the relay. */
type Scene = readonly [lines: readonly string[], run: () => Promise<TestRelay>];

const scenes: readonly Scene[] = [
  [
    ['session.opened', 'session.ended', 'session.usage', 'session.events', 'upstream.dialed'],
    async () => {
      const emulator = await startTestEmulator();
      const relay = await startTestRelay({ upstream: emulator.url });
      const client = await relay.connect({ token: relay.token({ tenant: 'acme' }) });
      await client.ask('hello');
      client.ws.close(1000);
      return relay;
    },
  ],
  [
    ['session.opened', 'call.violated', 'session.ended', 'session.usage'],
    async () => {
      const emulator = await startTestEmulator();
      const relay = await startTestRelay({ upstream: emulator.url });
      const { caller } = await call(relay);
      await relay.logged('session.opened');
      caller.send({ type: 'session.update', session: { type: 'realtime', instructions: 'x' } });
      await relay.logged('call.violated');
      await caller.close();
      return relay;
    },
  ],
  [
    ['session.refused', 'upstream.dialed', 'session.ended'],
    async () => {
      const emulator = await startTestEmulator();
      emulator.control.faults.arm('refuse_401_permission', 5);
      const relay = await startTestRelay({ upstream: emulator.url });
      await (await relay.connect()).closed;
      await relay.connect({ token: 'not-a-token' }).catch(() => undefined);
      return relay;
    },
  ],
  [
    ['key.minted', 'request.refused'],
    async () => {
      const emulator = await startTestEmulator();
      const yaml = 'profiles: { default: { webrtc: { ephemeral_keys: true } } }';
      const relay = await startTestRelay({ upstream: emulator.url, yaml });
      const path = `${relay.relay.url}/v1/realtime/client_secrets?for=webrtc`;
      for (const key of [relay.token({ tenant: 'acme' }), 'not-a-token']) {
        await fetch(path, { method: 'POST', headers: { 'api-key': key } });
      }
      return relay;
    },
  ],
  [
    ['token.revoked', 'control.request', 'control.refused'],
    async () => {
      const relay = await startTestRelay({ upstream: 'http://127.0.0.1:1' });
      await fetch(`${relay.relay.url}/v1/relay/revocations`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${relay.token({ subject: 'backend', claims: { scope: 'relay.revoke' } })}`,
          'content-type': 'application/json',
        },
        body: JSON.stringify({ sub: 'alice', tenant: 'acme' }),
      });
      const reader = relay.token({ tenant: 'acme', claims: { scope: 'relay.sessions.read' } });
      for (const key of [reader, relay.token({ tenant: 'acme' })]) {
        await fetch(`${relay.relay.url}/v1/relay/sessions/sess_0`, { headers: { 'api-key': key } });
      }
      return relay;
    },
  ],
  [
    ['readiness.failed', 'listener.mistaken'],
    async () => {
      const { relay, ...test } = await startTestRelay({ upstream: 'http://127.0.0.1:1' });
      await fetch(`${relay.opsUrl}/readyz`);
      // TLS, on a port that speaks none.
      await fetch(relay.url.replace('http:', 'https:')).catch(() => undefined);
      return { relay, ...test };
    },
  ],
  [
    ['transcription.failed'],
    async () => {
      const upstream = await startUpstream();
      const relay = await startTestRelay({ upstream: upstream.url, yaml: transcribing });
      await (await relay.connect()).next('session.created');
      const { ws } = await upstream.connected();
      const error = { type: 'server_error', code: 'DeploymentNotFound', message: 'x', param: null };
      const item = { item_id: 'item_1', content_index: 0 };
      ws.send(JSON.stringify({ type: 'input_audio_buffer.committed', item_id: 'item_1', previous_item_id: null }));
      ws.send(JSON.stringify({ type: 'conversation.item.input_audio_transcription.failed', ...item, error }));
      return relay;
    },
  ],
  [
    ['tool.called', 'tool.output_refused', 'session.ended'],
    async () => {
      const upstream = await startUpstream();
      const relay = await startTestRelay({ upstream: upstream.url, yaml: asking });
      const client = await relay.connect();
      await client.next('session.created');
      const { ws } = await upstream.connected();
      const item = { id: 'item_1', type: 'function_call', status: 'completed', call_id: 'call_1', name: 'lookup' };
      const send = (type: string, body: object) => ws.send(JSON.stringify({ type, ...body }));
      send('response.output_item.done', { response_id: 'resp_1', item: { ...item, arguments: '{}' } });
      send('response.done', { response: { id: 'resp_1', status: 'completed', output: [item] } });
      const [output = ''] = await upstream.received(1);
      send('error', { error: { code: 'invalid_tool_call_id', event_id: JSON.parse(output).event_id } });
      await relay.logged('tool.output_refused');
      client.ws.close(1000);
      return relay;
    },
  ],
  [
    ['policy.reported'],
    async () => {
      const emulator = await startTestEmulator();
      const yaml = 'profiles: { default: { client: { report_only: true } } }';
      const relay = await startTestRelay({ upstream: emulator.url, yaml });
      const client = await relay.connect();
      await client.next('session.created');
      client.send({ type: 'session.update', session: { type: 'realtime', instructions: 'x' } });
      return relay;
    },
  ],
  [
    ['config.unchanged', 'config.reloaded', 'config.rejected', 'relay.draining'],
    async () => {
      const relay = await startTestRelay({ upstream: 'http://127.0.0.1:1', yaml: 'limits: { sessions: 1 }' });
      relay.relay.reload();
      for (const text of ['limits: { sessions: 2 }', 'limits: { sessions: x }']) {
        relay.rewrite(text);
        relay.relay.reload();
      }
      await relay.relay.drain();
      return relay;
    },
  ],
];

const transcribing = `
profiles:
  default:
    session: { audio: { input: { transcription: { model: gpt-4o-transcribe } } } }
`;

const asking = `
profiles:
  default:
    tools: [{ name: lookup, runs: http, http: { url: "http://127.0.0.1:1/" } }]
`;

/** The lines of a relay of two processes, one of which is lost, from its start to its end. */
const ofProcesses = [
  'relay.started',
  'worker.started',
  'worker.died',
  'relay.draining',
  'worker.stopped',
  'relay.stopped',
];

async function processes(): Promise<Record<string, unknown>[]> {
  const relay = await serve(relayEnv('http://127.0.0.1:1', { RELAY_WORKERS: '2' }));
  const started = JSON.parse(await relay.line((line) => line.includes('worker.started'))) as { pid: number };
  process.kill(started.pid, 'SIGKILL');
  await relay.line((line) => line.includes('worker.died'));
  relay.child.kill('SIGTERM');
  await relay.exited;
  return relay.lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** What is known of the lines of one name. */
interface Written {
  readonly levels: readonly string[];
  /** Those that every line has are left out. */
  readonly fields: readonly string[];
}

/** The levels and fields of these lines in all scenes together. */
export async function writtenLines(): Promise<Record<string, Written>> {
  const all: Record<string, Written> = {};
  // What else a busy machine makes a relay say is not of the scene.
  const note = (log: readonly Record<string, unknown>[], lines: readonly string[]) => {
    for (const { time, level, service, msg, ...own } of log.filter((one) => lines.includes(String(one.msg)))) {
      const { levels, fields } = all[String(msg)] ?? { levels: [], fields: [] };
      all[String(msg)] = { levels: union(levels, [String(level)]), fields: union(fields, Object.keys(own)) };
    }
  };
  for (const [lines, run] of scenes) {
    const relay = await run();
    for (const line of lines) await relay.logged(line);
    note(relay.log, lines);
  }
  note(await processes(), ofProcesses);
  return all;
}

function union(one: readonly string[], other: readonly string[]): string[] {
  return [...new Set([...one, ...other])].sort();
}
