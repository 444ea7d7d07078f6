#!/usr/bin/env node

/** The commands of `realtime-relay`. */

import { createReadStream } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { signToken } from './auth/token.js';
import { WorkerFailed } from './cluster/primary.js';
import { checkAll, checkSettings, hintsOf } from './commands/check.js';
import { runDemo } from './commands/demo.js';
import { onSignal, serve, untilSignal } from './commands/serve.js';
import { configFileSchema } from './config/file.js';
import { loadConfig } from './config/load.js';
import { describeSettings } from './config/redact.js';
import type { Settings } from './config/settings.js';
import { startEmulator } from './emulator/emulator.js';
import { explain, NotAnId } from './explain/explain.js';
import { ConfigError } from './problems.js';
import { talk } from './talk/talk.js';
import { visible } from './terminal.js';
import { version } from './version.js';

/** Exit codes of sysexits.h that process managers and people know. */
const exitCodes = { ok: 0, failed: 1, usage: 64, config: 78 } as const;

const usage = `realtime-relay <command>

  serve                 run the relay; settings come from the environment and RELAY_CONFIG
  check [--dial]        print the effective configuration; --dial also asks for the issuers' keys and opens sessions
        [--json]        all of it as one JSON object
        [--schema]      print the JSON Schema of the RELAY_CONFIG file
  token --sub <user>    print an app token signed with RELAY_JWT_SECRET
        [--profile <name>] [--tenant <name>] [--ttl <seconds>] [--claim name=value]…
  talk <file.wav>       speak a recording through a relay and save the answer
        [--url <url>] [--token <token>] [--text <words>] [--out <file.wav>]
        [--speed <factor>] [--timeout <seconds>] [--insecure]
  explain <id> < log    tell what happened in a session, and whose fault it was
        [--file <log>]
  emulate               run a local stand-in for Azure OpenAI
        [--port <port>] [--speed <factor>] [--like azure|openai]
  demo                  run emulator and relay, and speak once through them
  --help, --version
`;

/** Set when what was printed could not be written, but by a reader who had enough. */
let isUnwritten = false;

/** Prints lines of others' texts; nothing that happens to a stream ends the command. */
function printer(stream: () => NodeJS.WriteStream): (line: string) => void {
  let opened: NodeJS.WriteStream | null = null;
  return (line) => {
    // Not before something is printed: `serve` writes its log by itself.
    opened ??= stream().on('error', ({ code }: NodeJS.ErrnoException) => {
      isUnwritten ||= code !== 'EPIPE';
    });
    opened.write(`${visible(line)}\n`);
  };
}

const print = printer(() => process.stdout);
const complain = printer(() => process.stderr);

/** A command line that makes no sense; the text says what would. */
class UsageError extends Error {}

type Command = (args: string[]) => Promise<number>;

