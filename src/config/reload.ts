/** The YAML file, read again while the relay runs: on a signal, or when it has changed. */

import { statSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { ConfigError } from '../problems.js';
import type { ReloadOutcome } from '../telemetry/labels.js';
import type { Log } from '../telemetry/log.js';
import type { Settings } from './settings.js';

/** Where settings come from. */
export interface SettingsSource {
  /** The file to watch, or null when there is none. */
  readonly path: string | null;
  /** @throws ConfigError */
  load(): Settings;
}

/** What differs between two configurations, by name; never a value. */
interface Changes {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: readonly string[];
  /** What differs but is only read at start. */
  readonly restart: readonly string[];
}

/** What follows the file. */
export interface Follower {
  /** Reads the file now. */
  reload(): void;
  close(): void;
}

const pollMs = 1000;
/** An editor may write a file in several steps; one that is still being written is not read. */
const settleMs = 250;

/**
 * Reads the settings again when asked and whenever the file changes, and hands valid ones to `apply`; with others the
 * old ones stay.
 * @param apply must throw ConfigError before it has changed anything, or not at all
 * @param counted told what became of each reading
 */
export function followSettings(
  source: SettingsSource,
  first: Settings,
  apply: (settings: Settings) => void,
  log: Log,
  counted: (outcome: ReloadOutcome) => void,
): Follower {
  let current = first;
  let settling: NodeJS.Timeout | undefined;

  const reload = () => {
    clearTimeout(settling);
    let changes: Changes;
    try {
      const next = source.load();
      changes = changesBetween(current, next);
      if (isNothing(changes)) {
        counted('unchanged');
        log.info('config.unchanged');
        return;
      }
      apply(next);
      for (const warning of next.warnings) if (!current.warnings.includes(warning)) log.warn(warning);
      current = next;
    } catch (error) {
      const problems = error instanceof ConfigError ? error.problems : ['The file could not be read again.'];
      counted('rejected');
      log.error({ problems, ...(!(error instanceof ConfigError) && { error }) }, 'config.rejected');
      return;
    }
    counted('reloaded');
    log.info(changes, 'config.reloaded');
  };
  const changed = () => {
    clearTimeout(settling);
    settling = setTimeout(reload, settleMs);
    settling.unref();
  };
  const { path } = source;
  // Polling also sees the symbolic links by which Kubernetes replaces a mounted file. The first look is taken here and
  // now: `fs.watchFile` takes it later, and would miss a change until then.
  let mark = path === null ? '' : markOf(path);
  const look = () => {
    const now = path === null ? '' : markOf(path);
    if (now === mark) return;
    mark = now;
    changed();
  };
  const poll = path === null ? undefined : setInterval(look, pollMs).unref();
  return {
    reload,
    close() {
      clearTimeout(settling);
      clearInterval(poll);
    },
  };
}

/** Differs when the content of the file may. */
function markOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat ? `${stat.ino} ${stat.size} ${stat.mtimeMs}` : 'gone';
}

type Named = ReadonlyMap<string, unknown>;

/** What is read again; everything else is for the start only. */
function livePartsOf({ upstreams, profiles, limits, webhooks }: Settings): Record<string, Named> {
  return {
    upstreams: new Map(upstreams.map((one) => [one.name, one])),
    profiles,
    limits: new Map(Object.entries(limits)),
    webhooks: new Map(webhooks.map((one, index) => [String(index), one])),
  };
}

function changesBetween(old: Settings, next: Settings): Changes {
  const added: string[] = [];
  const removed: string[] = [];
  const changed: string[] = [];
  const after = livePartsOf(next);
  for (const [part, before] of Object.entries(livePartsOf(old))) {
    const now = after[part] as Named;
    for (const name of before.keys()) if (!now.has(name)) removed.push(`${part}.${name}`);
    for (const [name, value] of now) {
      if (!before.has(name)) added.push(`${part}.${name}`);
      else if (!isDeepStrictEqual(before.get(name), value)) changed.push(`${part}.${name}`);
    }
  }
  const order = ({ upstreams }: Settings) => upstreams.map(({ name }) => name);
  const sameNames = !added.concat(removed).some((name) => name.startsWith('upstreams.'));
  if (sameNames && !isDeepStrictEqual(order(old), order(next))) changed.push('upstreams');
  const { upstreams: _u, profiles: _p, limits: _l, webhooks: _h, warnings: _w, ...fixed } = next;
  const restart = Object.entries(fixed)
    .filter(([name, value]) => !isDeepStrictEqual(old[name as keyof Settings], value))
    .map(([name]) => name);
  return { added, removed, changed, restart };
}

function isNothing(changes: Changes): boolean {
  return Object.values(changes).every((names: readonly string[]) => names.length === 0);
}
