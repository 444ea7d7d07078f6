/** What one session comes to, over all of its legs to upstream: answers, sound, tokens, and its course. */

import type { Metrics } from '../telemetry/metrics.js';
import { UsageSums } from '../telemetry/usage.js';
import { type Course, type CourseTotals, createCourse } from './course.js';

/** Totals for the session's last log line. */
export interface Totals extends CourseTotals {
  readonly turns: number;
  readonly interruptions: number;
  readonly tokens: number;
  /** Null where sound does not pass the relay. */
  readonly audioSecondsUp: number | null;
  readonly audioSecondsDown: number | null;
  /** Calls that the server answers for, and those of them that brought nothing; absent where there were none. */
  readonly toolCalls?: number;
  readonly toolErrors?: number;
  /** Absent where there were none. */
  readonly replacements?: number;
}

/** Written by the meters of a session. */
export class Books {
  readonly ledger: UsageSums;
  readonly course: Course = createCourse();
  responses = 0;
  interruptions = 0;
  audioSecondsUp = 0;
  audioSecondsDown = 0;
  toolCalls = 0;
  toolErrors = 0;
  /** Legs to upstream that have taken the place of another. */
  replacements = 0;
  /** Whether a leg that was lost could not say what it cost. */
  isIncomplete = false;
  /** Whether an utterance could not be put into words. */
  isUntranscribed = false;

  constructor(metrics: Pick<Metrics, 'tokens'>) {
    this.ledger = new UsageSums(metrics.tokens);
  }

  /**
   * Seconds of sound that is not seen are not known, which is not the same as none. They do not follow from tokens either:
   * upstream counts the sound of the whole conversation again with every answer.
   */
  totals(carriesAudio: boolean): Totals {
    const { total_tokens, transcription_tokens } = this.ledger.usage;
    return {
      turns: this.responses,
      interruptions: this.interruptions,
      tokens: total_tokens + transcription_tokens,
      audioSecondsUp: carriesAudio ? round(this.audioSecondsUp) : null,
      audioSecondsDown: carriesAudio ? round(this.audioSecondsDown) : null,
      ...(this.toolCalls > 0 && { toolCalls: this.toolCalls, toolErrors: this.toolErrors }),
      ...(this.replacements > 0 && { replacements: this.replacements }),
      ...this.course.totals(),
    };
  }
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
