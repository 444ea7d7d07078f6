#!/usr/bin/env node

/** The commands of `realtime-relay`. */

import { setImmediate as turn } from 'node:timers/promises';
import { WorkerFailed } from './cluster/primary.js';
import { checkCommand } from './commands/check.js';
import { type CliCommand, exitCodes, UsageError } from './commands/command.js';
import { demoCommand } from './commands/demo.js';
import { emulateCommand } from './commands/emulate.js';
import { explainCommand } from './commands/explain.js';
import { complain, isUnwritten, print } from './commands/print.js';
import { serveCommand } from './commands/serve.js';
import { sessionsCommand } from './commands/sessions.js';
import { talkCommand } from './commands/talk.js';
import { tokenCommand } from './commands/token.js';
import { toolsCommand } from './commands/tools.js';
import { ConfigError } from './problems.js';
import { version } from './version.js';

/** In the order of the help. */
const commands: Readonly<Record<string, CliCommand>> = {
  serve: serveCommand,
  check: checkCommand,
  token: tokenCommand,
  talk: talkCommand,
  tools: toolsCommand,
  sessions: sessionsCommand,
  explain: explainCommand,
  emulate: emulateCommand,
  demo: demoCommand,
};

const usage = `realtime-relay <command>

${Object.values(commands)
  .map(({ help }) => help)
  .join('\n')}
  --help, --version
`;

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
    return await command.run(args);
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
process.exitCode = code || (isUnwritten() ? exitCodes.failed : exitCodes.ok);
// A finished command may leave keep-alive sockets behind; nothing else is worth waiting for.
process.exit();
