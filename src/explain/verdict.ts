/** Whose fault the end of a session was, and how the log shows it. */

import { faultOf } from '../upstream/causes.js';
import type { Line } from './lines.js';
import { duration, last, number, object, text, timeOf } from './values.js';

/** Where to look next; `identity` is whoever issues tokens, for users or for the relay. */
type Fault = 'client' | 'relay' | 'upstream' | 'identity' | 'network' | 'nobody';

export interface Verdict {
  readonly fault: Fault;
  readonly because: string;
  /** What the operator can do; absent where there is nothing to do. */
  readonly advice?: string;
}

/** A fault that follows from the reason alone, and what the reason means; `who` may be used in the sentence. */
const byReason: Readonly<Record<string, readonly [Fault, string]>> = {
  session_expired: ['nobody', 'The session reached its maximum length, which was announced as expires_at.'],
  draining: ['nobody', 'The relay was being shut down or replaced; the client was told to reconnect.'],
  client_lost: [
    'network',
    'Nothing was heard of the client any more, also not in answer to pings; or it was lost and did not come back in time.',
  ],
  revoked: ['nobody', 'The credential was withdrawn.'],
  ended_by_backend: ['nobody', 'A backend of the app ended it; the line control.request says which.'],
  unauthorized: ['client', 'Its credential was missing or not valid.'],
  token_expired: ['client', 'Its token ran out.'],
  forbidden: ['client', 'Its origin, profile, model or scope is not allowed.'],
  not_found: ['client', 'It asked for a path that the relay does not have.'],
  bad_event: ['client', 'What it sent was not valid, or too much of it was refused.'],
  too_big: ['client', 'It sent an event over the size limit.'],
  unsupported_data: ['client', 'It sent a binary frame.'],
  rate_limited: ['client', 'It went over the rates or the number of sessions of its profile.'],
  quota_exceeded: ['client', 'The budget of this user or tenant is spent.'],
  overloaded: ['relay', 'The relay itself was short of something: time, memory, descriptors or places.'],
  internal: ['relay', 'A fault in the relay; the line session.ended has the error.'],
};

function meaningOf(reason: string, what: string): readonly [Fault, string] {
  const known = Object.hasOwn(byReason, reason) ? byReason[reason] : undefined;
  return known ?? ['relay', `It ${what} with ${reason || 'no reason'}.`];
}

/** Judges a session by its lines; `around` are lines of the whole relay. */
export function judge(lines: readonly Line[], around: readonly Line[]): Verdict {
  const refused = last(lines, 'session.refused') ?? last(lines, 'request.refused');
  const ended = last(lines, 'session.ended');
  if (ended) return judgeEnd(ended, lines);
  if (refused) return judgeRefusal(refused, around);
  return judgeOpenEnd(lines, around);
}

function judgeRefusal(line: Line, around: readonly Line[]): Verdict {
  const reason = text(line.reason);
  if (reason === 'store_unavailable') return storeAway(line, around);
  if (reason === 'overloaded') {
    return line.error === undefined
      ? {
          fault: 'relay',
          because: 'This instance had no room for another session.',
          advice: 'More instances, or a higher limits.sessions.',
        }
      : {
          fault: 'identity',
          because: "The keys to verify the user's token could not be had.",
          advice: 'Check RELAY_JWT_JWKS_URI and the way to it.',
        };
  }
  if (reason === 'idle_timeout') return { fault: 'network', because: 'The handshake took too long.' };
  const [fault, meaning] = meaningOf(reason, 'was refused');
  return { fault, because: `Refused before a session existed. ${meaning}${sentence(line.detail)}` };
}

/** Redis, and since when. */
function storeAway(line: Line, around: readonly Line[]): Verdict {
  const at = timeOf(line) ?? Number.POSITIVE_INFINITY;
  const away = last(
    around.filter((one) => (timeOf(one) ?? 0) <= at),
    'store.away',
  );
  const since = away === undefined ? '' : `, as of ${text(away.time, 40)}`;
  return {
    fault: 'relay',
    because: `Redis, which the replicas share, did not answer or could not be written to${since}.`,
    advice: 'realtime-relay check says what it finds; the line store.away has the error.',
  };
}

function judgeEnd(line: Line, lines: readonly Line[]): Verdict {
  const reason = text(line.reason);
  const isUpstream = line.initiator === 'upstream';
  const shed = last(lines, 'session.shed');
  if (shed) return shortage(shed);
  if (reason === 'normal') return isUpstream ? goodbyeOfUpstream() : goodbyeOfClient(line);
  if (reason === 'idle_timeout')
    return { fault: 'nobody', because: 'No event passed for the idle limit of the profile.' };
  if (reason === 'slow_consumer') return slow(line, isUpstream);
  if (reason === 'token_expired' && line.ready === true) {
    return { fault: 'nobody', because: "The user's token ran out in mid-session; its exp bounds the session." };
  }
  if (reason === 'upstream_configuration_failed') return configuration(line);
  if (reason === 'upstream_lost') return lost(line);
  if (reason === 'upstream_timeout' && line.ready === true) {
    return { fault: 'upstream', because: 'It was connected but silent though an answer was due.' };
  }
  if (reason.startsWith('upstream_') || isShortage(line)) return dialing(line, lines);
  const [fault, meaning] = meaningOf(reason, 'ended');
  return { fault, because: `${meaning}${sentence(line.detail)}` };
}

