/** Reading fields of log lines that may be of another version, or of another program. */

import { oneLine } from '../terminal.js';
import type { Line } from './lines.js';

/** A text that may be printed; the empty string when there is none. */
export function text(value: unknown, longest = 200): string {
  if (typeof value !== 'string') return '';
  return oneLine(value, longest);
}

/** A finite number, or null. */
export function number(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

/** An object's fields, or none. */
export function object(value: unknown): Line {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Line) : {};
}

/** A line's time in milliseconds since the epoch, or null. */
export function timeOf({ time }: Line): number | null {
  const at = typeof time === 'number' ? time : Date.parse(text(time));
  return Number.isFinite(at) ? at : null;
}

/** The last line with this message. */
export function last(lines: readonly Line[], message: string): Line | undefined {
  return lines.findLast(({ msg }) => msg === message);
}

/** A duration for people. */
export function duration(seconds: number): string {
  if (seconds < 10) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}
