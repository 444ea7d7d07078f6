/** Arguments as a model writes them, held against the schema of their tool before anything is sent. */

import { compileParameters } from '../policy/parameters.js';
import type { ProfileTool } from '../policy/tools.js';
import { parseStrict } from '../protocol/json.js';
import type { Judged, Tool } from './tool.js';

const maxBytes = 16 * 1024;
const rules = { depth: 16, keys: maxBytes };
const blank = /^[ \t\r\n]*$/;
const halfPair = /\p{Cs}/u;

/** The arguments as JSON: a model writes nothing at all for a tool without parameters. */
export function written(args: string): string {
  return blank.test(args) ? '{}' : args;
}

/**
 * Makes what judges the arguments of a tool.
 * @throws an Error that says what is wrong with its parameters
 */
export function createJudge(tool: ProfileTool): Tool['judge'] {
  const problemIn = compileParameters(tool);
  return (args) => {
    const read = parse(args);
    if ('problem' in read) return read;
    const problem = problemIn(read.arguments);
    return problem === null ? read : { problem };
  };
}

function parse(args: string): Judged {
  if (Buffer.byteLength(args) > maxBytes) return { problem: `the text is over ${maxBytes} bytes` };
  // The reader looks at escapes alone: bytes of UTF-8 hold no other halves, but what upstream escaped was decoded once.
  if (halfPair.test(args)) return { problem: 'the text has half of a surrogate pair' };
  try {
    return { arguments: parseStrict(written(args), rules) };
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return { problem: `the text must be one JSON object, but ${error.message}` };
  }
}
