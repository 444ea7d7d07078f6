/** Finds one session's lines in a log of any size, whatever else is in it. */

import type { Readable } from 'node:stream';

/** One line of the relay's log; what its fields hold is checked where they are read. */
export type Line = Readonly<Record<string, unknown>>;

/** One session, or one refused handshake, with its lines in the order of the log. */
export interface Found {
  /** `sess_…`, or the request id of a handshake that was refused. */
  readonly id: string;
  readonly lines: Line[];
  /** Lines beyond the limit, which were counted only. */
  dropped: number;
}

export interface Search {
  /** Sessions that fit, in the order of the log; at most a few. */
  readonly found: readonly Found[];
  /** Sessions that fit beyond those. */
  readonly more: number;
  /** Lines about the whole relay: starts, drains, failures of the identity and of Redis. Only the latest. */
  readonly around: readonly Line[];
  readonly lines: number;
  /** How many of them are lines of this relay. */
  readonly own: number;
}

const longestLine = 256 * 1024;
const linesKept = 1000;
const foundKept = 20;
const aroundKept = 1000;
const shortestId = 6;
const around =
  /"(?:relay\.(?:started|draining|stopped|busy|relieved|stalled)|identity\.failed|store\.(?:away|back)|config\.(?:reloaded|rejected))/;

/**
 * Makes the test for an id as a person gives it: a session id or its beginning, with or without `sess_`, a request id, or
 * one of Azure's ids in full. Null when it is too short or could be none of these.
 */
export function idTest(given: string): { test(line: Line): boolean; mentions(text: string): boolean } | null {
  const id = given.trim().toLowerCase();
  const hex = id.replace(/^sess_/, '').replaceAll('-', '');
  const isOwn = /^[0-9a-f]{6,32}$/.test(hex);
  if (id.length < shortestId || !/^[\w.:-]{1,128}$/.test(id)) return null;
  const dashed = hex.replace(/^(.{8})(.{1,4})?(.{1,4})?(.{1,4})?(.*)$/, (_, ...parts: string[]) =>
    parts.slice(0, 5).filter(Boolean).join('-'),
  );
  return {
    test({ session, requestId, azure }) {
      const own = [session, requestId].some(
        (value) =>
          typeof value === 'string' &&
          value
            .replace(/^sess_/, '')
            .replaceAll('-', '')
            .startsWith(hex),
      );
      return (isOwn && own) || (typeof azure === 'object' && Object.values(azure ?? {}).some((one) => isSame(one, id)));
    },
    // Cheap enough for every line of a log of gigabytes; only what passes is parsed.
    mentions: (text) => text.includes(hex) || text.includes(dashed) || text.includes(given.trim()),
  };
}

function isSame(value: unknown, id: string): boolean {
  return typeof value === 'string' && value.toLowerCase() === id;
}

/** Reads a log to its end. Its memory does not grow with it. */
export async function search(input: Readable, wanted: NonNullable<ReturnType<typeof idTest>>): Promise<Search> {
  const found = new Map<string, Found>();
  /** An id of Azure is in few lines of a session only, so the session's own id is looked for as well. */
  const known = new Set<string>();
  const general: Line[] = [];
  let more = 0;
  let lines = 0;
  let own = 0;

  const take = (text: string) => {
    lines++;
    if (text.includes('realtime-relay')) own++;
    const isGeneral = around.test(text.replaceAll('\\"', '"'));
    const isAbout = wanted.mentions(text) || [...known].some((id) => text.includes(id));
    if (!isGeneral && !isAbout) return;
    const line = parse(text);
    if (!line) return;
    if (isAbout && (wanted.test(line) || known.has(String(line.session)))) keep(line);
    else if (isGeneral) {
      general.push(line);
      if (general.length > aroundKept) general.shift();
    }
  };
  const keep = (line: Line) => {
    const id = typeof line.session === 'string' ? line.session : String(line.requestId);
    let one = found.get(id);
    if (!one && found.size >= foundKept) {
      more++;
      return;
    }
    if (!one) {
      one = { id, lines: [], dropped: 0 };
      found.set(id, one);
      if (id.startsWith('sess_')) known.add(id);
    }
    // The end tells most, so it is kept whatever came before.
    if (one.lines.length >= linesKept && line.msg !== 'session.ended') one.dropped++;
    else one.lines.push(line);
  };

  await eachLine(input, take);
  return { found: [...found.values()], more, around: general, lines, own };
}

/** Splits the input into lines; of one that is too long nothing is kept. */
async function eachLine(input: Readable, take: (line: string) => void): Promise<void> {
  input.setEncoding('utf8');
  let rest = '';
  let isTooLong = false;
  for await (const chunk of input) {
    const parts = (rest + String(chunk)).split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) {
      if (!isTooLong && part.length <= longestLine) take(part);
      isTooLong = false;
    }
    if (rest.length > longestLine) {
      rest = '';
      isTooLong = true;
    }
  }
  if (rest !== '' && !isTooLong) take(rest);
}

/** The JSON object of a line: as it is, behind what a collector put before it, or inside a collector's own object. */
function parse(text: string): Line | null {
  const start = text.indexOf('{');
  const value = start < 0 ? null : objectOf(text.slice(start));
  if (!value) return null;
  if (typeof value.msg === 'string') return value;
  // Docker's json-file driver, Azure Container Apps and others wrap the line.
  for (const key of ['log', 'Log', 'Log_s', 'message', 'line', 'textPayload']) {
    const inner = value[key];
    if (typeof inner === 'string' && inner.startsWith('{')) return objectOf(inner);
    if (typeof inner === 'object' && inner !== null && 'msg' in inner) return inner as Line;
  }
  return null;
}

function objectOf(text: string): Line | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Line) : null;
  } catch {
    // A line of something else, or one that was cut.
    return null;
  }
}
