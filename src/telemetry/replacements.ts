/** What is counted of legs to upstream that were replaced while their sessions went on. */

import type { Counter, Histogram } from 'prom-client';
import {
  type ReplacementOutcome,
  type ReplacementTrigger,
  replacementOutcomes,
  replacementTriggers,
} from './labels.js';

/** What makes metrics of one registry. */
export interface Makers {
  counter<L extends string>(name: string, help: string, labelNames?: readonly L[]): Counter<L>;
  histogram<L extends string>(name: string, help: string, buckets: number[], labelNames?: readonly L[]): Histogram<L>;
}

/** Counts them. */
export function countReplacements({ counter, histogram }: Makers) {
  const replacements = counter(
    'relay_replacements_total',
    'Connections to upstream that were replaced while their sessions went on, by why, and what came of it',
    ['trigger', 'outcome'],
  );
  for (const trigger of replacementTriggers)
    for (const outcome of replacementOutcomes) replacements.inc({ trigger, outcome }, 0);
  const gaps = histogram(
    'relay_replacement_gap_seconds',
    'From when a connection to upstream was known to be lost until its session could go on with another one',
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 1.5, 3, 5, 10],
  );
  const texts = counter(
    'relay_replay_text_answers_total',
    'Answers that were written, not spoken, after a connection was replaced, and were asked for once more',
  );
  return {
    /** @param gapSeconds null where it was not replaced */
    replaced(trigger: ReplacementTrigger, outcome: ReplacementOutcome, gapSeconds: number | null): void {
      replacements.inc({ trigger, outcome });
      if (gapSeconds !== null) gaps.observe(gapSeconds);
    },
    replayedText(): void {
      texts.inc();
    },
  };
}
