import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { pcm16ToBytes, readWav, writeWav } from '../../src/audio/wav.js';
import { exitIds, exits, httpRefusal, RelayError } from '../../src/errors.js';
import type { JsonObject } from '../../src/protocol/event.js';
import { explainNetwork } from '../../src/talk/failures.js';
import type { TalkOptions } from '../../src/talk/plan.js';
import { talk } from '../../src/talk/talk.js';
import { makeCertificate } from '../support/certificate.js';
import { audioDelta, began, created, done, heard, spoken, words } from './events.js';
import { type Peer, scripted } from './scripted.js';

const question = Int16Array.from({ length: 2400 }, (_, i) => Math.round(9000 * Math.sin(i / 20)));
const answer = new Int16Array(2400).fill(7);
const append = 'input_audio_buffer.append';

let folder: string;
let wav: string;
let out: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'talk-failures-'));
  wav = join(folder, 'question.wav');
  out = join(folder, 'answer.wav');
  await writeFile(wav, writeWav(question, 24_000));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function failure(url: string, options: Partial<TalkOptions> = {}): Promise<string> {
  const lines: string[] = [];
  const print = (line: string) => lines.push(line);
  const result = await talk({ url, token: 'secret-token', wav, out, speed: 40, timeoutSeconds: 5, print, ...options });
  expect(result.ok).toBe(false);
  expect(lines.at(-1)).toBe(`failed: ${result.reason}`);
  expect(lines.join()).not.toMatch(/[\n\r]|secret-token/);
  return result.reason ?? '';
}

/** A relay that takes the question and then does this. */
function afterSpeech(then: (peer: Peer) => unknown) {
  return async (peer: Peer) => {
    peer.send(created());
    await peer.next(append);
    peer.send(...heard);
    then(peer);
  };
}

describe('before anything is dialed', () => {
  it.each<[string, Partial<TalkOptions>, string]>([
    ['no URL', { url: 'relay' }, '"relay" is not the URL of a relay; give it like http://127.0.0.1:8080'],
    ['a host without a scheme', { url: 'localhost:8080' }, 'is not the URL of a relay'],
    ['another scheme', { url: 'ftp://host' }, 'is not the URL of a relay'],
    ['a password in the URL', { url: 'http://user:pass@host' }, 'user name or password'],
    ['no token', { token: '' }, 'There is no token; `realtime-relay token` makes one.'],
    ['a broken token', { token: 'abc\ndef' }, 'a space or a line break'],
    ['a speed of 0', { speed: 0 }, 'The speed has to be 0.1 to 1000'],
    ['no time', { timeoutSeconds: Number.NaN }, 'The time limit'],
    ['nothing to say', { wav: undefined }, 'There is nothing to say'],
    ['a missing recording', { wav: '/nowhere/a.wav' }, 'Cannot read the recording /nowhere/a.wav: ENOENT'],
    ['a folder as recording', { wav: '/' }, 'it is not a file'],
    ['a file that is no recording', { wav: import.meta.filename }, 'This is not a WAV file'],
    ['a folder that is not there', { out: '/nowhere/a.wav' }, 'The answer cannot be written to /nowhere/a.wav: ENOENT'],
  ])('explains %s', async (_, options, message) => {
    expect(await failure('http://127.0.0.1:1', options)).toContain(message);
  });

  it('does not overwrite the recording with the answer', async () => {
    expect(await failure('http://127.0.0.1:1', { out: join(folder, '.', 'question.wav') })).toContain(
      'would overwrite',
    );
  });

  it('explains a recording without sound, and one of a rate that nothing has', async () => {
    const path = join(folder, 'empty.wav');
    await writeFile(path, writeWav(new Int16Array(0), 24_000));
    expect(await failure('http://127.0.0.1:1', { wav: path })).toContain('it holds no sound');
    await writeFile(path, writeWav(question, 1));
    expect(await failure('http://127.0.0.1:1', { wav: path })).toMatch(/longer than a session|sample rate 1 Hz/);
  });
});

