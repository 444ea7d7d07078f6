import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { WebSocket } from 'ws';
import { explain, NotAnId } from '../../src/explain/explain.js';
import { run } from '../support/process.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { ReturningClient } from '../support/returning.js';
import { startUpstream } from '../support/upstream.js';
import { tcp } from '../upstream/servers.js';

type Line = Record<string, unknown>;

/** What is printed for a log, given as lines or as objects. */
async function told(id: string, log: readonly (string | Line)[]): Promise<{ ok: boolean; text: string }> {
  const printed: string[] = [];
  const lines = log.map((line) => (typeof line === 'string' ? line : JSON.stringify(line)));
  const ok = await explain(id, Readable.from(Buffer.from(lines.join('\n'))), (line) => printed.push(line));
  return { ok, text: printed.join('\n') };
}

/** A session on a relay that logs at info, ended as the caller likes; resolves to its story. */
async function storyOf(test: TestRelay, live: () => Promise<unknown>): Promise<string> {
  await live();
  const { session } = await test.logged('session.ended');
  const { ok, text } = await told(String(session), test.log);
  expect(ok).toBe(true);
  return text;
}

function verdict(text: string): string {
  return /^Verdict: (\w+)\./m.exec(text)?.[1] ?? `none in:\n${text}`;
}