const commands: Record<string, Command> = {
  async serve(args) {
    options(args, {});
    return (await serve(process.env)) ? exitCodes.ok : exitCodes.failed;
  },

  async check(args) {
    const { values } = options(args, {
      dial: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      schema: { type: 'boolean', default: false },
    });
    if (values.schema) {
      print(JSON.stringify(configFileSchema(), null, 2));
      return exitCodes.ok;
    }
    return values.json ? checkAsJson(values.dial) : checkAsText(values.dial);
  },

  async token(args) {
    const { values } = options(args, {
      sub: { type: 'string' },
      profile: { type: 'string' },
      tenant: { type: 'string' },
      ttl: { type: 'string', default: '3600' },
      claim: { type: 'string', multiple: true, default: [] },
    });
    if (!values.sub) throw new UsageError('token: --sub <user> is needed.');
    print(signUser(loadConfig(process.env), values.sub, values));
    return exitCodes.ok;
  },

  async talk(args) {
    const { values, positionals } = options(
      args,
      {
        url: { type: 'string', default: 'http://127.0.0.1:8080' },
        token: { type: 'string' },
        text: { type: 'string' },
        out: { type: 'string' },
        speed: { type: 'string', default: '1' },
        timeout: { type: 'string', default: '60' },
        insecure: { type: 'boolean', default: false },
      },
      true,
    );
    const [wav] = positionals;
    const token = values.token ?? process.env.RELAY_TOKEN;
    if (!token) throw new UsageError('talk: --token <token> is needed, or RELAY_TOKEN in the environment.');
    if (!wav === !values.text) throw new UsageError('talk: give either a WAV file or --text.');
    const stop = new AbortController();
    onSignal(() => stop.abort());
    const result = await talk({
      url: values.url,
      token,
      ...(wav !== undefined && { wav }),
      ...(values.text !== undefined && { text: values.text }),
      ...(values.out !== undefined && { out: values.out }),
      speed: positive('speed', values.speed),
      timeoutSeconds: positive('timeout', values.timeout),
      insecure: values.insecure,
      print,
      signal: stop.signal,
    });
    return result.ok ? exitCodes.ok : exitCodes.failed;
  },

  async explain(args) {
    const { values, positionals } = options(args, { file: { type: 'string' } }, true);
    const [id, ...rest] = positionals;
    if (!id || rest.length > 0) throw new UsageError('explain: one id is needed: of a session or of a request.');
    if (!values.file && process.stdin.isTTY) throw new UsageError('explain: give a log with --file <log> or < <log>.');
    try {
      const log = values.file ? createReadStream(values.file) : process.stdin;
      return (await explain(id, log, print)) ? exitCodes.ok : exitCodes.failed;
    } catch (error) {
      if (error instanceof NotAnId) throw new UsageError(`explain: ${error.message}`);
      const { code } = error as NodeJS.ErrnoException;
      if (code === undefined) throw error;
      complain(`explain: the log cannot be read (${code}).`);
      return exitCodes.failed;
    }
  },

  async emulate(args) {
    const { values } = options(args, {
      port: { type: 'string', default: '8091' },
      host: { type: 'string', default: '127.0.0.1' },
      speed: { type: 'string', default: '4' },
      like: { type: 'string', default: 'azure' },
    });
    const { like } = values;
    if (like !== 'azure' && like !== 'openai') throw new UsageError('emulate: --like must be azure or openai.');
    const port = Number(values.port);
    if (!Number.isInteger(port) || port < 0 || port > 65535)
      throw new UsageError('emulate: --port must be 0 to 65535.');
    const emulator = await startEmulator({
      port,
      host: values.host,
      speed: positive('speed', values.speed),
      like,
      log: print,
    });
    print(`A local Azure OpenAI is at ${emulator.url}; deployment gpt-realtime, API key emulator-key.`);
    await untilSignal();
    await emulator.close();
    return exitCodes.ok;
  },

  async demo(args) {
    options(args, {});
    return runDemo({ print, until: untilSignal() });
  },
};

/** Throws ConfigError, as all commands do that need settings. */
async function checkAsText(dial: boolean): Promise<number> {
  const settings = loadConfig(process.env);
  checkSettings(settings);
  print(JSON.stringify(describeSettings(settings), null, 2));
  for (const warning of [...settings.warnings, ...hintsOf(settings)]) complain(`warning: ${warning}`);
  return !dial || (await checkAll(settings, print)).ok ? exitCodes.ok : exitCodes.failed;
}

/** One JSON object for programs, whatever is wrong. */
async function checkAsJson(dial: boolean): Promise<number> {
  const tell = (report: object) => print(JSON.stringify(report, null, 2));
  try {
    const settings = loadConfig(process.env);
    checkSettings(settings);
    const warnings = [...settings.warnings, ...hintsOf(settings)];
    const report = dial ? await checkAll(settings, () => undefined) : null;
    const ok = report?.ok ?? true;
    tell({ ok, problems: [], warnings, settings: describeSettings(settings), ...(report && { dial: report }) });
    return ok ? exitCodes.ok : exitCodes.failed;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    tell({ ok: false, problems: error.problems, warnings: [], settings: null });
    return exitCodes.config;
  }
}

