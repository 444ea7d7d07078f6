/** The command line on a machine whose clock is wrong by `SKEW_MS`: the time of day, not how it passes. */

const skew = Number(process.env.SKEW_MS ?? 0);
const Real = Date;
globalThis.Date = class extends Real {
  constructor(...args) {
    super(...(args.length === 0 ? [Real.now() + skew] : args));
  }

  static now() {
    return Real.now() + skew;
  }
};
process.argv[1] = new URL('../../dist/cli.js', import.meta.url).pathname;
await import('../../dist/cli.js');
