/** A relay in a process of its own, which tells its parent what that process holds. Started by support/memory.ts. */

import { setImmediate as turn } from 'node:timers/promises';
import { loadConfig } from '../../dist/config/load.js';
import { startRelay } from '../../dist/relay.js';

/** Each look costs a collection of the whole heap. */
const watchMs = 100;
const settings = loadConfig(process.env);
// What is measured here is to be busy.
const relay = await startRelay({ ...settings, limits: { ...settings.limits, busy_delay_ms: 0, busy_percent: 0 } });
let watch = null;
let peak = sample();

function sample() {
  const { heapUsed, external, rss } = process.memoryUsage();
  const buffered = { up: 0, down: 0 };
  for (const session of relay.sessions) {
    buffered.up += session.buffered.up;
    buffered.down += session.buffered.down;
  }
  const resources = {};
  for (const kind of process.getActiveResourcesInfo()) {
    // Done with in this turn of the event loop.
    if (kind !== 'Immediate') resources[kind] = (resources[kind] ?? 0) + 1;
  }
  return { heap: heapUsed, external, rss, sessions: relay.sessions.size, buffered, resources };
}

function higher(a, b) {
  return {
    ...b,
    heap: Math.max(a.heap, b.heap),
    external: Math.max(a.external, b.external),
    rss: Math.max(a.rss, b.rss),
    buffered: { up: Math.max(a.buffered.up, b.buffered.up), down: Math.max(a.buffered.down, b.buffered.down) },
  };
}

async function collect() {
  // What one collection frees may be what keeps the next: finalizers and closed handles run in between.
  for (let round = 0; round < 4; round++) {
    globalThis.gc?.();
    await turn();
  }
}

async function answer(question) {
  if (question === 'sample') {
    await collect();
  } else if (question === 'watch') {
    await collect();
    peak = sample();
    if (watch) clearInterval(watch);
    watch = setInterval(() => {
      // What only waits to be collected is no session's cost; buffers are let go of by the collection after next.
      globalThis.gc?.();
      globalThis.gc?.();
      if (relay.sessions.size >= peak.sessions) peak = higher(peak, sample());
    }, watchMs);
  } else if (question === 'peak') {
    if (watch) clearInterval(watch);
    return peak;
  }
  return sample();
}

process.on('message', (question) => {
  void answer(question).then((told) => process.send?.(told));
});
// A relay nobody watches any more must not outlive the test.
process.on('disconnect', () => process.exit());
process.send?.({ url: relay.url, opsUrl: relay.opsUrl });