/** A token for one user, signed with the relay's own secret. */
function signUser(
  settings: Settings,
  subject: string,
  values: { profile?: string; tenant?: string; ttl: string; claim: string[] },
): string {
  const own = settings.auth.issuers.find(({ source }) => source.kind === 'secrets');
  const [secret] = own?.source.kind === 'secrets' ? own.source.secrets : [];
  if (!own || secret === undefined) {
    throw new UsageError(
      'token: only RELAY_JWT_SECRET can sign; with a public key your identity provider makes the tokens.',
    );
  }
  const claims = values.claim.map((claim): [string, string] => {
    const at = claim.indexOf('=');
    if (at < 1) throw new UsageError(`token: --claim ${claim} must have the form name=value.`);
    return [claim.slice(0, at), claim.slice(at + 1)];
  });
  return signToken({
    secret,
    issuer: [...own.names.keys()][0] ?? own.issuer,
    audience: own.audiences?.[0],
    subject,
    ttlSeconds: positive('ttl', values.ttl),
    claims: {
      ...(own.audiences === null && { client_id: own.clientIds[0] }),
      ...Object.fromEntries(claims),
      ...(values.profile !== undefined && { [own.claims.profile[0] ?? 'profile']: values.profile }),
      ...(values.tenant !== undefined && { [own.claims.tenant[0] ?? 'tenant']: values.tenant }),
    },
  });
}

function positive(name: string, value: string): number {
  const number = Number(value);
  if (!(number > 0)) throw new UsageError(`--${name} must be a number over 0.`);
  return number;
}

function options<T extends NonNullable<Parameters<typeof parseArgs>[0]>['options']>(
  args: string[],
  known: T,
  allowPositionals = false,
) {
  try {
    return parseArgs({ args, options: known as NonNullable<T>, allowPositionals, strict: true });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** What a system says of an address to listen on that it does not have. */
const notOurs = new Set(['EADDRNOTAVAIL', 'EAFNOSUPPORT', 'ENOTFOUND', 'EAI_AGAIN']);

async function main(): Promise<number> {
  const [name = '--help', ...args] = process.argv.slice(2);
  if (name === '--version') {
    print(version);
    return exitCodes.ok;
  }
  if (name === '--help' || name === 'help' || args.includes('--help')) {
    print(usage);
    return exitCodes.ok;
  }
  try {
    const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
    if (!command) throw new UsageError(`There is no command "${name}".`);
    return await command(args);
  } catch (error) {
    if (error instanceof UsageError) {
      complain(`${error.message}\n\n${usage}`);
      return exitCodes.usage;
    }
    if (error instanceof ConfigError) {
      complain(`${error.message}\n${error.problems.map((problem) => `  - ${problem}`).join('\n')}`);
      return exitCodes.config;
    }
    // It has said by itself what was wrong.
    if (error instanceof WorkerFailed) return error.code || exitCodes.failed;
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') {
      complain(
        `The address is in use: ${(error as Error).message}. Stop the other program, or set PORT and RELAY_OPS_PORT.`,
      );
      return exitCodes.failed;
    }
    if (notOurs.has(String((error as NodeJS.ErrnoException).code))) {
      complain(`HOST: ${process.env.HOST?.trim()} is no address of this machine (${(error as Error).message}).`);
      return exitCodes.config;
    }
    throw error;
  }
}

const code = await main();
// Streams tell of what could not be written in the next turn.
await turn();
process.exitCode = code || (isUnwritten ? exitCodes.failed : exitCodes.ok);
// A finished command may leave keep-alive sockets behind; nothing else is worth waiting for.
process.exit();
