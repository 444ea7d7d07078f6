/** The course of a session as its last log line tells it: its last turns and what upstream complained of. Bounded. */

/** One answer; times are in seconds since the session began. */
interface Turn {
  /** When the first audio came; absent when there was none. */
  readonly audioAt?: number;
  /** From the end of the user's speech, the commit or response.create to the first audio. */
  readonly firstAudioMs?: number;
  /** What it had to wait for of that: calls of tools, from the first to begin to the last to end. */
  readonly toolMs?: number;
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
  /** The answer that begins now had to wait so long for tools. */
  waited(ms: number): void;
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
  return new SessionCourse();
}

class SessionCourse implements Course {
  readonly #startedAt = performance.now();
  #turns: Turn[] | null = null;
  #errors: Map<string, number> | null = null;
  #audio: Pick<Turn, 'audioAt' | 'firstAudioMs'> | null = null;
  #toolMs = 0;
  #slowest = 0;

  firstAudio(waitedMs: number): void {
    const firstAudioMs = Math.round(waitedMs);
    this.#audio = { audioAt: this.#sinceStart(), firstAudioMs };
    this.#slowest = Math.max(this.#slowest, firstAudioMs);
  }

  waited(ms: number): void {
    this.#toolMs = Math.round(ms);
  }

  answered(status: unknown, interrupted: boolean): void {
    const said = interrupted ? 'interrupted' : statuses.has(status) ? String(status) : 'other';
    this.#turns ??= [];
    const tools = this.#toolMs > 0 ? { toolMs: this.#toolMs } : null;
    this.#turns.push({ ...this.#audio, ...tools, doneAt: this.#sinceStart(), status: said });
    if (this.#turns.length > turnsKept) this.#turns.shift();
    this.#audio = null;
    this.#toolMs = 0;
  }

  failed(code: unknown): void {
    this.#errors ??= new Map();
    // A code is upstream's text: only what looks like one, and few of them, may reach the log.
    const known = typeof code === 'string' && /^[A-Za-z][A-Za-z0-9_]{0,63}$/.test(code) ? code : 'other';
    const name = this.#errors.has(known) || this.#errors.size < codesKept ? known : 'other';
    this.#errors.set(name, (this.#errors.get(name) ?? 0) + 1);
  }

  totals(): CourseTotals {
    return {
      ...(this.#turns && { lastTurns: this.#turns }),
      ...(this.#slowest > 0 && { slowestFirstAudioMs: this.#slowest }),
      ...(this.#errors && { errors: Object.fromEntries(this.#errors) }),
    };
  }

  #sinceStart(): number {
    return Math.round(performance.now() - this.#startedAt) / 1000;
  }
}
