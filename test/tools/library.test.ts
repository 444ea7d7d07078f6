import { describe, expect, it } from 'vitest';
import { toolSchema } from '../../src/policy/tools.js';
import { createJudge } from '../../src/tools/arguments.js';
import { createSearchRun } from '../../src/tools/search.js';
import type { ToolCall } from '../../src/tools/tool.js';
import { library } from '../emulator/search/library.js';
import { call, ports, unending, user } from './support.js';

const filter = "group_ids/any(g:search.in(g, '{{claims.groups}}', '|'))";

async function tools(search: object = {}) {
  const { url } = await library();
  const make = (more: object, result = 'model') => {
    const whole = { endpoint: url, index: 'library', api_key: 'emulator-search-key', filter, ...search, ...more };
    const tool = toolSchema.parse({ name: 'a', runs: 'search', search: whole, result });
    if (tool.runs !== 'search') throw new Error('is none');
    const run = createSearchRun(tool, createJudge(tool), ports());
    return (asked: ToolCall) => run(asked, unending);
  };
  return { find: make({}), cite: make({ role: 'grounding' }, 'client') };
}

const staff = user({ groups: ['staff'] });
const board = user({ groups: ['board', 'staff'] });
const secret = 'The secret merger with Globex closes in October.';

describe('an index with a filter', () => {
  it.each<[string, object]>([
    ['hybrid', {}],
    ['hybrid and ranked', { semantic_configuration: 'default' }],
    ['by keywords', { query: 'keyword' }],
    ['by vector', { query: 'vector' }],
    ['semantic', { query: 'semantic', semantic_configuration: 'default' }],
  ])('opens to its group alone, though another asks in its exact words (%s)', async (_name, search) => {
    const { find } = await tools(search);
    const own = await find(call({ query: secret }, board));
    expect(own).toMatchObject({ outcome: 'ok', status: 200 });
    expect(own.output).toContain(`[board_1]: ${secret}`);
    const others = await find(call({ query: secret }, staff));
    expect(others.outcome).toBe('ok');
    expect(others.output).not.toContain('merger');
    expect(await find(call({ query: secret }, user({})))).toMatchObject({ outcome: 'refused', output: '' });
  });

  it('gives sources to whom may see them, of what this session has found', async () => {
    const { find, cite } = await tools();
    const asked = call({ query: 'parental leave and merger' }, board);
    await find(asked);
    const again = (sources: string[], whose: Pick<ToolCall, 'principal'>) =>
      cite({ ...asked, ...whose, arguments: JSON.stringify({ sources }) });
    const shown = await again(['board_1', 'leave_1'], board);
    expect(shown.output).toBe('');
    expect(shown.result).toEqual({
      sources: [
        { chunk_id: 'board_1', title: 'Board.pdf', chunk: secret },
        { chunk_id: 'leave_1', title: 'Leave.pdf', chunk: 'Parental leave is paid for sixteen weeks.' },
      ],
    });
    // Whatever a model was made to cite, the filter holds.
    expect(JSON.stringify(await again(['board_1'], staff))).not.toContain('merger');
  });

  it.each(['"', 'a AND (', 'field:value', "it's -not +here", '*', 'x~99', '\\'])(
    'takes %j as words, which the service does not refuse',
    async (query) => {
      const { find } = await tools({ query: 'keyword' });
      expect((await find(call({ query }, staff))).outcome).toBe('ok');
    },
  );
});
