/** The course of a session as its last log line tells it: its last turns and what upstream complained of. Bounded. */

/** One answer; times are in seconds since the session began. */
interface Turn {
  /** When the first audio came; absent when there was none. */
  readonly audioAt?: number;
  /** From the end of the user's speech, the commit or response.create to the first audio. */
  readonly firstAudioMs?: number;
  readonly doneAt: number;
  /** The response's status, or `interrupted` when the user spoke over it. */
  readonly status: string;
}

/** What the log line of the end says about the course. */
export interface CourseTotals {
  readonly lastTurns?: readonly Turn[];
  readonly slowestFirstAudioMs?: number;
  /** Error events of upstream by their code. */
  readonly errors?: Readonly<Record<string, number>>;
}

export interface Course {
  /** @param waitedMs from the question's end until now */
  firstAudio(waitedMs: number): void;
  answered(status: unknown, interrupted: boolean): void;
  failed(code: unknown): void;
  totals(): CourseTotals;
}

const turnsKept = 20;
const codesKept = 8;
/** Source: the Realtime API's `response.status`. */
const statuses = new Set<unknown>(['completed', 'cancelled', 'failed', 'incomplete']);

/** Starts to follow a session that begins now. */
export function createCourse(): Course {
  const startedAt = performance.now();
  const turns: Turn[] = [];
  const errors = new Map<string, number>();
  let audio: Pick<Turn, 'audioAt' | 'firstAudioMs'> = {};
  let slowest = 0;

  const sinceStart = () => Math.round(performance.now() - startedAt) / 1000;

  return {
    firstAudio(waitedMs) {
      const firstAudioMs = Math.round(waitedMs);
      audio = { audioAt: sinceStart(), firstAudioMs };
      slowest = Math.max(slowest, firstAudioMs);
    },
    answered(status, interrupted) {
      const said = interrupted ? 'interrupted' : statuses.has(status) ? String(status) : 'other';
      turns.push({ ...audio, doneAt: sinceStart(), status: said });
      if (turns.length > turnsKept) turns.shift();
      audio = {};
    },
    failed(code) {
      // A code is upstream's text: only what looks like one, and few of them, may reach the log.
      const known = typeof code === 'string' && /^[a-z][a-z0-9_]{0,63}$/.test(code) ? code : 'other';
      const name = errors.has(known) || errors.size < codesKept ? known : 'other';
      errors.set(name, (errors.get(name) ?? 0) + 1);
    },
    totals: () => ({
      ...(turns.length > 0 && { lastTurns: turns }),
      ...(slowest > 0 && { slowestFirstAudioMs: slowest }),
      ...(errors.size > 0 && { errors: Object.fromEntries(errors) }),
    }),
  };
}