describe('no connection', () => {
  it('explains that nothing listens', async () => {
    expect(await failure('http://127.0.0.1:1')).toBe(
      'Cannot connect to ws://127.0.0.1:1/openai/v1/realtime: nothing listens there. ' +
        'Is the relay running, and is this its PORT? (ECONNREFUSED)',
    );
  });

  it('explains a name that does not exist', async () => {
    expect(await failure('http://relay.invalid')).toMatch(/DNS.*\((ENOTFOUND|EAI_AGAIN)\)/);
  });

  it.each([
    ['ETIMEDOUT', 'firewalls'],
    ['EHOSTUNREACH', 'no route'],
    ['CERT_HAS_EXPIRED', 'expired'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'another name'],
    ['SELF_SIGNED_CERT_IN_CHAIN', 'known authority'],
    ['ERR_SSL_WRONG_VERSION_NUMBER', 'use http://'],
    ['ESOMETHING', 'the words of the system'],
  ])('explains %s', (code, message) => {
    const error = Object.assign(new Error('the words of the system'), { code });
    expect(explainNetwork(error, 'wss://host')).toMatch(
      new RegExp(`^Cannot connect to wss://host: .*${message}.*${code}`),
    );
  });

  it('explains a server that cuts the connection', async () => {
    const url = await raw((socket) => socket.once('data', () => socket.destroy()));
    expect(await failure(url)).toMatch(/the connection was cut.*https:\/\//);
  });

  it('explains a server that does not speak HTTP', async () => {
    const url = await raw((socket) => socket.end('220 smtp.example.com ESMTP\r\n'));
    expect(await failure(url)).toContain('the answer is not HTTP');
  });

  it('gives up on a server that says nothing', async () => {
    const url = await raw(() => {});
    expect(await failure(url, { timeoutSeconds: 0.1 })).toMatch(
      /^No answer within 0.1 s\. There was no reply from ws:/,
    );
  });

  it('explains a certificate that nobody knows, and takes it when told to', async () => {
    const files = makeCertificate();
    const tls = { key: await readFile(files.key, 'utf8'), cert: await readFile(files.cert, 'utf8') };
    const url = await scripted(
      afterSpeech((peer) => peer.send(...spoken('Yes.', answer))),
      { tls },
    );
    expect(await failure(url)).toMatch(/not from a known authority.*--insecure/);
    expect(await failure(url.replace('https', 'http'))).toMatch(/use https:\/\//);
    const plain = await scripted(() => {});
    expect(await failure(plain.replace('http', 'https'))).toMatch(/TLS handshake failed.*use http:\/\//);
    const result = await talk({ url, token: 't', wav, out, speed: 40, insecure: true, print: () => {} });
    expect(result.ok).toBe(true);
  });
});

describe('a refusal over HTTP', () => {
  it.each([
    ['unauthorized', 401, 'realtime-relay token'],
    ['token_expired', 401, 'Get a new token'],
    ['forbidden', 403, 'the profile and the scope'],
    ['rate_limited', 429, 'End other sessions'],
    ['overloaded', 503, 'add an instance'],
    ['upstream_failed', 502, 'the deployment'],
  ] as const)('explains %s with the words of the relay', async (id, status, todo) => {
    const refusal = httpRefusal(new RelayError(id, 'The words of the relay', { retryAfterMs: 6500 }));
    const url = await scripted(() => {}, {
      refuse: (_, response) => response.writeHead(status, refusal.headers).end(JSON.stringify(refusal.body)),
    });
    const reason = await failure(url);
    expect(reason).toContain(`refused the session with HTTP ${status} ${id}: The words of the relay.`);
    expect(reason).toContain('It asks to wait 7 s.');
    expect(reason).toContain(todo);
  });

  it.each([
    [200, '<html>Welcome</html>', 'does not speak WebSocket'],
    [
      404,
      '{"error":{"message":"No such path","type":"invalid_request_error","code":null}}',
      'No such path. Check the path',
    ],
    [404, '', 'the base URL of the relay'],
    [401, '{"error":{"code":"401","message":"Denied"}}', 'HTTP 401: Denied.'],
    [426, 'nope', 'Upgrade header'],
    [502, '<html>nginx</html>', 'is it running?'],
    [418, '{"error":"teapot"}', 'not an answer a relay gives'],
  ])('explains %i from something in front of the relay', async (status, body, message) => {
    const url = await scripted(() => {}, { refuse: (_, response) => response.writeHead(status).end(body) });
    const reason = await failure(url);
    expect(reason).toContain(`HTTP ${status}`);
    expect(reason).toContain(message);
  });

  it('shows where a redirect points', async () => {
    const url = await scripted(() => {}, {
      refuse: (_, response) => response.writeHead(308, { location: 'https://elsewhere.example/' }).end(),
    });
    expect(await failure(url)).toContain('It points to https://elsewhere.example/; give that URL.');
  });

  it('does not wait for the end of an endless body', async () => {
    const url = await scripted(() => {}, {
      refuse: (_, response) => response.writeHead(503) && response.write('x'.repeat(70_000)),
    });
    expect(await failure(url)).toContain('HTTP 503');
  });
});

describe('a session that ends too soon', () => {
  it.each(exitIds)('explains %s', async (id) => {
    const { close, meaning, announced } = exits[id];
    const url = await scripted(
      afterSpeech((peer) => {
        if (announced)
          peer.send({ type: 'error', error: { type: 'server_error', code: id, message: 'What the relay says.' } });
        peer.socket.close(close, id);
      }),
    );
    const said = announced ? 'What the relay says.' : meaning;
    const [, todo] = (await failure(url)).split(`The relay closed the session (${close} ${id}): ${said} `);
    expect(todo).toMatch(/^[A-Z].{20,}[.?]$/);
  });

  it('shows how long the relay asks to wait', async () => {
    const error = { code: 'rate_limited', message: 'Too fast', retry_after_ms: 2000 };
    const url = await scripted((peer) => {
      peer.send({ type: 'error', error });
      peer.socket.close(1013, 'rate_limited');
    });
    expect(await failure(url)).toContain('Too fast. It asks to wait 2 s.');
  });

  it('explains a close that is not the relay’s own', async () => {
    const url = await scripted(afterSpeech((peer) => peer.socket.close(4000, 'something.odd')));
    expect(await failure(url)).toContain('The relay closed the session (4000 something.odd) without a reason');
  });

  it('explains a connection that broke', async () => {
    const url = await scripted(afterSpeech((peer) => peer.socket.terminate()));
    expect(await failure(url)).toContain('The connection broke without a goodbye');
  });

  it('keeps the part of the answer that came', async () => {
    const url = await scripted(
      afterSpeech((peer) => {
        peer.send(began(), words('To begin'), audioDelta(pcm16ToBytes(answer)));
        peer.socket.close(1011, 'upstream_lost');
      }),
    );
    expect(await failure(url)).toContain('upstream_lost');
    expect(readWav(await readFile(out)).samples).toEqual(answer);
  });

  it.each([
    ['what is not JSON', (peer: Peer) => peer.socket.send('hello')],
    ['a list', (peer: Peer) => peer.socket.send('[]')],
    ['a binary frame', (peer: Peer) => peer.socket.send(Buffer.of(1, 2))],
  ])('explains %s', async (_, send) => {
    expect(await failure(await scripted(send))).toContain('is not a Realtime event; is there a relay at this address?');
  });

  it('explains frames that break the WebSocket protocol', async () => {
    const url = await scripted((peer) => {
      const { _socket: socket } = peer.socket as unknown as { _socket: Socket };
      socket.write(Buffer.of(0xff, 0x00));
    });
    expect(await failure(url)).toContain('The connection broke: ');
  });
});

describe('an answer that does not come', () => {
  it.each<[string, JsonObject[], string]>([
    [
      'failed',
      [began(), done('failed', { error: { code: 'rate_limit_exceeded', message: 'Slow down' } })],
      'rate_limit_exceeded: Slow down.',
    ],
    [
      'cancelled',
      [began(), done('cancelled', { reason: 'client_cancelled' })],
      'The answer was cancelled (client_cancelled).',
    ],
    [
      'incomplete',
      [began(), done('incomplete', { reason: 'content_filter' })],
      'before it said anything (content_filter)',
    ],
    [
      'only text',
      [began(), { type: 'response.output_text.delta', response_id: 'resp_1', delta: 'Hi' }, done()],
      'set output_modalities: [audio]',
    ],
  ])('is explained when the response is %s', async (_, events, message) => {
    const url = await scripted(afterSpeech((peer) => peer.send(...events)));
    expect(await failure(url)).toContain(message);
  });

  it('is explained when the relay refuses the request for it', async () => {
    const url = await scripted(async (peer) => {
      peer.send(created({ input: { turn_detection: null } }));
      const { event_id } = await peer.next('input_audio_buffer.commit');
      const error = {
        type: 'invalid_request_error',
        code: 'input_audio_buffer_commit_empty',
        message: 'Too short',
        event_id,
      };
      peer.send({ type: 'error', error: error as JsonObject });
    });
    expect(await failure(url)).toBe('The relay refused: input_audio_buffer_commit_empty: Too short.');
  });

  it.each<[string, JsonObject[], string]>([
    ['no session', [], 'No session.created came'],
    ['speech that does not end', [created(), ...heard.slice(0, 1)], 'its end was not heard'],
    ['no response', [created(), ...heard], 'no response began'],
    ['a response that does not end', [created(), ...heard, began()], 'did not end'],
    ['a response without an answer', [created(), ...heard, began(), done()], 'does a tool hang?'],
    [
      'an error before',
      [created(), ...heard, { type: 'error', error: { code: 'odd', message: 'Odd thing' } }],
      'The last error was: odd: Odd thing.',
    ],
  ])('is given up after the time limit, with what was missing: %s', async (_, events, message) => {
    const url = await scripted((peer) => peer.send(...events));
    const reason = await failure(url, { timeoutSeconds: 0.15, speed: 1000 });
    expect(reason).toMatch(/^No answer within 0\.15 s\. /);
    expect(reason).toContain(message);
  });

  it('is given up soon when no speech is detected, and a silent recording is named as the cause', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const silent = join(folder, 'silent.wav');
    await writeFile(silent, writeWav(new Int16Array(2400), 24_000));
    for (const [path, message] of [
      [wav, 'is it speech, and loud enough? Or has turn_detection in the profile a high threshold?'],
      [silent, 'it is silent; record it again.'],
    ] as const) {
      const url = await scripted((peer) => {
        peer.send(created());
        peer.socket.on('message', () => peer.events.length === 20 && vi.advanceTimersByTime(3000));
      });
      expect(await failure(url, { wav: path, timeoutSeconds: 60 })).toBe(
        `No speech was detected in the recording: ${message}`,
      );
    }
  });

  it('is not waited for in the preview dialect', async () => {
    const session = { id: 'sess_1', modalities: ['text', 'audio'], input_audio_format: 'pcm16' };
    const url = await scripted((peer) => peer.send({ type: 'session.created', session }));
    expect(await failure(url)).toContain('preview dialect');
  });

  it('is told when it came but cannot be saved', async () => {
    const target = join(folder, 'link.wav');
    await symlink(join(folder, 'missing', 'x.wav'), target);
    const url = await scripted(afterSpeech((peer) => peer.send(...spoken('Yes.', answer))));
    expect(await failure(url, { out: target })).toContain('The answer came but cannot be saved: ENOENT');
  });
});

it('prints an error that repeats once', async () => {
  const lines: string[] = [];
  const error = { type: 'error', error: { code: 'rate_limited', message: 'Too fast' } };
  const url = await scripted(afterSpeech((peer) => peer.send(error, error, error, ...spoken('Yes.', answer))));
  const result = await talk({ url, token: 't', wav, out, speed: 40, print: (line) => lines.push(line) });
  expect(result.ok).toBe(true);
  expect(lines.filter((line) => line.startsWith('error'))).toEqual(['error rate_limited: Too fast.']);
});

async function raw(serve: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => {}));
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`;
}
