import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { previewNames } from '../../src/protocol/translate/step.js';
import { type Event, filled, type Skeleton, skeletonNames, skeletonOf } from '../emulator/skeleton.js';
import type { ServerEvent } from '../support/client.js';
import { startTestRelay } from '../support/relay.js';
import { Caller, post } from '../webrtc/caller.js';

const yaml = `
profiles:
  default:
    session: { instructions: Be brief. }
    tools: [{ name: tool_a, description: A tool., parameters: { type: object }, runs: client }]
    client: { may_seed: true }
`;

/** Plays a recording: says what the service said, each after it has heard what the recorded client had said by then. */
function playing(skeleton: Skeleton, ws: WebSocket): void {
  const frames = filled(skeleton.frames);
  let at = 0;
  const heard: string[] = [];
  const speak = () => {
    for (; at < frames.length; at++) {
      const { from, event } = frames[at] as (typeof frames)[number];
      if (from === 'service') {
        ws.send(JSON.stringify({ ...event, event_id: `event_E3Ud7${String(at).padStart(16, 'a')}` }));
        continue;
      }
      const index = heard.indexOf(event.type);
      if (index < 0) return;
      heard.splice(index, 1);
    }
  };
  ws.on('message', (data: Buffer) => {
    heard.push((JSON.parse(data.toString()) as Event).type);
    speak();
  });
  speak();
}

/** An upstream that is the recorded service, for WebSockets and for calls. */
async function recordedUpstream(skeleton: Skeleton): Promise<string> {
  const server = createServer((request, response) => {
    request.resume().once('end', () => {
      if (request.url?.endsWith('/client_secrets')) {
        const echo = skeleton.frames.find(({ event }) => event.type === 'session.updated')?.event.session;
        const session = { ...(filled(echo) as object), expires_at: 0 };
        const body = { value: 'ek_recorded', expires_at: Math.floor(Date.now() / 1000) + 7200, session };
        response.end(JSON.stringify(body));
        return;
      }
      const headers = {
        'content-type': 'text/plain; charset=utf-8',
        location: '/v1/realtime/calls/rtc_0123456789abcdef0123456789abcdef',
      };
      response.writeHead(request.url?.includes('/hangup') ? 200 : 201, headers);
      response.end('v=0\r\no=- 1 1785000000 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n');
    });
  });
  new WebSocketServer({ server }).on('connection', (ws: WebSocket) => {
    ws.on('error', () => undefined);
    playing(skeleton, ws);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** What PROTOCOL.md keeps from an end user, or says in words of the relay's own. */
const notShown = new Set(['session.created', 'session.updated', 'rate_limits.updated']);

/** The recorded event as an end user in GA sees it. */
function shown(event: Event): Event {
  const { content, ...rest } = event;
  if (event.type.startsWith('response.content_part.')) return rest as Event;
  return event;
}

async function replayed(name: (typeof skeletonNames)[number], path: string) {
  const skeleton = skeletonOf(name);
  const server = await startTestRelay({ upstream: await recordedUpstream(skeleton), yaml });
  const client = await server.connect({ path });
  await client.next('session.created');
  for (const { from, event } of skeleton.frames.slice(1)) {
    if (from === 'client' && event.type !== 'session.update') client.send(filled(event));
    // What the recorded client waited for before it went on.
    if (['response.output_item.done', 'response.done'].includes(event.type)) {
      const preview = path.startsWith('/openai/realtime');
      await client.next(preview ? (previewNames.get(event.type) ?? event.type) : event.type);
    }
  }
  const recorded = filled(skeleton.frames)
    .filter(({ from, event }) => from === 'service' && !notShown.has(event.type))
    .map(({ event }) => event);
  return { server, client, recorded };
}

const withSockets = skeletonNames.filter((name) => name !== 'azure-sideband-text');

describe('what a live service said, through the relay', () => {
  it.each(withSockets)('%s reaches a GA client with no field lost, and its words without a parse', async (name) => {
    const { server, client, recorded } = await replayed(name, '/openai/v1/realtime?model=x');
    const seen = client.events.filter(({ type }) => !notShown.has(type));
    expect(seen.map(({ type }) => type)).toEqual(recorded.map(({ type }) => type));
    for (const [index, event] of recorded.entries()) {
      const { event_id, ...actual } = seen[index] as ServerEvent;
      expect(event_id).toMatch(/^event_/);
      expect(actual).toEqual(shown(event));
    }
    for (const reason of ['key', 'value', 'missing', 'shape', 'escape', 'base64']) {
      const spelled = recorded.some(({ delta }) => typeof delta === 'string' && /["\\\n]/.test(delta));
      if (reason !== 'escape' || !spelled)
        expect(await server.metric('relay_slow_path_total', { reason }), reason).toBe(0);
    }
  });

  it.each(withSockets)(
    '%s reaches a preview client: every event it knows, with the same words and padding',
    async (name) => {
      const { client, recorded } = await replayed(name, '/openai/realtime?api-version=2025-04-01-preview&deployment=x');
      const deltas = (events: readonly Event[]) =>
        events
          .filter(({ type }) => type.endsWith('.delta'))
          .map(({ type, delta, obfuscation }) => [previewNames.get(type) ?? type, delta, obfuscation]);
      expect(deltas(client.events as Event[])).toEqual(deltas(recorded));
      const usage = (events: readonly Event[]) =>
        events
          .filter(({ type }) => type === 'response.done')
          .map(({ response }) => (response as { usage: { total_tokens: number } }).usage.total_tokens);
      expect(usage(client.events as Event[])).toEqual(usage(recorded));
      expect(client.types()).not.toContain('error');
    },
  );

  it('azure-sideband-text opens a call without a greeting, and is counted', async () => {
    const skeleton = skeletonOf('azure-sideband-text');
    const server = await startTestRelay({
      upstream: await recordedUpstream({
        ...skeleton,
        // What the browser asks for on its own channel, the sideband only hears of.
        frames: skeleton.frames.filter(({ from, event }) => from === 'service' || event.type === 'session.update'),
      }),
      yaml,
    });
    const { offer } = await Caller.create();
    const answer = await post(server, offer);
    expect([answer.status, await answer.text()]).toMatchObject([201, expect.stringContaining('v=0')]);
    await server.logged('session.opened');
    const done = skeleton.frames.find(({ event }) => event.type === 'response.done');
    const { usage } = (done as (typeof skeleton.frames)[number]).event.response as { usage: { total_tokens: number } };
    await expect.poll(() => server.metric('relay_tokens_total')).toBe(usage.total_tokens);
  });
});
