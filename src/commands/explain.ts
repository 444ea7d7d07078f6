/** `realtime-relay explain`: the story of one session, from a log. */

import { createReadStream } from 'node:fs';
import { explain, NotAnId } from '../explain/explain.js';
import { type CliCommand, exitCodes, options, UsageError } from './command.js';
import { complain, print } from './print.js';

/** Tells what a log says of one session. */
export const explainCommand: CliCommand = {
  help: `  explain <id> < log    tell what happened in a session, and whose fault it was
        [--file <log>]`,
  async run(args) {
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
};
