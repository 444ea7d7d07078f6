import { describe, expect, it, onTestFinished } from 'vitest';
import { type Example, startExample } from '../../examples/search/example.js';
import { spoken } from '../emulator/speech.js';
import { artefact, noBrowser, paddedSpeech, startBrowser } from '../support/browser.js';
import { connect, type ServerEvent, type TestClient } from '../support/client.js';

const question = 'When will my order from last week arrive?';
const answer = 'Orders from last week arrive tomorrow morning between eight and ten.';
const secret = 'When does the merger with Northwind close? The merger with Northwind closes in October?';

async function example(speed = Number.POSITIVE_INFINITY): Promise<Example> {
  const started = await startExample({ print: () => undefined, port: 0, speed });
  onTestFinished(() => started.close());
  return started;
}

const enter = ({ url, token }: Example, person: string, more = '') =>
  connect(`${url.replace('http', 'ws')}/v1/realtime?relay_events=on${more}`, {
    headers: { Authorization: `Bearer ${token(person)}` },
  });

/** What the model says in the response that answers, which is the one with words in it. */
async function answered(client: TestClient): Promise<string> {
  const done = await client.next((event) => {
    const { output } = (event.response ?? {}) as { output?: { content?: object[] }[] };
    return event.type === 'response.done' && (output ?? []).some(({ content }) => (content ?? []).length > 0);
  });
  return JSON.stringify(done);
}

function speak(client: TestClient): void {
  const audio = spoken();
  for (let at = 0; at < audio.length; at += 4800) {
    client.send({ type: 'input_audio_buffer.append', audio: audio.subarray(at, at + 4800).toString('base64') });
  }
}

function ask(client: TestClient, text: string): void {
  const content = [{ type: 'input_text', text }];
  client.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
  client.send({ type: 'response.create', response: { output_modalities: ['text'] } });
}

describe('the example examples/search', () => {
  it('answers a spoken question from the index, and shows what the answer is based on', async () => {
    const client = await enter(await example(), 'customer');
    speak(client);
    expect(await answered(client)).toContain(answer);
    const result = await client.next('relay.tool_result');
    expect(result).toMatchObject({ tool: 'report_grounding' });
    const { sources } = result.result as { sources: { chunk_id: string }[] };
    expect(sources[0]).toMatchObject({ chunk_id: 'orders_1', title: 'Orders and delivery' });
    expect(client.types()).not.toContain('error');
    const seen = JSON.stringify(client.events.filter(({ type }) => type !== 'relay.tool_result'));
    expect(seen).not.toMatch(/report_grounding|function_call|"search"|parental/);
  });

  it.each([
    ['a customer', 'customer', false],
    ['an employee', 'employee', false],
    ['a member of the board', 'board', true],
  ])('finds for %s only what their groups may read, however exactly it is asked for', async (_name, person, finds) => {
    const client = await enter(await example(), person);
    ask(client, secret);
    const said = await answered(client);
    expect(said.includes('closes in October')).toBe(finds);
    if (!finds) expect(JSON.stringify(client.events)).not.toContain('Nobody outside the board');
  });

  it('works for the page of the sample VoiceRAG, which shows no credential', async () => {
    const { url } = await example();
    const client = await connect(`${url.replace('http', 'ws')}/realtime`, { origin: 'http://localhost:5173' });
    client.send({ type: 'session.update', session: { turn_detection: { type: 'server_vad' } } });
    speak(client);
    await client.next('input_audio_buffer.speech_started');
    expect((await client.next('response.audio.delta')).delta).toEqual(expect.any(String));
    const event = (await client.next('extension.middle_tier_tool_response')) as ServerEvent & { tool_result: string };
    expect(event).toMatchObject({ tool_name: 'report_grounding', previous_item_id: expect.stringMatching(/^item_/) });
    const { sources } = JSON.parse(event.tool_result) as { sources: object[] };
    expect(sources[0]).toEqual({
      chunk_id: 'orders_1',
      title: 'Orders and delivery',
      chunk: expect.stringContaining(answer),
    });
    client.send({ type: 'input_audio_buffer.clear' });
    await client.next('input_audio_buffer.cleared');
    const { events } = client;
    for (const done of events.filter(({ type }) => type === 'response.done')) {
      expect((done.response as { output: unknown }).output).toBeInstanceOf(Array);
    }
    expect(client.types()).not.toContain('error');
    expect(client.types().filter((type) => type.startsWith('relay.'))).toEqual([]);
  });

  it.skipIf(noBrowser)(
    'answers a question that is spoken in the console, and shows its sources there',
    async () => {
      const { url } = await example(4);
      const microphone = paddedSpeech('question-order', 8);
      const browser = await startBrowser(microphone.path, { viewport: { width: 1440, height: 900 } });
      onTestFinished(async () => {
        await browser.close();
        microphone.remove();
      });
      const page = await browser.open(`${url}/console/`);
      await page.getByRole('button', { name: 'Connect', exact: true }).click();
      await page.locator('#state').getByText('Connected', { exact: true }).waitFor();
      await page.getByRole('button', { name: 'Microphone off' }).click();
      const line = page.locator('#transcript > li.assistant').first();
      await line.getByText('arrive tomorrow morning').waitFor();
      const sources = page.locator('#transcript > li.tool').first();
      await sources.getByText('Orders and delivery orders_1').click();
      expect(await sources.locator('p').first().textContent()).toContain(answer);
      await page.screenshot({ path: artefact('console-grounded.png') });
      expect(await page.locator('#transcript').textContent()).toContain(question);
      expect(browser.complaints).toEqual([]);
    },
    30_000,
  );
});
