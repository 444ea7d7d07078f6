/** The tools of a profile, ready to be called. */

import type { Profile } from '../policy/profile.js';
import { type ProfileTool, scopeOf } from '../policy/tools.js';
import { createJudge } from './arguments.js';
import type { ToolPorts } from './asking.js';
import { createHttpRun } from './http.js';
import { createSearchRun } from './search.js';
import type { Tool } from './tool.js';

/** The tools of all profiles. */
export interface Toolbox {
  /** Those of a profile by name, made once for each. */
  of(profile: Profile): ReadonlyMap<string, Tool>;
  /** Makes the tools of these profiles ahead of need, and has tokens for no others from now on. */
  use(profiles: Iterable<Profile>): void;
}

/** Makes the toolbox of a relay. What its tools cannot be made of is refused with the settings it is in. */
export function createToolbox(ports: ToolPorts): Toolbox {
  const made = new WeakMap<Profile, ReadonlyMap<string, Tool>>();
  const of = (profile: Profile) => {
    const known = made.get(profile);
    if (known) return known;
    const tools = new Map(profile.tools.map((tool) => [tool.name, createTool(tool, ports)]));
    made.set(profile, tools);
    return tools;
  };
  return {
    of,
    use(profiles) {
      const tools = [...profiles].flatMap((profile) => [...of(profile).values()]);
      const scopes = tools.map(({ configured }) => scopeOf(configured)).filter((scope) => scope !== null);
      ports.credentials.want(new Set(scopes));
    },
  };
}

/** Makes one tool. */
export function createTool(configured: ProfileTool, ports: ToolPorts): Tool {
  const { runs } = configured;
  // What a client is asked to do it judges itself, by whatever its schema is.
  if (runs === 'client') return { configured, judge: () => ({ arguments: {} }), run: null };
  const judge = createJudge(configured);
  if (runs === 'http') return { configured, judge, run: createHttpRun(configured, judge, ports) };
  if (runs === 'search') return { configured, judge, run: createSearchRun(configured, judge, ports) };
  return { configured, judge, run: null };
}
