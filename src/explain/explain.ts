/** `realtime-relay explain`: one session's story from the relay's log: what happened, whose fault it was, what to quote. */

import type { Readable } from 'node:stream';
import { type Found, idTest, type Line, type Search, search } from './lines.js';
import { beginningOf, timelineOf } from './timeline.js';
import { duration, last, number, object, text, timeOf } from './values.js';
import { judge } from './verdict.js';

/** An id that cannot be one: the command line is wrong, and nothing was read. */
export class NotAnId extends Error {}

/**
 * Explains the session that `id` names from a log, line by line to `print`; resolves to whether there was one to explain.
 * @param id a session id or at least six characters of its beginning, a request id, or a request id of Azure
 * @throws NotAnId
 */
export async function explain(id: string, log: Readable, print: (line: string) => void): Promise<boolean> {
  const wanted = idTest(id);
  if (!wanted)
    throw new NotAnId(
      `"${text(id, 60)}" is no id: give a session id (sess_…), its first 6 characters or more, or a request id.`,
    );
  const result = await search(log, wanted);
  const [only, ...others] = result.found;
  if (!only) {
    for (const line of nothingFound(id, result)) print(line);
    return false;
  }
  if (others.length > 0) {
    print(`${result.found.length + result.more} sessions fit; give more of the id:`);
    for (const one of result.found)
      print(`  ${text(one.id, 128)}  ${utc(beginningOf(one.lines))}  ${reasonOf(one.lines)}`);
    if (result.more > 0) print(`  and ${result.more} more lines of others`);
    return false;
  }
  for (const line of report(only, result.around)) print(line);
  return true;
}

function nothingFound(id: string, { lines, own }: Search): string[] {
  if (lines === 0) return ['The log is empty.'];
  if (own === 0) {
    return [
      `None of the ${lines} lines is of the relay's log.`,
      'It is JSON lines with "service":"realtime-relay" on the standard output of `realtime-relay serve`.',
    ];
  }
  return [
    `The log has no session ${text(id, 60)}: ${own} of its ${lines} lines are of the relay.`,
    'Is it the log of the right replica and time? At RELAY_LOG_LEVEL warn or above, sessions are not logged.',
  ];
}

function report({ id, lines, dropped }: Found, around: readonly Line[]): string[] {
  const moments = timelineOf(lines, around);
  const begin = beginningOf(lines) ?? 0;
  const verdict = judge(lines, around);
  const who = lines.findLast(({ subject }) => subject !== undefined);
  const tenant = text(who?.tenant);
  return [
    `${id.startsWith('sess_') ? 'Session' : 'Refused handshake'} ${text(id, 128)}`,
    ...(who ? [`user ${text(who.subject, 256)}${tenant && `, tenant ${tenant}`}, profile ${text(who.profile)}`] : []),
    '',
    `${utc(begin)}`,
    ...moments.map(({ at, what }) => `${`+${((at - begin) / 1000).toFixed(3)}`.padStart(11)} s  ${what}`),
    ...(dropped > 0 ? [`(${dropped} more lines of this session are not shown)`] : []),
    '',
    `Verdict: ${verdict.fault}. ${verdict.because}`,
    ...(verdict.advice ? [`What to do: ${verdict.advice}`] : []),
    ...noticed(lines).map((line) => `Noticed: ${line}`),
    '',
    ...ticket(lines, begin),
  ];
}

/** Answers slower than this are worth a word; people find a second long. */
const slowAnswerMs = 2000;