describe('explain, of a log at level info', () => {
  it('tells that the client was lost and came back, and that it did not in the end', async () => {
    const upstream = await startUpstream();
    const yaml = 'profiles: { default: { continuity: { resume_seconds: 1 } } }';
    const test = await startTestRelay({ upstream: upstream.url, level: 'info', yaml });
    const text = await storyOf(test, async () => {
      const client = await ReturningClient.start({ address: test.address, token: test.token() });
      client.client.ws.terminate();
      await test.logged('session.detached');
      await client.resume();
      client.client.ws.terminate();
    });
    expect(text).toContain('the client was lost (close code 1006); the session waits for it');
    expect(text).toMatch(/the client went on after \S+ ?m?s without it \(full\)/);
    expect(text).toContain('ended: client_lost, by the client');
    expect(verdict(text)).toBe('network');
  });

  it('tells a conversation from the connection to the goodbye, and what Azure needs', async () => {
    const emulator = await startTestEmulator();
    const test = await startTestRelay({ upstream: emulator.url, level: 'info' });
    const text = await storyOf(test, async () => {
      const client = await test.connect();
      await client.next('session.created');
      await client.ask('private words');
      client.send({ type: 'response.create' });
      await client.next('response.done');
      client.ws.close(1000);
    });
    const [, timeline] = text.split('\n\n') as [string, string];
    const order = [
      'client connected',
      'upstream default reached',
      'profile accepted',
      'ready:',
      'turn 1: answer completed',
    ];
    order.push(
      'turn 2: first audio after',
      'turn 2: answer completed',
      'ended: normal, by the client, close code 1000',
    );
    const places = order.map((what) => timeline.indexOf(what));
    expect(places.every((place, index) => place > (places[index - 1] ?? -1))).toBe(true);
    expect(verdict(text)).toBe('nobody');
    const opened = await test.logged('session.opened');
    expect(text).toContain(`x-ms-client-request-id ${opened.requestId}`);
    for (const [name, id] of Object.entries(opened.azure as Line)) expect(text).toContain(`${name} ${id}`);
    expect(text).toMatch(/from \d{4}-[\dT:.-]+Z to \d{4}-/);
    expect(text).not.toContain('private words');
  });

  it.each([
    ['refuse_401_permission', 'relay', /missing_role, HTTP 401/],
    ['refuse_403_private', 'network', /network_rules, HTTP 403/],
    ['refuse_404_deployment', 'relay', /deployment_not_found, HTTP 404/],
    ['refuse_429', 'upstream', /throttled, HTTP 429/],
    ['refuse_500', 'upstream', /server_error, HTTP 500/],
    ['reset', 'network', /reset/],
    ['reject_update', 'relay', /did not accept the configuration of the profile default/],
    ['die_mid_response', 'network', /died without a close frame/],
    ['close_mid_response', 'upstream', /closed the connection with 10\d\d|goodbye/],
  ] as const)('blames the right one when upstream does %s', async (fault, whom, evidence) => {
    const emulator = await startTestEmulator();
    const test = await startTestRelay({ upstream: emulator.url, level: 'info' });
    emulator.control.faults.arm(fault as never, 5);
    const text = await storyOf(test, async () => {
      const client = await test.connect();
      if (fault.endsWith('mid_response')) client.ask('hello').catch(() => undefined);
      await client.closed;
    });
    expect(verdict(text)).toBe(whom);
    expect(text).toMatch(evidence);
    expect(text).toMatch(/x-ms-client-request-id [0-9a-f-]{36}/);
  });

  it("names what upstream objected to in a profile, by its words' code and field alone", async () => {
    const error = {
      type: 'invalid_request_error',
      code: 'invalid_value',
      param: 'session.voice',
      message: 'my secret prompt',
    };
    const upstream = await startUpstream({
      greet: (ws) => {
        ws.send(JSON.stringify({ type: 'session.created', event_id: 'event_1', session: {} }));
        ws.once('message', () => ws.send(JSON.stringify({ type: 'error', event_id: 'event_2', error })));
      },
    });
    const test = await startTestRelay({ upstream: upstream.url, level: 'info' });
    const text = await storyOf(test, async () => (await test.connect()).closed);
    expect(verdict(text)).toBe('relay');
    expect(text).toContain('profile default (invalid_value, session.voice)');
    expect(text).not.toContain('secret prompt');
    expect(JSON.stringify(test.log)).not.toContain('secret prompt');
  });

  it.each([
    ['does not begin', () => undefined, /did not start the session in time/],
    [
      'does not answer the configuration of',
      (ws: WebSocket) => ws.send(JSON.stringify({ type: 'session.created', event_id: 'event_1', session: {} })),
      /did not configure the session in time/,
    ],
  ])('blames an upstream that %s a session', async (_, greet, evidence) => {
    const upstream = await startUpstream({ greet });
    const yaml = 'limits: { configure_seconds: 0.2 }';
    const test = await startTestRelay({ upstream: upstream.url, level: 'info', yaml });
    const text = await storyOf(test, async () => (await test.connect()).closed);
    expect(verdict(text)).toBe('upstream');
    expect(text).toMatch(evidence);
  });

  it.each([
    ['http', 'upstream', 'upgrade'],
    ['https', 'network', 'TLS handshake'],
  ])('tells from where a dial over %s hung that it was the %s', async (scheme, whom, phase) => {
    const mute = await tcp((socket) => socket.resume());
    const yaml = 'limits: { dial_seconds: 0.2 }';
    const test = await startTestRelay({ upstream: `${scheme}://127.0.0.1:${mute.port}`, level: 'info', yaml });
    const text = await storyOf(test, async () => (await test.connect()).closed);
    expect(verdict(text)).toBe(whom);
    expect(text).toContain(`it hung at: ${phase}`);
    expect(await test.metric('relay_upstream_errors_total', { origin: whom, code: 'upstream_timeout' })).toBe(1);
  });

  it('blames nothing but the address when nobody listens there', async () => {
    const test = await startTestRelay({ upstream: 'http://127.0.0.1:1', level: 'info' });
    const text = await storyOf(test, async () => (await test.connect()).closed);
    expect(verdict(text)).toBe('network');
    expect(text).toContain('unreachable');
  });

  it('blames the network when the client vanishes, and the client when it sends rubbish', async () => {
    const upstream = await startUpstream();
    const gone = await startTestRelay({ upstream: upstream.url, level: 'info' });
    const vanished = await storyOf(gone, async () => {
      const client = await gone.connect();
      await client.next('session.created');
      client.ws.terminate();
    });
    expect(verdict(vanished)).toBe('network');

    const wild = await startTestRelay({ upstream: upstream.url, level: 'info' });
    const rubbish = await storyOf(wild, async () => {
      const client = await wild.connect();
      client.ws.send('not json');
      await client.closed;
    });
    expect(verdict(rubbish)).toBe('client');
  });

  it('finds a refused handshake by the request id the client was given', async () => {
    const test = await startTestRelay({ upstream: 'http://127.0.0.1:1', level: 'info' });
    await expect(test.connect({ token: 'no-token' })).rejects.toThrow('401');
    const { requestId } = await test.logged('session.refused');
    const { ok, text } = await told(String(requestId), test.log);
    expect(ok).toBe(true);
    expect(verdict(text)).toBe('client');
    expect(text).toContain('nothing to ask Azure about');
  });
});

