/** Tools that upstream itself runs, at servers of the Model Context Protocol: what their items say. */

import type { Json, JsonObject } from '../protocol/event.js';

/** For a final event of a call after the end of its response. */
export const longestCallMs = 60_000;

/** Whether the item of a call says that it is over. */
export function isOver({ output, error, status }: JsonObject): boolean {
  return isGiven(output) || isGiven(error) || status === 'incomplete';
}

/** The answer to a request for approval: an end user cannot be asked for what the operator has not allowed. */
export function disapproval(requestId: string): JsonObject {
  return { type: 'mcp_approval_response', approval_request_id: requestId, approve: false, reason: 'Not approved.' };
}

function isGiven(value: Json | undefined): boolean {
  return value !== undefined && value !== null;
}
