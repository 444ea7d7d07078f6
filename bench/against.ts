/**
 * `npm run bench -- --against <folder>`: this build beside another one, in turn. What counts is the median of the ratios of
 * runs that follow each other; how far two runs of this same build differ says which differences are none.
 */

import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { relay } from './contestants.js';
import { type Measurement, runOnce, type Scenario, type Size } from './scenarios.js';

/** Fewer would let one bad moment of the machine decide. */
export const leastRounds = 7;

/** One figure of one scenario, over all rounds. */
export interface Comparison {
  readonly scenario: string;
  readonly figure: keyof Measurement;
  /** The median of this build ÷ the other one. */
  readonly ratio: number;
  /** The same of this build ÷ this build. */
  readonly twins: number;
  readonly isNoise: boolean;
}

/** Figures for which less is better; a ratio says nothing of the others. */
const figures = ['cpuMicrosPerEvent', 'p99Micros', 'bytesPerSession', 'cpuMicrosPerConnect', 'peakBytes'] as const;

/** Runs the scenarios with both builds. @throws Error when there is no build in the folder */
export async function compare(
  folder: string,
  scenarios: readonly Scenario[],
  rounds: number,
  size: Size,
): Promise<Comparison[]> {
  const build = resolve(folder);
  if (!existsSync(join(build, 'dist/cli.js')))
    throw new Error(`${build} has no dist/cli.js; run "npm run build" there`);
  const contestants = [relay(), relay({ name: 'other', build }), relay({ name: 'twin' })];
  const result: Comparison[] = [];
  for (const scenario of scenarios) {
    const samples: Measurement[][] = contestants.map(() => []);
    for (let round = 0; round < rounds; round++) {
      // Each takes each place in the order: who comes first finds the machine in another state than who comes last.
      for (let place = 0; place < contestants.length; place++) {
        const index = (round + place) % contestants.length;
        const start = contestants[index];
        if (start) samples[index]?.push((await runOnce(scenario, start, size, null)).measured);
      }
    }
    const [own = [], other = [], twin = []] = samples;
    for (const figure of figures) {
      const ratio = medianRatio(own, other, figure);
      const twins = medianRatio(own, twin, figure);
      if (ratio === null || twins === null) continue;
      const comparison = { scenario: scenario.name, figure, ratio, twins, isNoise: distance(twins) >= distance(ratio) };
      result.push(comparison);
      print(comparison);
    }
  }
  return result;
}

function medianRatio(
  own: readonly Measurement[],
  other: readonly Measurement[],
  figure: keyof Measurement,
): number | null {
  const ratios = own
    .map((one, round) => (one[figure] ?? Number.NaN) / (other[round]?.[figure] ?? Number.NaN))
    .filter(Number.isFinite)
    .sort((a, b) => a - b);
  return ratios[Math.floor(ratios.length / 2)] ?? null;
}

function distance(ratio: number): number {
  return Math.abs(Math.log(ratio));
}

function print({ scenario, figure, ratio, twins, isNoise }: Comparison): void {
  const verdict = isNoise ? 'within noise' : ratio > 1 ? 'costs more' : 'costs less';
  console.log(
    `${scenario.padEnd(24)} ${figure.padEnd(20)} ${ratio.toFixed(3)} × the other (twins ${twins.toFixed(3)}): ${verdict}`,
  );
}