const base = { level: 'info', time: '2026-03-01T10:00:10.000Z', service: 'realtime-relay' };
const uuid = '0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d';
const session = `sess_${uuid.replaceAll('-', '')}`;
const other = `sess_${uuid.replaceAll('-', '').replace('0a1b2c3d', '0a1b2c3e')}`;
const azure = { 'apim-request-id': 'Ap-1234567' };
const opened = {
  ...base,
  session,
  requestId: uuid,
  subject: 'alice',
  profile: 'default',
  dialect: 'ga',
  upstream: 'east',
  azure,
  readyMs: 400,
  dialMs: 300,
  configureMs: 100,
  attempts: 1,
  msg: 'session.opened',
};
const ended = (fields: object): Line => ({
  ...base,
  session,
  requestId: uuid,
  time: '2026-03-01T10:01:00.000Z',
  reason: 'normal',
  initiator: 'client',
  closeCode: 1000,
  seconds: 50.4,
  ready: true,
  upstream: 'east',
  msg: 'session.ended',
  ...fields,
});

describe('the verdict', () => {
  it.each([
    ['a token that ran out in mid-session', { reason: 'token_expired', initiator: 'relay' }, 'nobody'],
    ['a drain', { reason: 'draining', initiator: 'relay' }, 'nobody'],
    ['a client that does not answer pings', { closeCode: undefined }, 'network'],
    ['a client that gave up on a slow upstream', { ready: false, seconds: 6, upstream: undefined }, 'upstream'],
    ['a client that left at once', { ready: false, seconds: 0.2 }, 'nobody'],
    ['a client that does not read', { reason: 'slow_consumer', heldSecondsDown: 10 }, 'client'],
    ['an upstream that does not read', { reason: 'slow_consumer', initiator: 'upstream' }, 'upstream'],
    ['an upstream without pongs', { reason: 'upstream_lost', initiator: 'upstream', closeCode: undefined }, 'network'],
    [
      'an upstream that closes with 1012',
      { reason: 'upstream_lost', initiator: 'upstream', closeCode: 1012 },
      'upstream',
    ],
    ['a silent upstream', { reason: 'upstream_timeout', initiator: 'upstream' }, 'upstream'],
    ['a bug', { reason: 'internal', initiator: 'relay' }, 'relay'],
    ['a spent budget', { reason: 'quota_exceeded', initiator: 'relay' }, 'client'],
    ['a reason of a later version', { reason: 'brand_new', initiator: 'relay' }, 'relay'],
    ['a reason that every object has as a name', { reason: 'constructor', initiator: 'relay' }, 'relay'],
  ] as const)('of %s', async (_, fields, whom) => {
    expect(verdict((await told(session, [opened, ended(fields)])).text)).toBe(whom);
  });

  it.each([
    ['credential', 'identity'],
    ['name lookup', 'network'],
    ['TLS handshake', 'network'],
    ['upgrade', 'upstream'],
  ])('of a dial that hung at: %s', async (phase, whom) => {
    const error = {
      name: 'DialFailure',
      kind: 'timeout',
      message: 'Not done.',
      phase,
      advice: 'Check.',
    };
    const dial = {
      ...base,
      session,
      requestId: uuid,
      upstream: 'east',
      outcome: 'upstream_timeout',
      seconds: 10,
      error,
    };
    const end = ended({ reason: 'upstream_timeout', initiator: 'upstream', ready: false, upstream: undefined });
    const { text } = await told(session, [{ ...dial, msg: 'upstream.dialed' }, end]);
    expect(verdict(text)).toBe(whom);
    expect(text).toContain(phase);
  });

  it('of a session that a new process found no trace of', async () => {
    const started = { ...base, time: '2026-03-01T10:02:00.000Z', url: 'http://x', msg: 'relay.started' };
    expect(verdict((await told(session, [opened, started])).text)).toBe('relay');
    expect((await told(session, [opened])).text).toContain('the session goes on, or the log is cut');
  });
});

