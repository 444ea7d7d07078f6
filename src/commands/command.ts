/** What all commands of the command line are, and how they read what they are given. */

import { parseArgs } from 'node:util';

/** One command of the command line. */
export interface CliCommand {
  /** Its lines in the help. */
  readonly help: string;
  /**
   * Resolves to the exit code.
   * @throws UsageError, and ConfigError where it needs settings
   */
  run(args: string[]): Promise<number>;
}

/** Exit codes of sysexits.h that process managers and people know. */
export const exitCodes = { ok: 0, failed: 1, usage: 64, config: 78 } as const;

/** A command line that makes no sense; the text says what would. */
export class UsageError extends Error {}

type Options = NonNullable<NonNullable<Parameters<typeof parseArgs>[0]>['options']>;
type Read<T extends Options> = ReturnType<
  typeof parseArgs<{ args: string[]; options: T; allowPositionals: boolean; strict: true }>
>;

/** Reads the options of a command, and refuses any other. */
export function options<T extends Options>(args: string[], known: T, allowPositionals = false): Read<T> {
  try {
    return parseArgs({ args, options: known, allowPositionals, strict: true });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** A number over 0 that was given as an option. */
export function positive(name: string, value: string): number {
  const number = Number(value);
  if (!(number > 0)) throw new UsageError(`--${name} must be a number over 0.`);
  return number;
}