/** What did not end the session but may be what the user complained of. */
function noticed(lines: readonly Line[]): string[] {
  const ended = last(lines, 'session.ended') ?? {};
  const slowest = number(ended.slowestFirstAudioMs) ?? 0;
  const down = number(ended.heldSecondsDown) ?? 0;
  const up = number(ended.heldSecondsUp) ?? 0;
  const refusals = number(ended.refusals) ?? 0;
  const interruptions = number(ended.interruptions) ?? 0;
  const errors = Object.entries(object(ended.errors)).map(([code, count]) => `${text(code)} ${number(count) ?? '?'}`);
  const failed = lines.filter(
    ({ msg, outcome }) => msg === 'upstream.dialed' && outcome !== 'ok' && outcome !== 'aborted',
  );
  const ready = number(last(lines, 'session.opened')?.readyMs) ?? 0;
  const untranscribed = last(lines, 'transcription.failed');
  return [
    ...(failed.length > 0 && last(lines, 'session.opened')
      ? [`${failed.length} dial(s) failed before one succeeded.`]
      : []),
    ...(ready > slowAnswerMs ? [`The client waited ${duration(ready / 1000)} for the session to be ready.`] : []),
    ...(slowest > slowAnswerMs
      ? [`The slowest answer began after ${duration(slowest / 1000)}; ${causeOf(lines, ended, slowest)}`]
      : []),
    ...(down > 1 ? [`The relay waited ${duration(down)} for the client to read.`] : []),
    ...(up > 1 ? [`The relay waited ${duration(up)} for the upstream to read.`] : []),
    ...(interruptions > 0 ? [`The user interrupted ${interruptions} answer(s).`] : []),
    ...(refusals > 0 ? [`${refusals} event(s) of the client were refused.`] : []),
    ...(untranscribed ? [`What the user said did not become words. ${text(untranscribed.detail, 400)}`] : []),
    ...(errors.length > 0 ? [`The upstream reported errors: ${errors.slice(0, 10).join(', ')}.`] : []),
  ];
}

/** What the slowest answer waited for, in words that go on with a sentence. */
function causeOf(lines: readonly Line[], ended: Line, slowest: number): string {
  const turns = Array.isArray(ended.lastTurns) ? ended.lastTurns.map(object) : [];
  const toolMs = number(turns.find(({ firstAudioMs }) => firstAudioMs === slowest)?.toolMs) ?? 0;
  if (toolMs < slowest / 2) return "that is the upstream's time.";
  // Several that ran side by side: the last of them to end was waited for, and that is the one that took longest.
  const calls = lines.filter(({ msg }) => msg === 'tool.called');
  const near = (line: Line) => Math.abs((number(line.seconds) ?? 0) * 1000 - toolMs);
  const [call] = calls.sort((a, b) => near(a) - near(b));
  const who = call ? `the tool ${text(call.tool, 80)} (${text(call.outcome)})` : 'its tools';
  return `${who} took ${duration(toolMs / 1000)} of that.`;
}

/** What Azure's support asks for. */
function ticket(lines: readonly Line[], begin: number): string[] {
  const ids = new Map<string, string>();
  for (const { requestId, azure } of lines) {
    if (typeof requestId === 'string') ids.set('x-ms-client-request-id', text(requestId));
    for (const [name, value] of Object.entries(object(azure))) ids.set(`${text(name)} ${text(value)}`, '');
  }
  const upstreams = new Set(lines.map(({ upstream }) => text(upstream)).filter(Boolean));
  if (upstreams.size === 0) return ['No upstream was dialled, so there is nothing to ask Azure about.'];
  const end = Math.max(begin, ...lines.map((line) => timeOf(line) ?? 0));
  return [
    'For a ticket at Azure support:',
    ...[...ids].map(([name, value]) => `  ${`${name} ${value}`.trim()}`),
    `  from ${utc(begin)} to ${utc(end)}`,
    `  upstream ${[...upstreams].join(', ')}: add its endpoint, region and deployment`,
  ];
}

function reasonOf(lines: readonly Line[]): string {
  const end = last(lines, 'session.ended') ?? last(lines, 'session.refused');
  return end ? text(end.reason) : 'no end in this log';
}

function utc(at: number | null): string {
  return at ? new Date(at).toISOString() : 'at an unknown time';
}
