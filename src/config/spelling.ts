/** Variables that others set, or that reach the relay in another spelling than they were meant. */

/** What of the environment is meant for the relay; what is left out, and what is probably not meant, is told in `warnings`. */
export function meant(
  env: NodeJS.ProcessEnv,
  isSetting: (name: string) => boolean,
  warnings: string[],
): Record<string, string> {
  const given: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    // An empty variable means "not set", as in most shells and compose files.
    if (!value?.trim()) continue;
    const foreign = foreignValue(name, value);
    if (foreign === null) given[name] = value;
    else warnings.push(`${name} is ignored: "${value.slice(0, 100)}" ${foreign}`);
    if (foreign === null && isSetting(name) && isQuoted(value)) {
      warnings.push(
        `${name}: its value begins and ends with a quote, which is part of it; --env-file takes quotes as they are.`,
      );
    }
  }
  return given;
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

function isQuoted(value: string): boolean {
  const text = value.trim();
  return text.length > 1 && (text[0] === '"' || text[0] === "'") && text.endsWith(text[0]);
}
