import { fileURLToPath } from 'node:url';
import { SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { signToken } from '../../src/auth/token.js';
import { connect, refused } from '../support/client.js';
import { relayEnv, serve } from '../support/process.js';
import { jwt, startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { startUpstream } from '../support/upstream.js';

const exporter = new InMemorySpanExporter();
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
provider.register();
afterEach(() => exporter.reset());

const traceId = '0af7651916cd43dd8448eb211c80319c';
const parentId = 'b7ad6b7169203331';
const traceparent = `00-${traceId}-${parentId}-01`;

async function start(): Promise<TestRelay & { emulator: Awaited<ReturnType<typeof startTestEmulator>> }> {
  const emulator = await startTestEmulator();
  return { emulator, ...(await startTestRelay({ upstream: emulator.url })) };
}

function span(name: string): ReadableSpan {
  const found = exporter.getFinishedSpans().filter((one) => one.name === name);
  expect(found).toHaveLength(1);
  return found[0] as ReadableSpan;
}

describe('with an SDK in the process', () => {
  it('traces a session, its dial and its configuration under the span of the client', async () => {
    const test = await start();
    const client = await test.connect({ headers: { traceparent } });
    await client.ask('hello');
    client.ws.close(1000);
    const ended = await test.logged('session.ended');

    const session = span('session');
    expect(session.kind).toBe(SpanKind.SERVER);
    expect(session.spanContext().traceId).toBe(traceId);
    expect(session.parentSpanContext?.spanId).toBe(parentId);
    expect(session.status.code).toBe(SpanStatusCode.UNSET);
    expect(session.attributes).toEqual({
      'relay.session.id': ended.session,
      'relay.request.id': ended.requestId,
      'relay.profile': 'default',
      'relay.dialect': 'ga',
      'relay.upstream': 'default',
      'relay.upstream.dialect': 'ga',
      'relay.reason': 'normal',
      'relay.initiator': 'client',
      'relay.turns': 1,
    });
    for (const name of ['dial', 'configure']) {
      const part = span(name);
      expect(part.parentSpanContext?.spanId).toBe(session.spanContext().spanId);
      expect(part.attributes['relay.upstream']).toBe('default');
      expect(part.status.code).toBe(SpanStatusCode.UNSET);
    }
    expect(span('dial').attributes['relay.reason']).toBe('ok');
  });

  it.each([
    ['none', undefined],
    ['text', 'hello'],
    ['one of zeros', '00-00000000000000000000000000000000-0000000000000000-01'],
    ['one that is too long', `${traceparent}-${'x'.repeat(1000)}`],
    ['two of them', `${traceparent}, ${traceparent}`],
  ])('begins a trace of its own when the client sends as traceparent: %s', async (_, sent) => {
    const test = await start();
    const client = await test.connect(sent === undefined ? {} : { headers: { traceparent: sent } });
    await client.next('session.created');
    client.ws.close(1000);
    await test.logged('session.ended');
    expect(span('session').parentSpanContext).toBeUndefined();
    expect(span('session').spanContext().traceId).not.toBe(traceId);
  });

  it('takes neither baggage nor vendor state of a client into the trace', async () => {
    const test = await start();
    const headers = { traceparent, tracestate: 'vendor=canary', baggage: 'key=canary' };
    const client = await test.connect({ headers });
    await client.next('session.created');
    client.ws.close(1000);
    await test.logged('session.ended');
    expect(span('session').spanContext().traceState?.serialize() ?? '').toBe('');
    const seen = exporter.getFinishedSpans().map(({ attributes, status, events }) => ({ attributes, status, events }));
    expect(JSON.stringify(seen)).not.toMatch(/canary|alice/);
  });

  it('marks what failed, with every dial that was tried', async () => {
    const test = await start();
    test.emulator.control.faults.arm('refuse_500', 2);
    await (await test.connect()).closed;
    await test.logged('session.ended');
    const error = { code: SpanStatusCode.ERROR, message: 'upstream_failed' };
    expect(span('session').status).toEqual(error);
    const dials = exporter.getFinishedSpans().filter(({ name }) => name === 'dial');
    expect(dials.map(({ status }) => status)).toEqual([error, error]);
    expect(dials.map(({ attributes }) => attributes['http.response.status_code'])).toEqual([500, 500]);
    expect(dials[0]?.spanContext().traceId).toBe(span('session').spanContext().traceId);
  });

  it('marks a configuration that was rejected', async () => {
    const test = await start();
    test.emulator.control.faults.arm('reject_update');
    await (await test.connect()).closed;
    await test.logged('session.ended');
    const error = { code: SpanStatusCode.ERROR, message: 'upstream_configuration_failed' };
    expect([span('configure').status, span('session').status]).toEqual([error, error]);
    expect(span('dial').status.code).toBe(SpanStatusCode.UNSET);
  });

  it('shows a dial that was given up because the client left', async () => {
    const upstream = await startUpstream({ until: new Promise(() => undefined) });
    const test = await startTestRelay({ upstream: upstream.url });
    const client = await test.connect({ headers: { traceparent } });
    client.ws.close(1000);
    await test.logged('upstream.dialed');
    expect(span('dial').attributes['relay.reason']).toBe('aborted');
    expect(span('dial').parentSpanContext?.spanId).toBe(span('session').spanContext().spanId);
    expect([span('dial').status.code, span('session').status.code]).toEqual([
      SpanStatusCode.UNSET,
      SpanStatusCode.UNSET,
    ]);
  });

  it('does the same for a session of one event and of a thousand', async () => {
    const test = await start();
    const client = await test.connect();
    await client.next('session.created');
    const audio = Buffer.alloc(480).toString('base64');
    for (let i = 0; i < 1000; i++) client.send({ type: 'input_audio_buffer.append', audio });
    client.send({ type: 'input_audio_buffer.clear' });
    await client.next('input_audio_buffer.cleared');
    client.ws.close(1000);
    await test.logged('session.ended');
    const spans = exporter.getFinishedSpans();
    expect(spans.map(({ name }) => name).sort()).toEqual(['configure', 'dial', 'session']);
    expect(spans.flatMap(({ events }) => events)).toEqual([]);
  });

  it('makes no span for whom it does not let in', async () => {
    const test = await start();
    await refused(`${test.address}/v1/realtime`, { headers: { traceparent } });
    expect(exporter.getFinishedSpans()).toEqual([]);
  });
});

describe('the request id', () => {
  it('is the same in the answer to the client, in the log and at the upstream', async () => {
    const test = await start();
    const answers: Record<string, unknown>[] = [];
    for (let i = 0; i < 2; i++) {
      const ws = new WebSocket(`${test.address}/v1/realtime`, { headers: { Authorization: `Bearer ${test.token()}` } });
      await new Promise<void>((resolve) => {
        ws.once('upgrade', ({ headers }) => {
          answers.push(headers);
          resolve();
        });
      });
      await new Promise((resolve) => ws.once('message', resolve));
      ws.close();
    }
    const logged = [await test.logged('session.opened', 1), await test.logged('session.opened', 2)];
    expect(answers.map((headers) => headers['x-request-id'])).toEqual(logged.map(({ requestId }) => requestId));
    expect(logged[0]?.requestId).not.toBe(logged[1]?.requestId);
    const sent = test.emulator.control.received.connections.map(({ headers }) => headers['x-ms-client-request-id']);
    expect(sent).toEqual(logged.map(({ requestId }) => requestId));
  });

  it('comes with a refusal, too, and never from the client', async () => {
    const test = await start();
    const { headers } = await refused(`${test.address}/v1/realtime`, { headers: { 'x-request-id': 'mine' } });
    const { requestId } = await test.logged('session.refused');
    expect(headers['x-request-id']).toBe(requestId);
    expect(requestId).toMatch(/^[0-9a-f-]{36}$/);

    const secret = await fetch(`${test.relay.url}/v1/realtime/client_secrets`, { method: 'POST' });
    expect(secret.status).toBe(401);
    expect(secret.headers.get('x-request-id')).toBe((await test.logged('request.refused')).requestId);
  });
});

describe('realtime-relay serve', () => {
  it('is traced by what --import loads, to the last span before it stops', async () => {
    const emulator = await startTestEmulator();
    const registration = fileURLToPath(new URL('../support/tracing.mjs', import.meta.url));
    const env = relayEnv(emulator.url, { NODE_OPTIONS: `--import ${registration}` });
    const relay = await serve(env);
    const client = await connect(`${relay.url.replace('http', 'ws')}/v1/realtime`, {
      headers: { Authorization: `Bearer ${signToken({ ...jwt, subject: 'ada', ttlSeconds: 60 })}`, traceparent },
    });
    await client.next('session.created');
    relay.child.kill('SIGTERM');
    expect((await client.closed).reason).toBe('draining');
    expect(await relay.exited).toBe(0);
    const spans = relay.lines.filter((line) => line.includes('"span"')).map((line) => JSON.parse(line));
    expect(spans.map(({ span: name }) => name).sort()).toEqual(['configure', 'dial', 'session']);
    expect(spans.every((one) => one.traceId === traceId)).toBe(true);
    expect(spans.find((one) => one.span === 'session')).toMatchObject({
      parent: { spanId: parentId },
      attributes: { 'relay.reason': 'draining' },
      status: { code: SpanStatusCode.UNSET },
    });
  });
});
