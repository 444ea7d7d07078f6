/** Variables that others set, that reach the relay in another spelling than they were meant, or that stand in files. */

import type { Lookup } from './references.js';
import { readText } from './utf8.js';

/** What of the environment is meant for the relay. */
export interface Given {
  /** The variables that are set, with those whose value stands in the file that `<name>_FILE` names. */
  readonly variables: Record<string, string>;
  /** The value of any variable, for references in the YAML file. */
  readonly lookUp: Lookup;
}

/** The settings that are paths themselves. */
const paths = new Set(['RELAY_CONFIG', 'RELAY_TLS_CERT', 'RELAY_TLS_KEY']);
const fileEnd = '_FILE';
const maxValueBytes = 64 * 1024;

/** Sorts the environment; what is wrong is added to `problems`, what is probably not meant to `warnings`. */
export function meant(
  env: NodeJS.ProcessEnv,
  isSetting: (name: string) => boolean,
  problems: string[],
  warnings: string[],
): Given {
  const variables: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    // An empty variable means "not set", as in most shells and compose files.
    if (!value?.trim()) continue;
    const foreign = foreignValue(name, value);
    if (foreign !== null) warnings.push(`${name} is ignored: "${value.slice(0, 100)}" ${foreign}`);
    else variables[name] = value;
    if (foreign === null && isSetting(name)) warnings.push(...oddities(name, value));
  }
  for (const [file, path] of Object.entries(variables)) {
    const name = settingOfFile(file, isSetting);
    if (name === null) continue;
    if (variables[name] !== undefined) {
      problems.push(`${file}: ${name} is set as well; set one of them.`);
      continue;
    }
    const value = contentOf(file, path, problems);
    if (value !== undefined) variables[name] = value;
  }
  const asked = new Map<string, string | undefined>();
  return {
    variables,
    lookUp(name) {
      if (asked.has(name)) return asked.get(name);
      const value = variables[name] ?? fromOwnFile(name, env, problems);
      asked.set(name, value);
      // Those of settings were looked at already.
      if (value !== undefined && !isSetting(name)) warnings.push(...oddities(name, value));
      return value;
    },
  };
}

/** The setting whose value a variable leads to, or null. */
function settingOfFile(name: string, isSetting: (name: string) => boolean): string | null {
  if (!name.endsWith(fileEnd)) return null;
  const setting = name.slice(0, -fileEnd.length);
  // Names without such a beginning may be anybody's.
  const isOurs = /^(RELAY_|AZURE_OPENAI_|HTTPS_PROXY$)/.test(setting);
  return isOurs && isSetting(setting) && !paths.has(setting) ? setting : null;
}

/** What the YAML file refers to is the operator's, whatever it is called; an empty value stays one. */
function fromOwnFile(name: string, env: NodeJS.ProcessEnv, problems: string[]): string | undefined {
  const path = env[name + fileEnd]?.trim();
  return path && !env[name] ? contentOf(name + fileEnd, path, problems) : env[name];
}

function contentOf(name: string, path: string, problems: string[]): string | undefined {
  const file = readText(path.trim());
  const complain = (problem: string) => void problems.push(`${name}: ${path.trim().slice(0, 200)} ${problem}.`);
  if ('problem' in file) return complain(file.problem);
  const value = file.text.trim();
  if (value === '') return complain('is empty');
  return value.length > maxValueBytes ? complain(`is over ${maxValueBytes} bytes`) : value;
}

/** Who else sets a variable of this name, or null. */
function foreignValue(name: string, value: string): string | null {
  // https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
  if (name === 'RELAY_OPS_PORT' && /^(?:tcp|udp|sctp):\/\//.test(value)) {
    return 'is what Kubernetes tells of a Service called relay-ops; set enableServiceLinks: false, or write a number.';
  }
  // The compilers of conda export the kind of machine they build for.
  if (name === 'HOST' && /^[a-z0-9_]+-(?:conda|apple|pc|unknown)[a-z0-9_.]*-[a-z0-9_.-]+$/i.test(value)) {
    return 'is the kind of machine that conda builds for and no address; both listeners bind to the default.';
  }
  return null;
}

/** What a file of variables may have left in a value that it should not have. */
function oddities(name: string, value: string): string[] {
  const text = value.trim();
  const found: string[] = [];
  if (text.length > 1 && (text[0] === '"' || text[0] === "'") && text.endsWith(text[0])) {
    found.push(
      `${name}: its value begins and ends with a quote, which is part of it; --env-file takes quotes as they are.`,
    );
  }
  if (/[^\s]\s+#\s/.test(text) && !text.includes('\n')) {
    found.push(
      `${name}: its value has a # in it and what follows, as part of it; Docker's --env-file knows no comments.`,
    );
  }
  return found;
}

/**
 * Names that are nearly one of a setting and would be ignored in silence, each with the likely one. Those that Kubernetes makes
 * up for Services are not ours.
 */
export function misspelt(variables: Readonly<Record<string, string>>, settings: readonly string[]): string[] {
  const isSetting = (name: string) => settings.includes(name);
  return Object.keys(variables).flatMap((name) => {
    if (isSetting(name) || settingOfFile(name, isSetting) !== null) return [];
    const upper = name.toUpperCase();
    const free = settings.filter((setting) => variables[setting] === undefined);
    if (upper.startsWith('RELAY_')) {
      if (/_SERVICE_(HOST|PORT)|_PORT(_|$)/.test(name)) return [];
      const likely = paths.has(upper.replace(/_FILE$/, '')) ? upper.replace(/_FILE$/, '') : nearest(upper, settings, 4);
      return [`${name} is set but is not a setting of the relay${likely ? `; ${likely} is` : ''}.`];
    }
    if (['HTTP_PROXY', 'ALL_PROXY'].includes(upper) && free.includes('HTTPS_PROXY')) {
      return [`${name} is set but is not used; the relay reads HTTPS_PROXY.`];
    }
    // Other programs have settings of that kind, too.
    const likely = upper.startsWith('AZURE_OPENAI_') ? nearest(upper, free, 2) : null;
    return likely ? [`${name} is set but is not a setting of the relay; ${likely} is.`] : [];
  });
}

/**
 * The name that goes on where this one ends, or that is reached with the fewest changes of a letter, at most `most` and one in
 * three behind the first word, which all have; or null.
 */
function nearest(name: string, names: readonly string[], most: number): string | null {
  const limit = Math.min(most, Math.floor(name.replace(/^[A-Z]+_/, '').length / 3));
  const begun = names.filter((one) => one.startsWith(`${name}_`));
  if (begun.length === 1) return begun[0] as string;
  const [best] = names
    .map((one) => ({ one, changes: changesBetween(name, one) }))
    .filter(({ changes }) => changes <= limit)
    .sort((a, b) => a.changes - b.changes);
  return best?.one ?? null;
}

/** Levenshtein's distance. Names from outside may be long, and then are none of ours. */
function changesBetween(a: string, b: string): number {
  if (a.length > 64) return Number.POSITIVE_INFINITY;
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
