import { describe, expect, it } from 'vitest';
import { startTestRelay } from '../support/relay.js';
import { say } from '../support/tools.js';
import { startUpstream } from '../support/upstream.js';
import { endpoint } from '../tools/support.js';

type Body = Record<string, unknown>;

/** A relay with a tool before a model whose every word a test says. */
async function start(limits: string) {
  const upstream = await startUpstream();
  const { url } = await endpoint((_, response) => say(response, 'found'));
  const yaml = `
upstreams: [{ name: main, endpoint: "${upstream.url}", deployment: gpt-realtime, dialect: ga, api_key: key }]
profiles:
  default:
    limits: { ${limits} }
    tools: [{ name: lookup, runs: http, http: { url: "${url}" } }]
`;
  const test = await startTestRelay({ upstream: upstream.url, yaml });
  const client = await test.connect({ path: '/openai/v1/realtime?model=x&relay_events=on' });
  await client.next('session.created');
  const { ws } = await upstream.connected();
  let events = 0;
  const speak = (type: string, rest: Body = {}) => ws.send(JSON.stringify({ type, event_id: `e${++events}`, ...rest }));
  let heard = 0;
  /** The next that the relay says. */
  const hear = async (): Promise<Body> => JSON.parse((await upstream.received(++heard))[heard - 1] ?? '') as Body;
  let calls = 0;
  let responses = 0;
  const call = (): Body => ({
    ...{ id: `item_${++calls}`, object: 'realtime.item', type: 'function_call', status: 'completed' },
    ...{ name: 'lookup', call_id: `call_${calls}`, arguments: '{}' },
  });
  /** A response that calls these. */
  const respond = (asked: Body, items: Body[]) => {
    const id = `resp_${++responses}`;
    const { metadata } = asked.response as Body;
    const base = { id, object: 'realtime.response', conversation_id: 'conv_1', metadata };
    speak('response.created', { response: { ...base, status: 'in_progress', output: [] } });
    for (const [output_index, item] of items.entries()) {
      speak('response.output_item.added', {
        response_id: id,
        output_index,
        item: { ...item, status: 'in_progress', arguments: '' },
      });
      speak('response.output_item.done', { response_id: id, output_index, item });
    }
    speak('response.done', { response: { ...base, status: 'completed', output: items } });
  };
  const added = (item: unknown) => speak('conversation.item.added', { item, previous_item_id: null });
  return { client, hear, call, respond, added };
}

describe('a model that calls on and on', () => {
  it('though it is given no tools is not asked any more until the user says something', async () => {
    const test = await start('tool_rounds: 2');
    const choices: unknown[] = [];
    const turn = async () => {
      test.client.send({ type: 'response.create' });
      for (;;) {
        const said = await test.hear();
        if (said.type !== 'response.create') return;
        choices.push((said.response as Body).tool_choice);
        test.respond(said, [test.call()]);
        test.added((await test.hear()).item);
        if (choices.length % 5 === 0) return;
      }
    };
    await turn();
    // Whatever else the relay would have said of it comes before this.
    test.client.send({ type: 'input_audio_buffer.clear' });
    expect((await test.hear()).type).toBe('input_audio_buffer.clear');
    expect(choices).toEqual([undefined, undefined, undefined, 'none', 'none']);
    await turn();
    expect(choices.slice(5)).toEqual(choices.slice(0, 5));
  });
});
