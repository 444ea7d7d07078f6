import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: 'test/support/build.ts',
    pool: 'forks',
    // One less is the default, which on two cores is one file after the other; much of a test is waiting.
    maxWorkers: availableParallelism(),
    testTimeout: 15_000,
    hookTimeout: 15_000,
  },
});
