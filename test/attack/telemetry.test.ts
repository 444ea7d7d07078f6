import { describe, expect, it } from 'vitest';
import { refused } from '../support/client.js';
import { arena, dialects, doorOf } from './arena.js';
import { exchange, handshake } from './tcp.js';

const field = arena();

/** The relay's own time series, without their values. */
async function series(): Promise<string[]> {
  const lines = (await field.metrics()).split('\n').filter((line) => line.startsWith('relay_'));
  return lines.map((line) => line.slice(0, line.lastIndexOf(' '))).sort();
}

/** Does everything that could leave a word of the attacker's in a metric or in the log, with words never used before. */
async function mark(word: string): Promise<void> {
  const header = `${word}"} 1\\r\\nfake_metric{a="b"} 1`;
  await exchange(field.address, handshake(`/${word}%0d%0afake`, {}));
  await exchange(field.address, handshake(`${doorOf.ga}&model=${word}`, { Authorization: `Bearer ${word}` }));
  await exchange(field.address, handshake(doorOf.ga, { Origin: `https://${word}.test` }));
  await exchange(field.address, handshake(doorOf.ga, { 'User-Agent': header, Upgrade: word }));
  await exchange(field.address, handshake(`${doorOf.ga}&dialect=${word}`, {}));
  await refused(field.address + doorOf.ga, { headers: { 'api-key': field.token({ profile: word }) } });
  await fetch(`${field.relay.url}/${word}`, { headers: { 'User-Agent': word } });
  for (const dialect of dialects) {
    const token = field.token({ subject: `sub_${word}`, claims: { tenant: `tenant_${word}`, name: word } });
    const client = await field.connect(dialect, { token, query: `&x=${word}` });
    await client.next('session.created');
    client.send({ type: word, event_id: word });
    client.send({ type: `${word}\n# HELP fake\nfake{a="b"} 1`, event_id: `${word}\r\n` });
    client.send({ type: 'conversation.item.create', item: { type: word, id: word, role: word } });
    client.send({ type: 'session.update', session: { [word]: word, voice: word } });
    for (let i = 0; i < 3; i++) await client.next('error');
    client.ws.close(4000, word);
    await client.closed;
  }
}

describe('what operators read', () => {
  it('grows with no word of an attacker: neither series nor labels', async () => {
    await mark('first_word');
    const before = await series();
    for (let i = 0; i < 20; i++) await mark(`other_word_${i}`);
    expect(await series()).toEqual(before);
    expect(before.join()).not.toMatch(/_word|fake/);
  });

  it('is one bounded line of JSON for each thing that happened', async () => {
    await mark('x'.repeat(60));
    await exchange(field.address, handshake(`/${'y'.repeat(8000)}`, {}));
    await exchange(field.address, handshake(`${doorOf.ga}&z=${'z'.repeat(8000)}`, { Origin: 'w'.repeat(4000) }));
    expect(field.log.length).toBeGreaterThan(100);
    for (const line of field.log) {
      expect(line.trimEnd()).not.toMatch(/[\r\n]/);
      expect(line.length).toBeLessThan(3000);
      expect(JSON.parse(line)).toHaveProperty('msg');
    }
    expect(field.log.join('')).not.toContain('y'.repeat(200));
  });
});
