/** `realtime-relay emulate`: the local stand-in for Azure OpenAI, until a signal ends it. */

import { startEmulator } from '../emulator/emulator.js';
import { IndexFolderError } from '../emulator/search/folder.js';
import { ConfigError } from '../problems.js';
import { type CliCommand, exitCodes, options, positive, UsageError } from './command.js';
import { print } from './print.js';
import { untilSignal } from './signals.js';

/** Runs the emulator. */
export const emulateCommand: CliCommand = {
  help: `  emulate               run a local stand-in for Azure OpenAI
        [--port <port>] [--speed <factor>] [--like azure|openai] [--search <folder>]
        [--session-seconds <seconds>]`,
  async run(args) {
    const { values } = options(args, {
      port: { type: 'string', default: '8091' },
      host: { type: 'string', default: '127.0.0.1' },
      speed: { type: 'string', default: '4' },
      like: { type: 'string', default: 'azure' },
      search: { type: 'string' },
      'session-seconds': { type: 'string', default: '3600' },
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
      sessionSeconds: positive('session-seconds', values['session-seconds']),
      ...(values.search === undefined ? {} : { search: values.search }),
      log: print,
    }).catch((error: unknown) => {
      throw error instanceof IndexFolderError ? new ConfigError([`--search: ${error.message}`]) : error;
    });
    print(`A local Azure OpenAI is at ${emulator.url}; deployment gpt-realtime, API key emulator-key.`);
    print(`A local Azure AI Search is there as well; API key emulator-search-key.`);
    await untilSignal();
    await emulator.close();
    return exitCodes.ok;
  },
};
