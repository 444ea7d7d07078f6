/** What tests need of the machine and may not find there. */

/** Whether something is missing, so that tests of it are skipped: which is said, with what to do to have them. */
export function lacking(isThere: boolean, what: string, how: string): boolean {
  if (!isThere) console.warn(`${what} is missing: tests that need it are skipped. To have them: ${how}`);
  return !isThere;
}
