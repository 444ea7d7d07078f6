/**
 * `npm run bench`: what the relay costs, beside what people already trust, in one run on one machine. All figures are
 * ratios of medians over interleaved rounds; how far two copies of the same relay differ is the noise of the machine.
 */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { certificatePem } from '../test/support/pem.js';
import { compare, leastRounds } from './against.js';
import { direct, haproxy, has, naive, nginx, nodePipe, relay, type Start } from './contestants.js';
import {
  floodDownAudio,
  floodDownBareText,
  floodDownText,
  floodUp,
  idleSessions,
  largeAppend,
  type Measurement,
  realtimePace,
  refusedHandshakes,
  runOnce,
  type Scenario,
  sizes,
  stalled,
} from './scenarios.js';

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    only: { type: 'string' },
    json: { type: 'string' },
    against: { type: 'string' },
  },
});
const size = values.quick ? sizes.quick : sizes.full;
const rounds = Number(values.rounds ?? (values.quick ? 1 : 3));

const preview = '/openai/realtime?api-version=2025-04-01-preview&deployment=bench';
const proxies: Start[] = [...(has('haproxy') ? [haproxy] : []), ...(has('nginx') ? [nginx] : [])];
for (const program of ['haproxy', 'nginx']) if (!has(program)) console.log(`${program} is not installed; left out`);

interface Plan {
  readonly scenario: Scenario;
  readonly contestants: readonly Start[];
  readonly tls?: boolean;
}

const twin = relay({ name: 'relay (again)' });
const everyone = [relay(), twin, naive, nodePipe, ...proxies];
const twoWorkers = relay({ name: 'relay, 2 workers', workers: 2 });
const translated = relay({ name: 'relay, preview client', path: preview });
const plans: Plan[] = values.quick
  ? [
      { scenario: floodUp, contestants: [relay(), naive] },
      { scenario: floodDownAudio, contestants: [relay(), naive, translated] },
      { scenario: floodDownText, contestants: [relay(), naive] },
      { scenario: realtimePace(1), contestants: [relay(), naive] },
    ]
  : [
      { scenario: floodUp, contestants: everyone },
      { scenario: floodDownAudio, contestants: [...everyone, translated] },
      { scenario: floodDownText, contestants: everyone },
      { scenario: floodDownBareText, contestants: [relay(), naive] },
      { scenario: realtimePace(1), contestants: [direct, ...everyone, translated] },
      { scenario: realtimePace(5), contestants: [relay(), twoWorkers, naive, ...proxies] },
      { scenario: idleSessions, contestants: [relay(), twin, naive] },
      { scenario: refusedHandshakes, contestants: [relay()] },
      { scenario: stalled('client'), contestants: [relay(), naive] },
      { scenario: stalled('upstream'), contestants: [relay(), naive] },
      { scenario: largeAppend, contestants: [direct, relay({ name: 'relay, trusted', profile: 'trusted' }), naive] },
      { scenario: { ...floodUp, name: 'flood up, TLS upstream' }, contestants: [relay(), naive], tls: true },
      { scenario: { ...floodDownAudio, name: 'flood down, TLS upstream' }, contestants: [relay(), naive], tls: true },
    ];

const units: Record<keyof Measurement, string> = {
  cpuMicrosPerEvent: 'CPU µs/event',
  p50Micros: 'p50 µs',
  p99Micros: 'p99 µs',
  bytesPerSession: 'bytes/session',
  cpuMicrosPerConnect: 'CPU µs/connect',
  peakBytes: 'peak bytes',
  longestStallMs: 'longest ms',
  sessionsPerCore: 'sessions/core',
  faults: 'faults',
};

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function certificate(folder: string): { cert: string; key: string } {
  const files = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
  const pem = certificatePem();
  writeFileSync(files.cert, pem.cert);
  writeFileSync(files.key, pem.key);
  return files;
}

if (values.against) {
  const scenarios = [floodUp, floodDownAudio, floodDownText, realtimePace(1), idleSessions, refusedHandshakes];
  const wanted = scenarios.filter(({ name }) => !values.only || name.includes(values.only));
  const compared = await compare(values.against, wanted, Number(values.rounds ?? leastRounds), size);
  if (values.json) writeFileSync(values.json, `${JSON.stringify({ machine: machine(), compared }, null, 2)}\n`);
  process.exit(0);
}

type Results = Record<string, Record<string, Record<string, number>>>;

const folder = mkdtempSync(join(tmpdir(), 'relay-bench-'));
const pair = certificate(folder);
const results: Results = {};
for (const { scenario, contestants, tls } of plans) {
  if (values.only && !scenario.name.includes(values.only)) continue;
  const samples = new Map<string, Measurement[]>();
  for (let round = 0; round < rounds; round++) {
    // Interleaved, so that what else the machine does falls on all alike.
    for (const start of contestants) {
      const { name, measured } = await runOnce(scenario, start, size, tls ? pair : null);
      samples.set(name, [...(samples.get(name) ?? []), measured]);
    }
  }
  const table: Record<string, Record<string, number>> = {};
  for (const [name, measured] of samples) {
    const keys = Object.keys(units).filter((key) => measured[0]?.[key as keyof Measurement] !== undefined);
    table[name] = Object.fromEntries(
      keys.map((key) => [key, median(measured.map((one) => one[key as keyof Measurement] as number))]),
    );
  }
  results[scenario.name] = table;
  print(scenario, table);
}
rmSync(folder, { recursive: true, force: true });
if (values.json) writeFileSync(values.json, `${JSON.stringify({ machine: machine(), rounds, results }, null, 2)}\n`);
process.exit(guard() ? 0 : 1);

function machine(): string {
  return `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}`;
}

function print(scenario: Scenario, table: Record<string, Record<string, number>>): void {
  console.log(`\n${scenario.name}: ${scenario.what}`);
  const own = table.relay ?? table['relay, trusted'] ?? {};
  for (const [name, row] of Object.entries(table)) {
    const cells = Object.entries(row).map(([key, value]) => {
      const reference = own[key];
      const ratio = reference && value && name !== 'relay' ? ` (relay is ${(reference / value).toFixed(2)} ×)` : '';
      return `${units[key as keyof Measurement]} ${value < 10 ? value.toFixed(2) : Math.round(value)}${ratio}`;
    });
    console.log(`  ${name.padEnd(24)} ${cells.join('   ')}`);
  }
}

/** Fails only on what no noise explains; docs/performance.md has the figures of a quiet machine. */
function guard(): boolean {
  const limits: Record<string, number> = {
    'flood up': 0.5,
    'flood down, audio': 0.5,
    'flood down, text': 0.5,
    'realtime pace × 1': 1.6,
  };
  let ok = true;
  for (const [name, limit] of Object.entries(limits)) {
    const table = results[name];
    const own = table?.relay?.cpuMicrosPerEvent;
    const other = table?.['naive relay']?.cpuMicrosPerEvent;
    if (own === undefined || other === undefined) continue;
    const good = own / other <= limit && (table?.relay?.faults ?? 0) === 0;
    if (!good) {
      ok = false;
      console.log(
        `\n${name}: the relay costs ${(own / other).toFixed(2)} × the naive one, over the limit of ${limit}, or lost, reordered or changed events`,
      );
    }
  }
  return ok;
}
