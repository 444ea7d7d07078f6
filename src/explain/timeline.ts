/** What happened in a session, in order, from its log lines. */

import type { Line } from './lines.js';
import { duration, last, number, object, text, timeOf } from './values.js';

/** One moment; `at` is in milliseconds since the epoch. */
export interface Moment {
  readonly at: number;
  readonly what: string;
}

/** The beginning of a session as far as the log tells, in milliseconds since the epoch; null when it tells nothing. */
export function beginningOf(lines: readonly Line[]): number | null {
  const ended = last(lines, 'session.ended');
  const opened = last(lines, 'session.opened');
  const before = (line: Line | undefined, milliseconds: number | null) => {
    const at = line ? timeOf(line) : null;
    return at === null || milliseconds === null ? null : at - milliseconds;
  };
  const seconds = number(ended?.seconds);
  const known =
    before(opened, number(opened?.readyMs)) ??
    before(ended, seconds === null ? null : seconds * 1000) ??
    before(lines[0], (number(lines[0]?.seconds) ?? 0) * 1000);
  return known;
}

/** The moments of a session, sorted; `around` are lines of the whole relay. */
export function timelineOf(lines: readonly Line[], around: readonly Line[]): Moment[] {
  const begin = beginningOf(lines) ?? 0;
  const end = Math.max(begin, ...lines.map((line) => timeOf(line) ?? 0));
  const moments: Moment[] = [];
  for (const line of lines) moments.push(...momentsOf(line, begin));
  for (const line of around) {
    const at = timeOf(line);
    if (at !== null && at >= begin - 60_000 && at <= end + 5000) moments.push({ at, what: generalOf(line) });
  }
  // A stable sort keeps the order of the log where times are equal.
  return moments.sort((a, b) => a.at - b.at);
}

function momentsOf(line: Line, begin: number): Moment[] {
  const at = timeOf(line) ?? begin;
  switch (line.msg) {
    case 'session.opened':
      return opened(line, at);
    case 'session.ended':
      return ended(line, at, begin);
    case 'upstream.dialed':
      return [{ at, what: dialed(line) }];
    case 'session.refused':
    case 'request.refused':
      return [{ at, what: `refused: ${text(line.reason)}${detailOf(line)}` }];
    case 'session.events':
      return [{ at, what: `events up ${counts(line.up)}; down ${counts(line.down)}` }];
    case 'session.usage':
      return [];
    case 'session.shed':
      return [{ at, what: shed(line) }];
    case 'session.replacing':
      return [{ at, what: `the connection to upstream was lost (${text(line.trigger)}); another one is made` }];
    case 'session.replaced':
      return [{ at, what: replaced(line) }];
    case 'session.detached':
      return [
        { at, what: `the client was lost (close code ${number(line.closeCode) ?? 0}); the session waits for it` },
      ];
    case 'session.resumed':
      return [{ at, what: resumed(line) }];
    case 'session.not_resumed':
      return [{ at, what: `somebody wanted to go on with it, and could not: ${text(line.outcome)}` }];
    case 'session.cut':
      return [
        { at, what: `the client could not keep ${duration((number(line.audioMs) ?? 0) / 1000)} of what was said` },
      ];
    case 'call.lost':
      return [{ at, what: `the connection beside the call was lost (${text(line.reason)}); the call goes on` }];
    case 'call.rejoined':
      return [{ at, what: `the relay is beside the call again after ${duration(number(line.seconds) ?? 0)}` }];
    case 'tool.called':
      return [
        { at, what: `tool ${text(line.tool, 80)}: ${text(line.outcome)} after ${duration(number(line.seconds) ?? 0)}` },
      ];
    default:
      return [{ at, what: text(line.msg, 80) }];
  }
}

function replaced(line: Line): string {
  const gap = duration((number(line.gapMs) ?? 0) / 1000);
  const cut = line.turnInterrupted === true ? ', an answer was cut off' : '';
  const lost = (number(line.lostItems) ?? 0) > 0 ? `, ${number(line.lostItems)} items were lost` : '';
  return `went on with ${text(line.upstream, 80)} after ${gap} (${text(line.trigger)}, ${text(line.continuity)}${cut}${lost})`;
}

