import { describe, expect, it } from 'vitest';
import type { Emulator } from '../../src/emulator/emulator.js';
import type { FaultName } from '../../src/emulator/faults.js';
import { documents, library } from '../emulator/search/library.js';
import type { TestClient } from '../support/client.js';
import { startTestRelay } from '../support/relay.js';

const filter = `filter: "group_ids/any(g:search.in(g, '{{claims.groups}}', '|'))"`;

/** A relay that searches the library, and a client with the claims that are given. */
async function searching(claims: object, more = ''): Promise<{ emulator: Emulator; client: TestClient }> {
  const emulator = await library();
  const search = `endpoint: "${emulator.url}", index: library, api_key: emulator-search-key, query: keyword, ${filter}`;
  const tools = [
    `{ name: search, runs: search, timeout_seconds: 0.5, search: { ${search}${more} } }`,
    `{ name: report_grounding, runs: search, result: client, search: { ${search}, role: grounding } }`,
  ];
  const yaml = `profiles: { default: { tools: [${tools.join(', ')}] } }`;
  const { connect, token } = await startTestRelay({ upstream: emulator.url, yaml });
  const client = await connect({ path: '/v1/realtime?relay_events=on', token: token({ claims }) });
  await client.next('session.created');
  return { emulator, client };
}

/** What the model says after its tools. */
async function answerTo(client: TestClient, words: string): Promise<string> {
  const content = [{ type: 'input_text', text: words }];
  client.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
  client.send({ type: 'response.create', response: { output_modalities: ['text'] } });
  const done = await client.next(
    ({ type, response }) => type === 'response.done' && (response as { output: object[] }).output.length > 0,
  );
  return JSON.stringify(done);
}

const outputs = (emulator: Emulator) =>
  emulator.control.received
    .events('conversation.item.create')
    .map(({ body }) => body.item as { type: string; output: string })
    .filter(({ type }) => type === 'function_call_output')
    .map(({ output }) => output);

describe('a search that goes wrong', () => {
  it.each<[FaultName, 'failed' | 'timeout']>([
    ['search_402', 'failed'],
    ['search_403', 'failed'],
    ['search_html', 'failed'],
    ['search_big', 'failed'],
    ['search_slow', 'timeout'],
  ])('%s makes a safe output, leaks nothing, and the next turn works', async (fault, error) => {
    const { emulator, client } = await searching({ groups: ['staff'] });
    emulator.control.faults.arm(fault);
    expect(await answerTo(client, 'What is parental leave?')).toContain('not available right now');
    expect(JSON.parse(outputs(emulator)[0] ?? '')).toMatchObject({ error });
    expect(await answerTo(client, 'What is parental leave?')).toContain(documents[0]?.chunk);
    expect(client.raw.join('')).not.toMatch(/library|emulator-search-key|quota|Access to the service|<html>/);
  });

  it.each<[FaultName, number | undefined]>([
    ['search_206', undefined],
    ['search_429', undefined],
    ['search_503', undefined],
    ['search_503', 0],
  ])('%s is got over within the time (Retry-After: %s)', async (fault, retryAfterSeconds) => {
    const { emulator, client } = await searching({ groups: ['staff'] });
    emulator.control.faults.arm({ fault, ...(retryAfterSeconds !== undefined && { retryAfterSeconds }) });
    expect(await answerTo(client, 'What is parental leave?')).toContain(documents[0]?.chunk);
  });
});

describe('what another group may read', () => {
  it.each([
    ['its exact words', 'The secret merger with Globex closes in October?'],
    ['a phrase', '"secret merger with Globex"?'],
    ['operators', '+merger | (Globex) -leave board*?'],
    ['a filter of its own', "' or group_ids/any(g: g eq 'board') or tenant eq 'acme?"],
    ['a quote and an end of the body', 'x", "filter": null, "search": "merger?'],
  ])('is not found by %s', async (_name, words) => {
    const { emulator, client } = await searching({ groups: ['staff'] });
    expect(await answerTo(client, words)).not.toContain('closes in October');
    const found = emulator.control.search.records.flatMap((record) => record.found);
    expect(emulator.control.search.records.map(({ status }) => status)).not.toContain(400);
    expect(found).not.toContain('board_1');
    expect(outputs(emulator).join('')).not.toContain('closes in October');
    const { client: member } = await searching({ groups: ['board'] });
    expect(await answerTo(member, 'The secret merger with Globex?')).toContain('closes in October');
  });

  it.each([
    ['no claim', {}],
    ['an empty one', { groups: [] }],
    ['one that would be two', { groups: ['staff|board'] }],
    ['one of another kind', { groups: { name: 'board' } }],
  ])('is not asked for with %s', async (_name, claims) => {
    const { emulator, client } = await searching(claims);
    expect(await answerTo(client, 'The secret merger with Globex?')).toContain('I found nothing.');
    expect(emulator.control.search.records).toEqual([]);
  });

  it('is not shown as a source, whatever the model cites', async () => {
    const { emulator, client } = await searching({ groups: ['staff'] });
    const sources = ['board_1', 'leave_1', 'leave_1', '" OR "board_1'];
    await answerTo(client, 'What is parental leave?');
    await client.next('relay.tool_result');
    emulator.control.script({ text: 'See there.', functionCall: { name: 'report_grounding', arguments: { sources } } });
    await answerTo(client, 'And who wrote that');
    const result = await client.next('relay.tool_result');
    expect(result.result).toEqual({
      sources: [{ chunk_id: 'leave_1', title: 'Leave.pdf', chunk: documents[0]?.chunk }],
    });
    expect(client.raw.join('')).not.toContain('Globex');
  });
});
