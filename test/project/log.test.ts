import { describe, expect, it } from 'vitest';
import { startTestEmulator, startTestRelay } from '../support/relay.js';
import { textOf } from './tables.js';

/** The row of the table of log lines for a message. */
function rowOf(message: string): string {
  const row = textOf('docs/observability.md')
    .split('\n')
    .find((line) => line.startsWith(`| \`${message}\` |`));
  if (!row) throw new Error(`docs/observability.md has no row for ${message}`);
  return row;
}

/** The fields of a line that the row does not name; those of every line are named once for all. */
function unnamed(line: Record<string, unknown>, row: string): string[] {
  const common = ['time', 'level', 'service', 'msg'];
  return Object.keys(line).filter((field) => !common.includes(field) && !row.includes(`\`${field}\``));
}

describe('the table of log lines in docs/observability.md', () => {
  it('names every field of a session that opens and ends, and the level', async () => {
    const emulator = await startTestEmulator();
    const test = await startTestRelay({ upstream: emulator.url });
    const client = await test.connect({ token: test.token({ tenant: 'acme' }) });
    await client.ask('hello');
    client.ws.close(1000);
    const opened = await test.logged('session.opened');
    const ended = await test.logged('session.ended');
    const openedRow = rowOf('session.opened');
    expect(unnamed(opened, openedRow)).toEqual([]);
    expect(unnamed(ended, openedRow + rowOf('session.ended'))).toEqual([]);
    expect(rowOf('session.ended')).toContain(`| ${ended.level},`);
    // What it names is there, too: these are the fields of every session.
    const named = [...openedRow.matchAll(/`(\w+)`/g)].map(([, field]) => field as string);
    expect(named.filter((field) => !(field in opened))).toEqual([]);
    expect(unnamed(await test.logged('upstream.dialed'), rowOf('upstream.dialed'))).toEqual([]);
  });

  it('names every field of a refusal and of a failed dial', async () => {
    const emulator = await startTestEmulator();
    const test = await startTestRelay({ upstream: emulator.url });
    emulator.control.faults.arm('refuse_401_permission', 5);
    const client = await test.connect();
    await client.closed;
    expect(unnamed(await test.logged('upstream.dialed'), rowOf('upstream.dialed'))).toEqual([]);
    await expect(test.connect({ token: 'not-a-token' })).rejects.toThrow('401');
    const refused = await test.logged('session.refused');
    expect(unnamed(refused, rowOf('session.refused'))).toEqual([]);
    expect(rowOf('session.refused')).toContain(`| ${refused.level} |`);
  });
});