/** The instance had to let go of somebody. */
function shortage(line: Line): Verdict {
  const heaviest = text(object(line.heaviest).subject, 256);
  const isHeaviest = heaviest === text(line.subject, 256);
  return {
    fault: 'relay',
    because:
      `The instance was short of ${text(line.want, 20)} and ended sessions. ` +
      (isHeaviest ? 'This user took most of it.' : `User ${heaviest} took most of it.`),
    advice: 'More instances or larger ones; for memory see limits.buffered_bytes, for time limits.sessions.',
  };
}

/** The relay could not even dial. */
function isShortage({ reason, error }: Line): boolean {
  return reason === 'overloaded' && object(error).kind === 'shortage';
}

function goodbyeOfUpstream(): Verdict {
  return { fault: 'nobody', because: 'The upstream closed the session with a regular goodbye (1000).' };
}

/** Longer than this a person does not wait for a session to begin. */
const patienceSeconds = 3;

function goodbyeOfClient(line: Line): Verdict {
  const code = number(line.closeCode);
  const seconds = number(line.seconds) ?? 0;
  if (line.ready === false && seconds >= patienceSeconds) {
    const where = line.upstream === undefined ? 'reached' : 'ready';
    const because = `The client gave up after ${duration(seconds)}, while the upstream was not ${where} yet.`;
    return { fault: 'upstream', because, advice: 'Compare the dials above with relay_upstream_dial_seconds.' };
  }
  if (code === null || code === 1006) {
    const how = code === null ? 'no longer answered pings' : 'was gone without a close frame (1006)';
    return {
      fault: 'network',
      because: `The client ${how}: its network, its device or a proxy on the way.`,
      advice: 'If many sessions end so at the same age, a proxy cuts idle or long connections.',
    };
  }
  const when = line.ready === false ? ', before the session was ready' : '';
  return { fault: 'nobody', because: `The client closed the session (${code})${when}.` };
}

function slow(line: Line, isUpstream: boolean): Verdict {
  const held = number(isUpstream ? line.heldSecondsUp : line.heldSecondsDown);
  const waited = held === null ? '' : ` The relay waited ${duration(held)} for it in all.`;
  return isUpstream
    ? { fault: 'upstream', because: `The upstream stopped reading.${waited}` }
    : {
        fault: 'client',
        because: `The client, or its network, did not take the events fast enough.${waited}`,
        advice: 'The client must read all events: it took nothing of what waited for it for stall_seconds.',
      };
}

function configuration(line: Line): Verdict {
  if (line.phase !== undefined && line.rejected == null) {
    return {
      fault: 'upstream',
      because: `It accepted the connection but did not ${line.phase === 'greeting' ? 'start' : 'configure'} the session in time.`,
    };
  }
  const { code, param } = object(line.rejected);
  const what = [text(code), text(param)].filter(Boolean).join(', ');
  return {
    fault: 'relay',
    because: `The upstream did not accept the configuration of the profile ${text(line.profile)}${what && ` (${what})`}.`,
    advice: 'Run `realtime-relay check --dial`: it prints what the upstream said.',
  };
}

function lost(line: Line): Verdict {
  const code = number(line.closeCode);
  if (code !== null && code !== 1006) {
    return { fault: 'upstream', because: `The upstream closed the connection with ${code}.`, advice: support };
  }
  const how = code === null ? 'no longer answered pings' : 'died without a close frame (1006)';
  return {
    fault: 'network',
    because: `The connection to the upstream ${how}: the network between the relay and Azure, or Azure itself.`,
    advice: 'If other sessions ended in the same second, it was not this one; else quote the ids below to Azure.',
  };
}

const support = 'Quote the ids below to Azure support.';

function dialing(line: Line, lines: readonly Line[]): Verdict {
  const dial = lines.findLast(
    ({ msg, outcome }) => msg === 'upstream.dialed' && outcome !== 'ok' && outcome !== 'aborted',
  );
  const error = object(dial?.error ?? line.error);
  const kind = text(error.kind);
  const status = number(dial?.status ?? error.status);
  const upstream = text(dial?.upstream) || 'The upstream';
  const words = status === null ? kind : `${kind}, HTTP ${status}`;
  const advice = text(error.advice) || support;
  const phase = text(error.phase ?? line.phase);
  const fault = faultOf({ kind, phase });
  if (fault && kind === 'timeout') {
    return { fault, because: `${upstream} was not reached in time${phase && `; it hung at: ${phase}`}.`, advice };
  }
  if (fault) return { fault, because: `The dial of ${upstream} failed: ${words}.`, advice };
  if (line.ready === true || line.upstream !== undefined) {
    return { fault: 'upstream', because: `It broke the protocol or refused to go on.${sentence(line.detail)}`, advice };
  }
  const because = dial
    ? `The dial of ${upstream} failed: ${text(dial.outcome)}.`
    : 'No dial was tried: every upstream had failed shortly before and was cooling down.';
  return { fault: 'upstream', because, advice };
}

function judgeOpenEnd(lines: readonly Line[], around: readonly Line[]): Verdict {
  const latest = Math.max(0, ...lines.map((line) => timeOf(line) ?? 0));
  const restarted = around.find(({ msg, time }) => msg === 'relay.started' && (timeOf({ time }) ?? 0) > latest);
  if (restarted) {
    return {
      fault: 'relay',
      because: `The relay was started anew at ${text(restarted.time)} without having ended this session: the process died.`,
      advice: 'Look for a line of level fatal, a kill for memory, or a lost node.',
    };
  }
  return { fault: 'nobody', because: 'The log has no end of it: the session goes on, or the log is cut.' };
}

function sentence(value: unknown): string {
  const detail = text(value);
  return detail && ` The log says: ${detail}`;
}