describe('finding a session', () => {
  const log = [
    'npm warn something',
    '',
    '{"broken":',
    '[1,2,3]',
    { ...opened, session: other, requestId: 'x' },
    { ...opened, future: { of: ['fields'] } },
    { ...ended({}), lastTurns: 'not a list', errors: 7 },
  ];

  it.each([
    ['its id', session],
    ['its request id', uuid],
    ['its beginning', session.slice(0, 13)],
    ['the beginning of the request id', uuid.slice(0, 11)],
    ['the digits alone, in capitals', uuid.replaceAll('-', '').toUpperCase()],
    ['an id of Azure', 'Ap-1234567'],
  ])('works by %s among foreign lines', async (_, id) => {
    const { ok, text } = await told(id, id.startsWith('Ap') ? log.slice(0, 4).concat(log.slice(5)) : log);
    expect(text).toContain(`Session ${session}`);
    expect(ok).toBe(true);
    expect(text).toContain('ended: normal');
  });

  it.each([
    ['docker compose', (json: string) => `relay-1  | ${json}`],
    ['the CRI', (json: string) => `2026-03-01T10:00:00.1Z stdout F ${json}`],
    ['json-file', (json: string) => JSON.stringify({ log: `${json}\n`, stream: 'stdout' })],
    ['Azure Container Apps', (json: string) => JSON.stringify({ TimeStamp: 'x', Log: json })],
  ])('works in a log that %s wrapped', async (_, wrap) => {
    const { text } = await told(
      session,
      [opened, ended({})].map((line) => wrap(JSON.stringify(line))),
    );
    expect(text).toContain('ended: normal');
  });

  it('lists the sessions when several fit', async () => {
    const { ok, text } = await told('0a1b2c3', log);
    expect(ok).toBe(false);
    expect(text).toContain(session);
    expect(text).toContain(other);
  });

  it('says what is wrong when there is nothing to explain', async () => {
    expect(await told(session, [])).toEqual({ ok: false, text: 'The log is empty.' });
    expect((await told(session, ['hello'])).text).toContain('None of the 1 lines');
    expect((await told('sess_ffffffff', log)).text).toContain('has no session');
    await expect(told('abc', log)).rejects.toThrow(NotAnId);
    await expect(told('$(rm)-xyz', log)).rejects.toThrow(NotAnId);
  });

  it('prints ids, reasons and the question itself without what a terminal obeys', async () => {
    const evil = '\u001b]0;x\u0007\u009b2J\u202e\u2066\u2028\u200f\nVerdict: nobody.\u{e0041}';
    const obeyed = /[\p{Cc}\p{Bidi_Control}\u2028\u{e0041}]/u;
    const own = { service: 'realtime-relay', time: new Date().toISOString() };
    const line = (id: string) => ({ ...own, msg: 'session.refused', reason: `bad_event${evil}`, ...idOf(id) });
    const idOf = (id: string) => (id.startsWith('sess_') ? { session: id } : { requestId: id });
    for (const ids of [[`sess_abcdef${evil}`], [`abcdef${evil}`], [`sess_abcdef1${evil}`, `sess_abcdef2${evil}`]]) {
      const { text } = await told('abcdef', ids.map(line));
      expect(text).toContain('abcdef');
      for (const printed of text.split('\n')) expect(printed).not.toMatch(obeyed);
      expect(text).not.toMatch(/^Verdict: nobody\./m);
    }
    await expect(explain(`x${evil}`, Readable.from([]), () => undefined)).rejects.toThrow(/^[^\p{Cc}\u202e\u2028]*$/u);
  });

  it('says of a session that Redis refused since when it was away', async () => {
    const own = { service: 'realtime-relay', requestId: 'abcdef' };
    const { text } = await told('abcdef', [
      { service: 'realtime-relay', time: '2026-03-01T09:00:00.000Z', level: 'warn', msg: 'store.away', call: 'enter' },
      { ...own, time: '2026-03-01T10:00:00.000Z', msg: 'session.refused', reason: 'store_unavailable' },
      { service: 'realtime-relay', time: '2026-03-01T11:00:00.000Z', level: 'warn', msg: 'store.away', call: 'enter' },
    ]);
    expect(verdict(text)).toBe('relay');
    expect(text).toContain('Redis, which the replicas share');
    expect(text).toContain('2026-03-01T09:00:00.000Z');
  });

  it('names the tool that made an answer slow, and else the upstream', async () => {
    const called = (tool: string, seconds: number, outcome = 'ok') => ({
      ...opened,
      msg: 'tool.called',
      ...{ tool, runs: 'http', call: 'call_1', outcome, seconds, bytes: 10 },
    });
    const turns = (toolMs?: number) => ({
      turns: 1,
      slowestFirstAudioMs: 10_400,
      lastTurns: [{ audioAt: 12, firstAudioMs: 10_400, ...(toolMs && { toolMs }), doneAt: 13, status: 'completed' }],
    });
    const slow = [opened, called('look', 0.2), called('order_status', 9.8, 'timeout'), ended(turns(9800))];
    const { text } = await told(session, slow);
    expect(text).toContain('tool order_status: timeout after 9800 ms');
    expect(text).toContain('turn 1: first audio after 10 s; tools took 9800 ms of it');
    expect(text).toContain('after 10 s; the tool order_status (timeout) took 9800 ms of that.');
    for (const quick of [undefined, 300]) {
      const { text: other } = await told(session, [opened, called('look', 0.3), ended(turns(quick))]);
      expect(other).toContain("after 10 s; that is the upstream's time.");
    }
  });

  it('tells of a session that was shed what was short, and who took most of it', async () => {
    const shed = {
      ...opened,
      msg: 'session.shed',
      want: 'memory',
      weight: 5e6,
      heaviest: { subject: 'mallory', weight: 9e7 },
    };
    const { text } = await told(session, [opened, shed, ended({ reason: 'slow_consumer', initiator: 'relay' })]);
    expect(verdict(text)).toBe('relay');
    expect(text).toContain('short of memory');
    expect(text).toContain('mallory');
  });

  it('obeys no control characters that somebody brought into the log', async () => {
    const { text } = await told(session, [{ ...opened, subject: '\u001b[2Jevil\u009b' }, ended({})]);
    expect(text).not.toContain('\u001b');
    expect(text).not.toContain('\u009b');
    expect(text).toContain('evil');
  });

  it('reads a long log and endless lines without keeping them', async () => {
    const noise = `${JSON.stringify({ ...base, session: other, msg: 'session.opened', pad: 'x'.repeat(900) })}\n`;
    const chunks = function* () {
      yield Buffer.from(`${JSON.stringify(opened)}\n`);
      const block = Buffer.from(noise.repeat(100));
      for (let i = 0; i < 1000; i++) yield block;
      for (let i = 0; i < 200; i++) yield Buffer.alloc(1_000_000, 'y');
      yield Buffer.from(`\n${JSON.stringify(ended({}))}\n`);
    };
    const before = process.memoryUsage().rss;
    const printed: string[] = [];
    expect(await explain(session, Readable.from(chunks()), (line) => printed.push(line))).toBe(true);
    expect(printed.join('\n')).toContain('ended: normal');
    expect(process.memoryUsage().rss - before).toBeLessThan(150e6);
  });
});

describe('realtime-relay explain', () => {
  it('reads a file or standard input, and tells by its exit code whether it found the session', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'relay-explain-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const file = join(folder, 'relay.log');
    writeFileSync(file, [opened, ended({})].map((line) => JSON.stringify(line)).join('\n'));
    const commands = [
      [['explain', session, '--file', file], 0, 'Verdict: nobody.'],
      [['explain', 'sess_ffffff', '--file', file], 1, 'has no session'],
      [['explain', session], 1, 'The log is empty.'],
      [['explain', session, '--file', join(folder, 'none')], 1, 'cannot be read (ENOENT)'],
      [['explain'], 64, 'one id is needed'],
      [['explain', 'abc', '--file', file], 64, 'is no id'],
    ] as const;
    await Promise.all(
      commands.map(async ([args, code, words]) => {
        const command = run([...args], {});
        expect([args, await command.exited]).toEqual([args, code]);
        expect(command.lines.join('\n')).toContain(words);
      }),
    );
  });
});
