import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { connect, refused } from '../support/client.js';
import { ReturningClient } from '../support/returning.js';
import { arena } from './arena.js';

const a = arena();
const path = '/openai/v1/realtime?model=voice';
const fresh = () => randomBytes(32).toString('base64url');

/** A session of somebody, with a secret in it, which has lost its client. */
async function abandoned(subject: string) {
  const owner = await ReturningClient.start({ address: a.address, path, token: a.token({ subject }) });
  const content = [{ type: 'input_text', text: 'PRIVATE_WORD' }];
  owner.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
  await owner.client.next('conversation.item.added');
  owner.client.ws.terminate();
  await expect
    .poll(() => a.log.some((line) => line.includes(`"subject":"${subject}"`) && line.includes('session.detached')))
    .toBe(true);
  return owner;
}

/** What somebody gets who shows this, whatever it is. */
async function strike(owner: ReturningClient, protocol: string, token = a.token()) {
  const protocols = ['realtime', `openai-insecure-api-key.${token}`, protocol];
  const required = owner.url().replace('resume=on', 'resume=required');
  const refusal = await refused(required, { protocols });
  expect(refusal).toMatchObject({ status: 409, body: { error: { code: 'resume_refused' } } });
  const anew = await connect(owner.url(), { protocols });
  const first = await anew.next(() => true);
  expect(first.type).toBe('session.created');
  anew.ws.close(1000);
  expect(anew.raw.join('\n')).not.toContain('PRIVATE_WORD');
  return refusal.body.error.message;
}

describe('somebody who wants the session of another', () => {
  it('gets nothing of it, and is told the same whatever they show', async () => {
    const owner = await abandoned('owner1');
    const session = /rr_(sess_[0-9a-f]{32})_/.exec(owner.token)?.[1] ?? '';
    const prefix = 'realtime-relay-resume.';
    const shown: readonly (readonly [string, string?])[] = [
      // The very token, with a right of one's own to connect.
      [`${owner.token}.${owner.received}`],
      [`${owner.token}.0`],
      [`rr_${session}_${fresh()}.0`],
      [`rr_${session}_${fresh()}.${owner.received}`, a.token({ subject: 'owner1' })],
      [`${owner.token}.${Number.MAX_SAFE_INTEGER}`, a.token({ subject: 'owner1' })],
      [`${owner.token}.999999999999999`, a.token({ subject: 'owner1' })],
      [`${owner.token}.-1`, a.token({ subject: 'owner1' })],
      [`${owner.token}.1e1`, a.token({ subject: 'owner1' })],
      [`${owner.token}.`, a.token({ subject: 'owner1' })],
      [owner.token, a.token({ subject: 'owner1' })],
      [`${owner.token.toUpperCase()}.0`, a.token({ subject: 'owner1' })],
      [`${owner.token}x.0`, a.token({ subject: 'owner1' })],
      [`rr_${session}_.0`, a.token({ subject: 'owner1' })],
      [`rr_sess_${'0'.repeat(32)}_${fresh()}.0`],
      [`${'a'.repeat(200)}.0`],
      [`${'a'.repeat(5000)}.0`],
      ['.0'],
      ['.'],
      [''],
      ['__proto__.0'],
      ['constructor.0'],
    ];
    const told = new Set<unknown>();
    for (const [what, token] of shown) told.add(await strike(owner, prefix + what, token));
    expect(told.size).toBe(1);
    expect(await owner.resume()).toMatchObject({ type: 'relay.resumed', epoch: 2, continuity: 'full' });
    owner.client.ws.close(1000);
  });

  it('does not get it with two of them at once, of which one is good', async () => {
    const owner = await abandoned('owner2');
    const good = `realtime-relay-resume.${owner.token}.${owner.received}`;
    const other = `realtime-relay-resume.rr_${fresh()}.0`;
    const credential = `openai-insecure-api-key.${a.token({ subject: 'owner2' })}`;
    const required = owner.url().replace('resume=on', 'resume=required');
    for (const both of [
      [good, other],
      [other, good],
    ]) {
      expect((await refused(required, { protocols: [credential, ...both] })).status).toBe(409);
    }
    expect((await owner.resume()).type).toBe('relay.resumed');
    owner.client.ws.close(1000);
  });

  it('never finds a token or its count in the log', async () => {
    const owner = await abandoned('owner3');
    const tokens = [owner.token];
    await strike(owner, `realtime-relay-resume.${owner.token}.${owner.received}`);
    await owner.resume();
    tokens.push(owner.token);
    owner.client.ws.close(1000);
    const log = a.log.join('\n');
    for (const token of tokens) expect(log).not.toContain(token.slice(-43));
  });
});

describe('a client that lies about what it has', () => {
  const lies = [
    { type: 'relay.ack' },
    ...[-1, 1e300, 0.5, '7', null, [], {}, true, Number.MAX_SAFE_INTEGER].map((received) => ({
      type: 'relay.ack',
      received,
    })),
    ...[0, -5, 1.5, '9', null, Number.MAX_SAFE_INTEGER + 2].map((from) => ({
      type: 'relay.resume',
      from,
      lost_audio_ms: -1,
    })),
    { type: 'relay.resumable', token: 'rr_x', epoch: 9, window_seconds: 1e9 },
    { type: 'relay.resumed', received: 1e9, token: 'rr_x', epoch: 9 },
  ];

  it('harms itself alone: the session goes on, and nothing of it reaches upstream', async () => {
    const client = await ReturningClient.start({ address: a.address, path, token: a.token({ subject: 'liar' }) });
    const before = a.wire.passages.at(-1);
    for (const lie of lies) client.client.send(lie);
    expect((await client.client.ask('still there?')).status).toBe('completed');
    expect(before?.up.join('\n') ?? '').not.toContain('relay.');
    client.client.ws.close(1000);
    await a.honestTurn();
  });

  it('is at the rate of all others with its acknowledgements', async () => {
    const client = await ReturningClient.start({ address: a.address, path, token: a.token({ subject: 'flood' }) });
    for (let times = 0; times < 20_000; times++) client.client.ws.send('{"type":"relay.ack","received":1}');
    await a.honestTurn();
    client.client.ws.terminate();
  });
});
