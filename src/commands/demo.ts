/** `realtime-relay demo`: the whole product on one machine, with a local stand-in for Azure, and one spoken question. */

import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { signToken } from '../auth/token.js';
import { loadConfig } from '../config/load.js';
import { type Emulator, startEmulator } from '../emulator/emulator.js';
import { ConfigError } from '../problems.js';
import { startRelay } from '../relay.js';
import { talk } from '../talk/talk.js';
import { createLog } from '../telemetry/log.js';
import { type CliCommand, options } from './command.js';
import { freePort } from './free-port.js';
import { print } from './print.js';
import { untilSignal } from './signals.js';

const asset = (name: string) => fileURLToPath(new URL(`../../assets/${name}`, import.meta.url));
const question = asset('speech/question-order.wav');
const answerFile = 'demo-answer.wav';
const tokenSeconds = 8 * 3600;

/** How this program is called: from a clone, or installed. */
const program = import.meta.url.endsWith('.ts') ? 'npx tsx src/cli.ts' : 'npx realtime-relay';

/** The profiles of assets/demo.yaml, as the console explains them. */
const profiles = [
  { name: 'default', about: 'Answers in voice, in the words of the profile that the relay keeps to itself.' },
  { name: 'written', about: 'Hears you, and answers in writing only.' },
  { name: 'minute', about: 'A session lasts one minute at most. See it end, and the client come back.' },
  { name: 'operator', about: 'For the view of live sessions: sees them and steers them.' },
] as const;

/** Runs the demo until a signal ends it. */
export const demoCommand: CliCommand = {
  help: `  demo [--azure]        run emulator and relay, and speak once through them;
        --azure: your own resource (AZURE_OPENAI_…) in place of the emulator`,
  async run(args) {
    const { values } = options(args, { azure: { type: 'boolean', default: false } });
    return runDemo({ print, until: untilSignal(), ...(values.azure && { azure: process.env }) });
  },
};

export interface DemoOptions {
  print(line: string): void;
  /** Resolves when the demo should stop. */
  until: Promise<void>;
  /** Ports of the relay, 0 for any; left out: the usual ones, or any where somebody has them. */
  ports?: { readonly relay: number; readonly ops: number };
  /** The environment that says which resource to use, in place of the emulator. */
  azure?: Readonly<Record<string, string | undefined>>;
}

const usualPorts = { relay: 8080, ops: 9464 };

/** What the relay needs to know of its upstream. @throws ConfigError where a resource is wanted and none is named */
function upstreamIn({ azure }: DemoOptions, emulator: Emulator | null): Record<string, string | undefined> {
  if (emulator) {
    return {
      AZURE_OPENAI_ENDPOINT: emulator.url,
      AZURE_OPENAI_REALTIME_DEPLOYMENT: 'gpt-realtime',
      AZURE_OPENAI_API_KEY: 'emulator-key',
    };
  }
  const named = Object.entries(azure ?? {}).filter(([name]) => name.startsWith('AZURE_'));
  if (!azure?.AZURE_OPENAI_ENDPOINT) {
    throw new ConfigError([
      'AZURE_OPENAI_ENDPOINT: is not set; with --azure the demo uses your resource: set it, AZURE_OPENAI_REALTIME_DEPLOYMENT and, unless you are signed in with Entra, AZURE_OPENAI_API_KEY',
    ]);
  }
  return Object.fromEntries(named);
}

