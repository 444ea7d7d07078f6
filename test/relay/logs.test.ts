import { Writable } from 'node:stream';
import { describe, expect, it, vi } from 'vitest';
import { signToken } from '../../src/auth/token.js';
import { createCourse } from '../../src/session/course.js';
import { conceal, createLog, type Log, logLevels } from '../../src/telemetry/log.js';
import { refused } from '../support/client.js';
import { jwt, startTestEmulator, startTestRelay } from '../support/relay.js';

const levels = logLevels.filter((level) => level !== 'silent');

function written(use: (log: Log) => void): string {
  let text = '';
  const sink = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  use(createLog('trace', sink));
  // Redaction must not break what a collector parses.
  for (const line of text.trim().split('\n')) expect(() => JSON.parse(line), line).not.toThrow();
  return text;
}

const pem = '-----BEGIN PRIVATE KEY-----\nMIIEcanary7\n-----END PRIVATE KEY-----';
const configured = 'configured+canary/"8"\\key';
/** What must never be written, and the part of it that is looked for. */
const secrets: readonly (readonly [what: string, secret: string, canary: string])[] = [
  ['an app token', signToken({ ...jwt, subject: 'canary1', ttlSeconds: 60 }), '.eyJ'],
  ['a client secret', 'ek_rly_canary2canary2', 'canary2'],
  ['an authorization header', 'Bearer canary3.opaque~token==', 'canary3'],
  ['a subprotocol', 'realtime, openai-insecure-api-key.canary4', 'canary4'],
  ['a query', '/v1/realtime?model=x&api-key=canary5&y=1', 'canary5'],
  ['a query with a header', '/v1/realtime?Authorization=Bearer%20canary6', 'canary6'],
  ['a private key', pem, 'canary7'],
  ['a configured secret', configured, 'canary/'],
  ['the password of a proxy', 'http://user:canary9@proxy.example:3128', 'canary9'],
];
const error = (text: string) => new Error(`outer ${text}`, { cause: new Error(`inner ${text}`) });

describe('a secret', () => {
  for (const level of levels) {
    it.each(secrets)(`is not written at level ${level}: %s`, (_, secret, canary) => {
      const text = written((log) => {
        conceal(log, [configured]);
        log[level](`in a message: ${secret}`);
        log[level]({ field: secret, deep: { er: { and: { deeper: [secret] } } } }, 'in fields');
        log[level]({ error: error(secret) }, 'in an error');
        log[level]({ error: Object.assign(new TypeError(secret), { code: secret }) }, 'in a stack');
        log[level]({ [secret]: 1 }, 'as a name');
        for (const before of [960, 980, 990])
          log[level]({ error: new Error(`${'x'.repeat(before)} ${secret}`) }, 'at a cut');
      });
      expect(text.trim().split('\n')).toHaveLength(8);
      expect(text).not.toContain(canary);
    });
  }

  it.each(['authorization', 'api-key', 'api_key', 'apiKey', 'token', 'credential', 'secret', 'cookie', 'password'])(
    'is not written under the name %s, whatever it looks like',
    (name) => {
      const text = written((log) => {
        log.info({ [name]: 'canary' }, 'x');
        log.info({ a: { [name]: 'canary' } }, 'x');
        log.info({ a: { b: { [name]: 'canary' } } }, 'x');
      });
      expect(text).not.toContain('canary');
    },
  );

  it('leaves alone what is none', () => {
    const line = { requestId: '0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d', url: 'https://relay.example/v1?model=x' };
    expect(JSON.parse(written((log) => log.info(line, 'The token has run out.')))).toMatchObject(line);
  });
});

