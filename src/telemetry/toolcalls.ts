/** What is counted of calls of tools. */

import type { Makers } from './replacements.js';

/** Counts them. */
export function countToolCalls({ counter, histogram }: Makers) {
  const toolSeconds = histogram(
    'relay_tool_seconds',
    'From a completed call of a tool until its end, waiting included; calls that never ran are not in it',
    [0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 60, 120],
    ['tool', 'outcome'],
  );
  const toolCalls = counter('relay_tool_calls_total', 'Calls of tools that the server answers for, by their outcome', [
    'tool',
    'outcome',
  ]);
  return {
    /** @param tool a configured name, or `other`; @param seconds null for a call that never ran */
    toolCalled(tool: string, outcome: string, seconds: number | null): void {
      toolCalls.inc({ tool, outcome });
      if (seconds !== null) toolSeconds.observe({ tool, outcome }, seconds);
    },
  };
}
