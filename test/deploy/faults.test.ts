/** For each way things go wrong: which metric moves, which alert reads it, and whose fault `explain` says it was. */

import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { FaultName } from '../../src/emulator/faults.js';
import { explain } from '../../src/explain/explain.js';
import type { TestClient } from '../support/client.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';

interface Rules {
  groups: { rules: { alert?: string; record?: string; expr: string }[] }[];
}

const textOf = (name: string) => readFileSync(new URL(`../../deploy/prometheus/${name}`, import.meta.url), 'utf8');
const cases = textOf('alerts.test.yml');
const rules = ['alerts.yml', 'recording.yml'].flatMap((name) =>
  (parse(textOf(name)) as Rules).groups.flatMap((group) => group.rules),
);

/** An alert's expression with the recording rules in it written out. */
function expressionOf(alert: string): string {
  let { expr } = rules.find((rule) => rule.alert === alert) ?? { expr: '' };
  for (const { record, expr: recorded } of rules) if (record) expr = expr.replaceAll(record, `(${recorded})`);
  return expr;
}

async function ask(client: TestClient): Promise<void> {
  await client.next('session.created');
  client.send({ type: 'response.create' });
}

/** Has one more session under way when the fault strikes, and reads on to its end. */
async function endOf(relay: TestRelay): Promise<Record<string, unknown>> {
  const client = await relay.connect();
  client.next('session.created').then(
    () => client.send({ type: 'response.create' }),
    () => undefined,
  );
  await client.closed;
  return relay.logged('session.ended');
}

interface Case {
  readonly fault: FaultName;
  readonly more?: object;
  readonly metric: string;
  readonly labels: Record<string, string>;
  readonly alert: string;
  readonly verdict: string;
}

const table: [string, Case][] = [
  [
    'throttling (429)',
    {
      fault: 'refuse_429',
      metric: 'relay_upstream_dial_seconds_count',
      labels: { outcome: 'upstream_unavailable' },
      alert: 'RelayUpstreamThrottled',
      verdict: 'upstream',
    },
  ],
  [
    'an upstream that falls silent',
    {
      fault: 'mute',
      metric: 'relay_session_ends_total',
      labels: { reason: 'upstream_timeout', initiator: 'upstream' },
      alert: 'RelayUpstreamTimingOut',
      verdict: 'upstream',
    },
  ],
  [
    'an upstream that dies in the middle of an answer',
    {
      fault: 'die_mid_response',
      metric: 'relay_session_ends_total',
      labels: { reason: 'upstream_lost', initiator: 'upstream' },
      alert: 'RelayUpstreamLost',
      verdict: 'network',
    },
  ],
  [
    'an upstream that refuses (500)',
    {
      fault: 'refuse_500',
      more: { count: 2 },
      metric: 'relay_upstream_dial_seconds_count',
      labels: { outcome: 'upstream_failed' },
      alert: 'RelayUpstreamFailing',
      verdict: 'upstream',
    },
  ],
  [
    'a rejected profile',
    {
      fault: 'reject_update',
      metric: 'relay_session_ends_total',
      labels: { reason: 'upstream_configuration_failed' },
      alert: 'RelayConfigurationRejected',
      verdict: 'relay',
    },
  ],
];

/** The metric's name as Prometheus' rules use it, whichever of a histogram's series they read. */
const base = (metric: string) => metric.replace(/_(count|sum|bucket)$/, '');

describe('what an operator sees of', () => {
  it.each(table)('%s', async (_, { fault, more, metric, labels, alert, verdict }) => {
    const emulator = await startTestEmulator();
    const relay = await startTestRelay({ upstream: emulator.url, yaml: 'limits: { answer_seconds: 1 }' });
    expect(await relay.metric(metric, labels)).toBe(0);
    emulator.control.faults.arm({ fault, ...more });
    const ended = await endOf(relay);

    expect(await relay.metric(metric, labels)).toBeGreaterThan(0);
    expect(expressionOf(alert)).toContain(base(metric));
    expect(expressionOf(alert)).toContain(labels.reason ?? labels.outcome);
    expect(cases).toContain(`alertname: ${alert}`);
    const lines: string[] = [];
    const log = Readable.from(relay.log.map((line) => `${JSON.stringify(line)}\n`));
    expect(await explain(String(ended.session), log, (line) => void lines.push(line))).toBe(true);
    expect(lines.join('\n')).toContain(`Verdict: ${verdict}.`);
  });

  it('a slow first audio', async () => {
    const emulator = await startTestEmulator();
    const relay = await startTestRelay({ upstream: emulator.url });
    emulator.control.faults.arm({ fault: 'slow', delayMs: 600 });
    const client = await relay.connect();
    await ask(client);
    await client.next('response.done');
    expect(await relay.metric('relay_first_audio_seconds_sum')).toBeGreaterThan(0.5);
    expect(expressionOf('RelayFirstAudioSlow')).toContain('relay_first_audio_seconds');
    client.ws.close(1000);
    const ended = await relay.logged('session.ended');
    expect(ended.slowestFirstAudioMs).toBeGreaterThan(500);
    const lines: string[] = [];
    const log = Readable.from(relay.log.map((line) => `${JSON.stringify(line)}\n`));
    await explain(String(ended.session), log, (line) => void lines.push(line));
    expect(lines.join('\n')).toMatch(/first audio.*\d/i);
  });

  it('a client that does not read', async () => {
    const emulator = await startTestEmulator();
    const yaml = 'limits: { stall_seconds: 1, buffer_bytes: 65536 }';
    const relay = await startTestRelay({ upstream: emulator.url, yaml });
    emulator.control.faults.arm('flood');
    const client = await relay.connect();
    await ask(client);
    client.ws.pause();
    const ended = await relay.logged('session.ended');
    expect(ended).toMatchObject({ reason: 'slow_consumer', initiator: 'client' });
    client.ws.terminate();
    expect(await relay.metric('relay_session_ends_total', { reason: 'slow_consumer', initiator: 'client' })).toBe(1);
    expect(expressionOf('RelaySlowConsumers')).toContain('relay_session_ends');
    const lines: string[] = [];
    const log = Readable.from(relay.log.map((line) => `${JSON.stringify(line)}\n`));
    await explain(String(ended.session), log, (line) => void lines.push(line));
    expect(lines.join('\n')).toContain('Verdict: client.');
  });

  it('an identity service that is out', async () => {
    const emulator = await startTestEmulator();
    const yaml = `upstreams: [{ name: main, endpoint: "${emulator.url}", deployment: gpt-realtime }]`;
    const relay = await startTestRelay({
      upstream: emulator.url,
      yaml,
      env: { AZURE_OPENAI_API_KEY: '', AZURE_CLIENT_ID: 'nobody' },
    });
    const ended = await endOf(relay);
    expect(ended).toMatchObject({ reason: 'upstream_unavailable' });
    expect(await relay.metric('relay_entra_token_seconds_count', { outcome: 'failed' })).toBeGreaterThan(0);
    expect(await relay.metric('relay_upstream_errors_total', { origin: 'identity' })).toBeGreaterThan(0);
    expect(expressionOf('RelayIdentityFailing')).toContain('relay_entra_token_seconds');
    const lines: string[] = [];
    const log = Readable.from(relay.log.map((line) => `${JSON.stringify(line)}\n`));
    await explain(String(ended.session), log, (line) => void lines.push(line));
    expect(lines.join('\n')).toContain('Verdict: identity.');
  });
});
