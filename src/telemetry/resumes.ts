/** How often clients go on with their sessions. */

import { Counter, type Registry } from 'prom-client';
import { type ResumeOutcome, resumeOutcomes } from './labels.js';

/** Counts them; every outcome is there from the beginning. */
export function countResumes(registers: Registry[]): (outcome: ResumeOutcome) => void {
  const resumes = new Counter({
    name: 'relay_resumes_total',
    help: 'Clients that wanted to go on with a session over another connection, by what became of it',
    labelNames: ['outcome'],
    registers,
  });
  for (const outcome of resumeOutcomes) resumes.inc({ outcome }, 0);
  return (outcome) => resumes.inc({ outcome });
}