describe('a relay that logs everything', () => {
  it('writes no content and no credential of a conversation, of refusals or of failures', async () => {
    const emulator = await startTestEmulator();
    const yaml = `
upstreams: [{ name: main, endpoint: "${emulator.url}", deployment: gpt-realtime, api_key: emulator-key }]
profiles: { default: { session: { instructions: "canary of the prompt", tools: [{ type: mcp, server_label: x, server_url: "https://mcp.example", authorization: canary-of-mcp }] } } }`;
    const test = await startTestRelay({ upstream: emulator.url, yaml, level: 'trace' });
    const client = await test.connect();
    await client.next('session.created');
    await client.ask('canary of the user');
    client.send({ type: 'canary.of.a.type', field: 'canary of a field' });
    await client.next('error');
    client.ws.close(1000);
    await refused(`${test.address}/v1/realtime?api-key=canary-of-the-query&model=canary-of-the-model`);
    emulator.control.faults.arm('refuse_401', 5);
    await (await test.connect()).closed;
    await test.logged('session.ended', 2);
    const text = JSON.stringify(test.log);
    expect(text).toContain('session.events');
    expect(text).not.toMatch(/canary|emulator-key|eyJ/);
    expect(text).not.toContain(jwt.secret);
  });

  it('counts event types of each session at most once a second', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'Date'] });
    try {
      const emulator = await startTestEmulator();
      const test = await startTestRelay({ upstream: emulator.url });
      const client = await test.connect();
      await client.next('session.created');
      for (let i = 0; i < 50; i++) client.send({ type: 'input_audio_buffer.append', audio: 'AAAA' });
      client.send({ type: 'made.up' });
      client.send({ type: 'input_audio_buffer.clear' });
      await client.next('input_audio_buffer.cleared');
      expect(test.log.filter(({ msg }) => msg === 'session.events')).toEqual([]);
      vi.advanceTimersByTime(1000);
      const line = await test.logged('session.events');
      expect(line).toMatchObject({
        level: 'debug',
        up: { 'input_audio_buffer.append': 50, 'input_audio_buffer.clear': 1, other: 1 },
        down: { 'session.created': 1, 'session.updated': 1, 'input_audio_buffer.cleared': 1 },
      });
      vi.advanceTimersByTime(3000);
      expect(test.log.filter(({ msg }) => msg === 'session.events')).toHaveLength(1);
      client.ws.close(1000);
      const { session } = await test.logged('session.ended');
      expect(line.session).toBe(session);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('a relay that logs at info', () => {
  it('writes two lines of a session, however much passes in it', async () => {
    const emulator = await startTestEmulator();
    const yaml = 'profiles: { default: { limits: { responses_burst: 100 } } }';
    const test = await startTestRelay({ upstream: emulator.url, level: 'info', yaml });
    const client = await test.connect();
    await client.next('session.created');
    for (let i = 0; i < 25; i++) await client.ask(`question ${i}`);
    client.ws.close(1000);
    const ended = await test.logged('session.ended');
    const about = test.log.filter(({ session }) => session === ended.session).map(({ msg }) => msg);
    expect(about.filter((msg) => msg !== 'session.usage')).toEqual(['session.opened', 'session.ended']);
    expect(ended).toMatchObject({ turns: 25, heldSecondsUp: 0, heldSecondsDown: 0 });
    expect(ended.lastTurns).toHaveLength(20);
    expect(JSON.stringify(ended).length).toBeLessThan(8192);
  });

  it('counts no types', async () => {
    const emulator = await startTestEmulator();
    const test = await startTestRelay({ upstream: emulator.url, level: 'info' });
    const client = await test.connect();
    await client.next('session.created');
    await client.ask('hello');
    client.ws.close(1000);
    await test.logged('session.ended');
    expect(test.log.filter(({ msg }) => msg === 'session.events')).toEqual([]);
  });
});

describe('the course of a session', () => {
  it('stays small, and takes no text of upstream, however many turns and errors there are', () => {
    const course = createCourse();
    for (let i = 0; i < 1000; i++) {
      course.firstAudio(i);
      course.answered(i % 2 ? 'completed' : 'words of upstream', i === 999);
      course.failed(`code_${'abcdefghijklmnop'[i % 16]}`);
      course.failed('Some words of upstream');
    }
    const totals = course.totals();
    expect(totals.lastTurns).toHaveLength(20);
    expect(totals.lastTurns?.at(-1)).toMatchObject({ firstAudioMs: 999, status: 'interrupted' });
    expect(totals.slowestFirstAudioMs).toBe(999);
    expect(Object.keys(totals.errors ?? {}).length).toBeLessThanOrEqual(9);
    expect(JSON.stringify(totals)).not.toContain('words');
  });
});
