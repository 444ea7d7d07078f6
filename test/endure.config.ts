import { defineConfig } from 'vitest/config';

/** `npm run endure`: what takes minutes, each within a time of its own, one after the other. */
export default defineConfig({
  test: {
    include: ['test/endure.ts', 'test/endure-continuity.ts', 'test/replicas/endure.ts'],
    globalSetup: 'test/support/build.ts',
    pool: 'forks',
    reporters: ['verbose'],
    testTimeout: 180_000,
    hookTimeout: 15_000,
  },
});