function resumed(line: Line): string {
  const { messages, audio_ms } = object(line.missed);
  const ms = number(audio_ms) ?? 0;
  const lost = (number(messages) ?? 0) > 0 || ms > 0 ? `, ${duration(ms / 1000)} of sound were lost` : '';
  const away =
    line.superseded === true ? 'over a newer connection' : `after ${duration(number(line.seconds) ?? 0)} without it`;
  return `the client went on ${away} (${text(line.continuity)}${lost})`;
}

function opened(line: Line, at: number): Moment[] {
  const ready = number(line.readyMs) ?? 0;
  const dial = number(line.dialMs);
  const configure = number(line.configureMs);
  const attempts = number(line.attempts) ?? 1;
  const begin = at - ready;
  const who = `client connected (${text(line.dialect)}, profile ${text(line.profile)})`;
  return [
    { at: begin, what: who },
    ...(dial === null
      ? []
      : [
          {
            at: begin + dial,
            what: `upstream ${text(line.upstream)} reached after ${duration(dial / 1000)}${attempts > 1 ? `, attempt ${attempts}` : ''}`,
          },
        ]),
    ...(configure === null ? [] : [{ at, what: `profile accepted after ${duration(configure / 1000)}` }]),
    { at, what: `ready: the client may talk, ${duration(ready / 1000)} after it came` },
  ];
}

function ended(line: Line, at: number, begin: number): Moment[] {
  const turns = Array.isArray(line.lastTurns) ? line.lastTurns.map(object) : [];
  const total = number(line.turns) ?? turns.length;
  const moments: Moment[] = [];
  turns.forEach((turn, index) => {
    const name = `turn ${total - turns.length + index + 1}`;
    const audioAt = number(turn.audioAt);
    const waited = number(turn.firstAudioMs);
    const doneAt = number(turn.doneAt);
    const tools = number(turn.toolMs);
    if (audioAt !== null && waited !== null) {
      const of = tools === null ? '' : `; tools took ${duration(tools / 1000)} of it`;
      moments.push({ at: begin + audioAt * 1000, what: `${name}: first audio after ${duration(waited / 1000)}${of}` });
    }
    const status = text(turn.status);
    const how = status === 'interrupted' ? 'interrupted by the user' : status;
    if (doneAt !== null) moments.push({ at: begin + doneAt * 1000, what: `${name}: answer ${how}` });
  });
  const code = number(line.closeCode);
  const by = `${text(line.reason)}, by the ${text(line.initiator)}`;
  moments.push({ at, what: `ended: ${by}${code === null ? '' : `, close code ${code}`}${detailOf(line)}` });
  return moments;
}

function dialed(line: Line): string {
  const took = duration(number(line.seconds) ?? 0);
  const upstream = text(line.upstream);
  if (line.outcome === 'ok') return `dial of ${upstream} succeeded after ${took}`;
  if (line.outcome === 'aborted') return `dial of ${upstream} given up after ${took}, because the session had ended`;
  const { kind } = object(line.error);
  const status = number(line.status);
  const why = [text(kind), status === null ? '' : `HTTP ${status}`].filter(Boolean).join(', ');
  return `dial of ${upstream} failed after ${took}: ${text(line.outcome)}${why && ` (${why})`}`;
}

function shed(line: Line): string {
  const { subject, tenant } = object(line.heaviest);
  const of = text(tenant) && ` of tenant ${text(tenant, 80)}`;
  return `chosen to end, because the relay was short of ${text(line.want, 20)}; user ${text(subject, 256)}${of} took most`;
}

function generalOf(line: Line): string {
  if (line.msg === 'identity.failed') return `[relay] no token of Microsoft Entra could be had (${text(line.scope)})`;
  return `[relay] ${text(line.msg, 80)}`;
}

function detailOf({ detail }: Line): string {
  return typeof detail === 'string' ? `: ${text(detail)}` : '';
}

function counts(value: unknown): string {
  const entries = Object.entries(object(value)).slice(0, 12);
  return entries.map(([type, count]) => `${text(type, 80)} ${number(count) ?? '?'}`).join(', ') || 'none';
}