/** Runs the demo; resolves to its exit code when it is stopped, or at once when the spoken turn failed. */
export async function runDemo(demo: DemoOptions): Promise<number> {
  const { print, until, ports } = demo;
  const emulator = demo.azure ? null : await startEmulator({ port: 0 });
  const secret = randomBytes(32).toString('hex');
  const settings = loadConfig({
    ...upstreamIn(demo, emulator),
    HOST: '127.0.0.1',
    PORT: String(ports?.relay ?? (await freePort(usualPorts.relay))),
    RELAY_OPS_PORT: String(ports?.ops ?? (await freePort(usualPorts.ops))),
    RELAY_JWT_SECRET: secret,
    RELAY_JWT_ISSUER: 'demo',
    RELAY_JWT_AUDIENCE: 'realtime-relay',
    RELAY_ALLOWED_ORIGINS: '*',
    RELAY_CONFIG: asset('demo.yaml'),
    RELAY_CONSOLE: 'on',
  });
  const mint = (subject: string, profile: string, name: string, scope = '') =>
    signToken({
      secret,
      issuer: 'demo',
      audience: 'realtime-relay',
      subject,
      profile,
      ttlSeconds: tokenSeconds,
      claims: { name, ...(scope && { scope }) },
    });
  const relay = await startRelay(settings, createLog('silent'), null, {
    profiles,
    mint: (profile, name) =>
      profile === 'operator'
        ? mint('console-operator', 'default', name, 'relay.sessions.read relay.sessions.write')
        : mint('console-user', profile, name),
  });
  const token = mint('demo-user', 'default', 'Ada');

  print('Realtime Relay demo');
  print('');
  if (emulator) {
    print(`  emulator  ${emulator.url}  a stand-in for Azure OpenAI: it answers with recorded speech, and is no model`);
  } else print(`  azure     ${settings.upstreams.map(({ name }) => name).join(', ')}  your own resource`);
  print(`  relay     ${relay.url}  what your apps connect to, with your own tokens instead of Azure's key`);
  print(`  console   ${relay.url}/console/  talk to it in your browser`);
  print(`  metrics   ${relay.opsUrl}/metrics`);
  for (const line of moved(ports ? null : relay)) print(`  ${line}`);
  print('');
  print('A recorded question goes through the relay now:');
  print('');
  const result = await talk({
    url: relay.url,
    token,
    wav: question,
    out: answerFile,
    timeoutSeconds: 30,
    print: (line) => print(`  ${line}`),
  });
  print('');
  if (!result.ok) {
    print('The spoken turn failed; the lines above say why.');
    await relay.close();
    await emulator?.close();
    return 1;
  }
  const address = relay.url.replace('http', 'ws');
  print('That was: your speech → relay (your token, your limits) → Azure, and the spoken answer back.');
  print('The relay put the instructions of assets/demo.yaml in, and the client never saw them.');
  print('');
  print('A token for your own client, good for 8 hours:');
  print('');
  print(`  ${token}`);
  print('');
  print('Try next:');
  print(`  1. talk to it:            open ${relay.url}/console/ in your browser`);
  print(`  2. hear the answer:       aplay ${answerFile}   (or afplay on macOS)`);
  print(`  3. send a recording:      ${program} talk my.wav --url ${relay.url} --token <token>`);
  print(`  4. use your own client:   GA ${address}/openai/v1/realtime, OpenAI ${address}/v1/realtime; key: the token`);
  if (emulator) {
    print('  5. use your resource:     export AZURE_OPENAI_ENDPOINT=https://<resource>.openai.azure.com');
    print('                            export AZURE_OPENAI_REALTIME_DEPLOYMENT=gpt-realtime');
    print(`                            ${program} demo --azure   (az login, or AZURE_OPENAI_API_KEY)`);
  }
  print('');
  print('Everything stays up; press Ctrl+C to stop.');
  await until;
  await relay.close();
  await emulator?.close();
  return 0;
}

/** Says which of the usual ports somebody else has. */
function moved(relay: { readonly url: string; readonly opsUrl: string } | null): string[] {
  if (!relay) return [];
  const actual = { relay: new URL(relay.url).port, ops: new URL(relay.opsUrl).port };
  return (['relay', 'ops'] as const)
    .filter((name) => actual[name] !== String(usualPorts[name]))
    .map((name) => `Port ${usualPorts[name]} is in use by another program, so this is on ${actual[name]}.`);
}
