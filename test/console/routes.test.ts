import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import express from 'express';
import request from 'supertest';
import { describe, expect, it, onTestFinished } from 'vitest';
import { adviceFor } from '../../src/console/remedies.js';
import { consoleRoutes, type DemoDesk, loadConsole } from '../../src/doors/console.js';
import { exitIds } from '../../src/errors.js';
import { startTestRelay } from '../support/relay.js';

const nowhere = 'http://127.0.0.1:9';

describe('the console of a relay', () => {
  it('is not there unless it is switched on', async () => {
    const { relay } = await startTestRelay({ upstream: nowhere });
    await request(relay.url).get('/console/').expect(404);
    await request(relay.url).post('/console/token').expect(404);
  });

  it('is served whole, with nothing allowed from elsewhere and no tokens to be had', async () => {
    const { relay } = await startTestRelay({ upstream: nowhere, env: { RELAY_CONSOLE: 'on' } });
    const { text, headers } = await request(relay.url).get('/console/').expect(200).expect('content-type', /html/);
    expect(headers['content-security-policy']).toMatch(/^default-src 'none';/);
    expect(headers['content-security-policy']).not.toMatch(/unsafe|https?:|\*/);
    expect(text).not.toMatch(/<style|<script(?![^>]*src=)|\son\w+=|\sstyle=/);
    const parts = [...text.matchAll(/(?:src|href)="([^"#]+)"/g)].map(([, name]) => name as string);
    for (const part of [...parts, 'microphone-worklet.js']) {
      expect((await request(relay.url).get(`/console/${part}`)).status, part).toBe(200);
    }
    await request(relay.url).get('/console/console.json').expect(200, { demo: false, profiles: [] });
    await request(relay.url).post('/console/token').send({ profile: 'default' }).expect(404);
    await request(relay.url).get('/console').expect(308).expect('location', '/console/');
    for (const path of ['app.ts', '../cli.js', '%2e%2e%2fcli.js', 'nothing']) {
      expect((await request(relay.url).get(`/console/${path}`)).status, path).toBe(404);
    }
  });
});

describe('the desk of the demo', () => {
  const desk: DemoDesk = { profiles: [{ name: 'default', about: '' }], mint: (profile, name) => `${profile}.${name}` };
  const app = async () => {
    const made = express();
    consoleRoutes(made, await loadConsole(), desk);
    made.use(((error, _request, response, _next) => {
      response.status(error.id === 'forbidden' ? 403 : 400).end();
    }) as express.ErrorRequestHandler);
    return made;
  };
  const ask = async (headers: Record<string, string>, body: object = { profile: 'default', name: 'Ada' }) =>
    request(await app())
      .post('/console/token')
      .set(headers)
      .send(body);

  it('makes a token for the page of this machine', async () => {
    expect((await ask({ Host: 'localhost:8080', Origin: 'http://localhost:8080' })).body).toEqual({
      token: 'default.Ada',
    });
  });

  it.each([
    ['another site', { Host: '127.0.0.1:8080', Origin: 'https://evil.example' }],
    ['another page of this machine', { Host: '127.0.0.1:8080', Origin: 'http://127.0.0.1:3000' }],
    ['a page without an origin', { Host: '127.0.0.1:8080', Origin: 'null' }],
    ['a name that resolves to this machine', { Host: 'evil.example', Origin: 'http://evil.example' }],
  ])('makes none for %s', async (_, headers) => {
    expect((await ask(headers)).status).toBe(403);
  });

  it('makes none for a profile it does not offer', async () => {
    expect((await ask({ Host: 'localhost' }, { profile: 'admin' })).status).toBe(400);
    expect((await ask({ Host: 'localhost' }, { profile: ['default'] })).status).toBe(400);
  });
});

describe('the advice of the console', () => {
  it('has words for every exit', () => {
    const advice = exitIds.map((id) => adviceFor(id, 'http://page.test'));
    expect(advice.every((text) => text.length > 20)).toBe(true);
  });

  it.each(['toString', 'constructor', '__proto__', 'nobody_knows_it'])('has words for a code like %s, too', (code) => {
    expect(adviceFor(code, 'http://page.test')).toBe('The session goes on if it is still connected.');
  });
});

describe('the package', () => {
  it('exports a client whose imports are all there', async () => {
    const root = fileURLToPath(new URL('../../', import.meta.url));
    const folder = mkdtempSync(join(tmpdir(), 'relay-client-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const tsc = join(root, 'node_modules/typescript/bin/tsc');
    execFileSync(process.execPath, [tsc, '-p', join(root, 'tsconfig.client.json'), '--outDir', folder], {
      stdio: 'pipe',
    });
    const { RelayClient } = await import(pathToFileURL(join(folder, 'client/relay-client.js')).href);
    expect(new RelayClient({ url: 'https://relay.example', token: () => 'a' }).state).toBe('idle');
  });
});
