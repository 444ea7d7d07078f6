/** What is wrong with the configuration, as whoever finds it says it. */

/** All that is wrong with the configuration, each problem naming its setting or line. */
export class ConfigError extends Error {
  constructor(readonly problems: readonly string[]) {
    super(`The configuration has ${problems.length} problem${problems.length === 1 ? '' : 's'}.`);
    this.name = 'ConfigError';
  }
}

/** What a part says about its settings when it is made becomes a problem of the configuration. */
export function orConfigError<T>(setting: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw new ConfigError([`${setting}: ${(error as Error).message}`]);
  }
}
