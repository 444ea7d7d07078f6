/** `realtime-relay demo`: the whole product on one machine, with a local stand-in for Azure, and one spoken question. */

import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { signToken } from '../auth/token.js';
import { loadConfig } from '../config/load.js';
import { startEmulator } from '../emulator/emulator.js';
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

/** The profiles of assets/demo.yaml, as the console explains them. */
const profiles = [
  { name: 'default', about: 'Answers in voice, in the words of the profile that the relay keeps to itself.' },
  { name: 'written', about: 'Hears you, and answers in writing only.' },
  { name: 'minute', about: 'A session lasts one minute at most. See it end, and the client come back.' },
  { name: 'operator', about: 'For the view of live sessions: sees them and steers them.' },
] as const;

/** Runs the demo until a signal ends it. */
export const demoCommand: CliCommand = {
  help: '  demo                  run emulator and relay, and speak once through them',
  async run(args) {
    options(args, {});
    return runDemo({ print, until: untilSignal() });
  },
};

export interface DemoOptions {
  print(line: string): void;
  /** Resolves when the demo should stop. */
  until: Promise<void>;
  /** Ports of the relay, 0 for any; left out: the usual ones, or any where somebody has them. */
  ports?: { readonly relay: number; readonly ops: number };
}

/** Runs the demo; resolves to its exit code when it is stopped, or at once when the spoken turn failed. */
export async function runDemo({ print, until, ports }: DemoOptions): Promise<number> {
  const emulator = await startEmulator({ port: 0 });
  const secret = randomBytes(32).toString('hex');
  const settings = loadConfig({
    HOST: '127.0.0.1',
    PORT: String(ports?.relay ?? (await freePort(8080))),
    RELAY_OPS_PORT: String(ports?.ops ?? (await freePort(9464))),
    AZURE_OPENAI_ENDPOINT: emulator.url,
    AZURE_OPENAI_REALTIME_DEPLOYMENT: 'gpt-realtime',
    AZURE_OPENAI_API_KEY: 'emulator-key',
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
  print(`  emulator  ${emulator.url}  a local stand-in for Azure OpenAI; it hears and answers with real speech`);
  print(`  relay     ${relay.url}  what your apps connect to, with your own tokens instead of Azure's key`);
  print(`  console   ${relay.url}/console/  talk to it in your browser`);
  print(`  metrics   ${relay.opsUrl}/metrics`);
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
    await emulator.close();
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
  print(`  3. send a recording:      npx tsx src/cli.ts talk my.wav --url ${relay.url} --token <token>`);
  print(`  4. use your own client:   GA ${address}/openai/v1/realtime, OpenAI ${address}/v1/realtime; key: the token`);
  print('');
  print('Everything stays up; press Ctrl+C to stop.');
  await until;
  await relay.close();
  await emulator.close();
  return 0;
}
