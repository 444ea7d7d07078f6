/** Answers from a knowledge base, on one machine: a local Azure OpenAI and Azure AI Search, the index, and the relay with its console. */
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { signToken } from '../../src/auth/token.js';
import { freePort } from '../../src/commands/free-port.js';
import { loadConfig } from '../../src/config/load.js';
import { startEmulator } from '../../src/emulator/emulator.js';
import { startRelay } from '../../src/relay.js';
import { createLog } from '../../src/telemetry/log.js';
import { makeIndex } from './make-index.js';

/** Who one can be in the console: the groups in their token decide what is found. */
const people = [
  { name: 'customer', groups: ['everyone'], about: 'A customer. Ask: When will my order from last week arrive?' },
  { name: 'employee', groups: ['everyone', 'staff'], about: 'An employee. Ask as well: How long is parental leave?' },
  {
    name: 'board',
    groups: ['everyone', 'staff', 'board'],
    about: 'A member of the board. Ask as well: When does the merger close? Nobody else finds that.',
  },
];

export interface ExampleOptions {
  print(line: string): void;
  /** 0 for any; left out: the usual one, or any where somebody has it. */
  readonly port?: number;
  /** How many times faster than real time answers come; 4 when left out. */
  readonly speed?: number;
}

/** What runs, until it is closed. */
export interface Example {
  readonly url: string;
  token(person: string): string;
  close(): Promise<void>;
}

/** Starts all of it. */
export async function startExample({ print, port, speed = 4 }: ExampleOptions): Promise<Example> {
  const emulator = await startEmulator({ speed });
  const key = 'emulator-search-key';
  const embedding = { endpoint: emulator.url, deployment: 'text-embedding-3-small' };
  const count = await makeIndex({ endpoint: emulator.url, key, embedding });
  const secret = randomBytes(32).toString('hex');
  const settings = loadConfig({
    HOST: '127.0.0.1',
    PORT: String(port ?? (await freePort(8080))),
    RELAY_OPS_PORT: port === undefined ? String(await freePort(9464)) : '0',
    AZURE_OPENAI_ENDPOINT: emulator.url,
    AZURE_OPENAI_REALTIME_DEPLOYMENT: 'gpt-realtime',
    AZURE_OPENAI_API_KEY: 'emulator-key',
    SEARCH_ENDPOINT: emulator.url,
    SEARCH_KEY: key,
    RELAY_JWT_SECRET: secret,
    RELAY_JWT_ISSUER: 'example',
    RELAY_JWT_AUDIENCE: 'realtime-relay',
    RELAY_ALLOWED_ORIGINS: '*',
    RELAY_CONFIG: fileURLToPath(new URL('relay.yaml', import.meta.url)),
    RELAY_CONSOLE: 'on',
  });
  const token = (person: string, name = 'Ada') => {
    const { groups } = people.find((one) => one.name === person) ?? { groups: [] };
    const who = { subject: `${person}-of-the-example`, profile: 'default', claims: { name, groups } };
    return signToken({ secret, issuer: 'example', audience: 'realtime-relay', ttlSeconds: 8 * 3600, ...who });
  };
  const relay = await startRelay(settings, createLog('silent'), null, { profiles: people, mint: token });
  print(`search    ${emulator.url}  a local stand-in for Azure AI Search; the index handbook has ${count} documents`);
  print(`relay     ${relay.url}  also on /realtime for the page of the sample VoiceRAG`);
  print(`console   ${relay.url}/console/  choose who you are, connect, and ask`);
  return {
    url: relay.url,
    token,
    async close() {
      await relay.close();
      await emulator.close();
    },
  };
}
