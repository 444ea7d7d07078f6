import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import type { Admission } from '../../src/admission/admission.js';
import { type Attempt, Reaches } from '../../src/session/reach.js';
import { authorizeWithKey } from '../../src/upstream/authorizer.js';
import { UpstreamPool } from '../../src/upstream/pool.js';

/** An upstream that takes calls and lets nobody sit beside them. `asked` is told of each request, by its path. */
async function shut(asked: (path: string) => void = () => undefined) {
  const paths: string[] = [];
  const waiting: { path: string; heard: () => void }[] = [];
  const hear = (path: string): void => {
    paths.push(path);
    asked(path);
    for (const { heard } of waiting.filter((one) => path.startsWith(one.path))) heard();
  };
  const server = createServer((request, response) => {
    const path = (request.url ?? '').replace('/openai/v1/realtime', '');
    hear(path);
    if (path === '/client_secrets') response.end(JSON.stringify({ value: 'ek_1', expires_at: 9, session: { a: 1 } }));
    else if (path.endsWith('/hangup')) response.end();
    else response.writeHead(201, { location: '/v1/realtime/calls/rtc_1' }).end('v=0\r\n');
  });
  server.on('upgrade', (_, socket) => {
    hear('sideband');
    socket.on('error', () => socket.destroy());
    socket.end('HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const endpoint = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const target = { name: 'a', endpoint, deployment: 'd', dialect: 'ga', authorize: authorizeWithKey('key') } as const;
  const upstreams = new UpstreamPool([target]);
  const late: (() => void)[] = [];
  const reaches = new Reaches({
    upstreams,
    log: { error: () => undefined } as never,
    leg: () => expect.unreachable(),
    clock: {
      at(_, work) {
        late.push(work);
        return () => late.splice(late.indexOf(work), 1);
      },
    },
  });
  const session = new AbortController();
  const limits = { dial_seconds: 5, second_dial_ms: 5000 };
  const answers: string[] = [];
  const attempt: Attempt = {
    admission: { id: 'sess_1', requestId: 'r', limits } as Admission,
    session: {},
    signal: session.signal,
    onDial: () => undefined,
  };
  const reached = reaches.byOffer('v=0', (answer) => answers.push(answer))(attempt);
  reached.catch(() => undefined);
  return {
    ...{ target, reaches, attempt, session, reached, late, answers, paths },
    heard: (path: string) => new Promise<void>((heard) => void waiting.push({ path, heard })),
  };
}

it('a call that cannot be joined in time is given up as upstream_timeout, and hung up', async () => {
  const { heard, reached, late, answers, reaches, paths } = await shut();
  await heard('sideband');
  expect(answers).toEqual(['v=0\r\n']);
  for (const work of [...late]) work();
  await expect(reached).rejects.toMatchObject({ id: 'upstream_timeout' });
  await reaches.close(5000);
  expect(paths.at(-1)).toBe('/calls/rtc_1/hangup');
  expect(late).toEqual([]);
});

it('a call that exists is joined by its id, and hung up when that cannot be', async () => {
  const { target, reaches, attempt, heard, late, paths } = await shut();
  const reached = reaches.byCallId({ upstream: target, id: 'rtc_7' }, {})(attempt);
  reached.catch(() => undefined);
  await heard('sideband');
  for (const work of [...late]) work();
  await expect(reached).rejects.toMatchObject({ id: 'upstream_timeout' });
  await reaches.close(5000);
  expect(paths).toContain('/calls/rtc_7/hangup');
});

it('a call whose session ends while it is being joined is hung up, and joined no more', async () => {
  const { heard, reached, session, reaches, paths } = await shut();
  await heard('sideband');
  session.abort();
  await expect(reached).rejects.toThrow();
  await reaches.close(5000);
  expect(paths.filter((path) => path !== 'sideband')).toEqual([
    '/client_secrets',
    '/calls?webrtcfilter=on',
    '/calls/rtc_1/hangup',
  ]);
});

it('a call that upstream takes after its session has ended is hung up, and nobody is answered', async () => {
  let end: () => void = () => undefined;
  const { reached, session, reaches, answers, paths } = await shut((path) => {
    if (path.startsWith('/calls?')) end();
  });
  end = () => session.abort();
  await expect(reached).rejects.toThrow();
  await reaches.close(5000);
  expect(answers).toEqual([]);
  expect(paths).not.toContain('sideband');
  expect(paths.at(-1)).toBe('/calls/rtc_1/hangup');
});
