import { expect, it, vi } from 'vitest';
import { createClock, guarded } from '../../src/clock.js';
import type { ServedTool } from '../../src/policy/tools.js';
import { createRuns } from '../../src/tools/runs.js';
import type { Tool, ToolCall, ToolResult } from '../../src/tools/tool.js';

it('a result that breaks who gets it is caught by the session, and frees its place', async () => {
  const failed: unknown[] = [];
  let taken = 0;
  const take = () => {
    taken++;
    return () => {
      taken--;
    };
  };
  const runs = createRuns({ clock: guarded(createClock(), (error) => failed.push(error)), atOnce: 1, take });
  const cause = new Error('cannot be told');
  const configured = { name: 'any', timeout_seconds: 1 } as ServedTool;
  const result: ToolResult = { outcome: 'ok', output: '', bytes: 0 };
  const tool = { name: 'any', configured, run: async () => result } as unknown as Tool;
  runs.start({
    tool,
    configured,
    call: { name: 'any', callId: 'call_1', arguments: '{}' } as ToolCall,
    ended() {
      throw cause;
    },
  });
  await vi.waitFor(() => expect(failed).toEqual([cause]));
  expect(taken).toBe(0);
  expect(runs.size).toBe(0);
});
