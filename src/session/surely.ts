/** For ends, which must not stay half done: whatever one part of one throws, the others are done, and the process lives. */

/** Does each of these, in order. What is thrown was foreseen by nobody, and may be thrown by what would log it. */
export function surely(...parts: readonly (() => void)[]): void {
  for (const part of parts) {
    try {
      part();
    } catch (unforeseen) {
      warnOf(unforeseen);
    }
  }
}

/** Says what was foreseen by nobody where nothing else can be done about it. */
export function warnOf(unforeseen: unknown): void {
  process.emitWarning(unforeseen instanceof Error ? unforeseen : String(unforeseen));
}
