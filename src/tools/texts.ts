/** What the model is told of a call that brought no result. Nothing here comes from an endpoint or from values of arguments. */

import type { ToolErrorKind, ToolOutcome, ToolResult } from './tool.js';

/** The words for each end of a call; the keys stand in this order. */
function textOf(error: Exclude<ToolOutcome, 'ok' | 'aborted'>, message: string): string {
  return JSON.stringify({ error, message });
}

const timeout = textOf('timeout', 'The lookup took too long. Tell the user that it is not available right now.');
const failed = textOf('failed', 'The lookup did not work. Tell the user that it is not available right now.');
const refused = textOf('refused', 'This is not allowed. Tell the user that it cannot be done.');
const overLimit = textOf('refused', 'Too many lookups at once. Try again with fewer.');
const interrupted = textOf(
  'refused',
  'The user interrupted; whether it was done is not known. Ask before trying again.',
);

type End = Pick<ToolResult, 'outcome' | 'output' | 'bytes' | 'error'>;

function end(outcome: ToolOutcome, output: string, kind: ToolErrorKind, message: string): End {
  return { outcome, output, bytes: 0, error: { kind, message } };
}

/** The call took longer than it may. */
export function timedOut(message: string): End {
  return end('timeout', timeout, 'timeout', message);
}

/** Nothing usable came back. */
export function didFail(kind: ToolErrorKind, message: string): End {
  return end('failed', failed, kind, message);
}

/** The call is not to be made: an unknown function, or an unusable claim. */
export function notAllowed(kind: ToolErrorKind, message: string): End {
  return end('refused', refused, kind, message);
}

/** There are too many calls already. */
export function tooMany(message: string): End {
  return end('refused', overLimit, 'limit', message);
}

/** The call was given up; the endpoint may have done what it was asked for. */
export function givenUp(kind: 'interrupted' | 'ended', message: string): End {
  return end('aborted', interrupted, kind, message);
}

/** The arguments are not what the schema asks for. `problem` comes from `judge`: path and reason. */
export function wrongArguments(problem: string): End {
  const output = textOf('invalid_arguments', `The arguments were wrong: ${problem}. Correct them and call again.`);
  return end('invalid_arguments', output, 'arguments', problem);
}
