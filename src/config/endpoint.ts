/** What of an endpoint is used, and what would be cut off. */

// What the portal and its samples show behind a resource, whose paths the relay knows by itself.
const known =
  /^(?:\/api\/projects\/[^/]+)?(?:\/openai(?:\/v1)?(?:\/realtime)?|\/openai\/deployments\/(?<deployment>[^/]+)(?:\/.*)?|\/v1(?:\/realtime)?)?\/?$/;

/** Why an endpoint cannot be meant as the relay would use it, or null: it adds the paths of the API to scheme, host and port. */
export function endpointProblem(url: URL, deployment: string): string | null {
  const path = url.pathname.replace(/\/{2,}/g, '/');
  const match = known.exec(path);
  if (!match) {
    return `its path ${path.slice(0, 100)} would not be used; write https://${url.host} alone. A gateway must offer /openai/v1/realtime at its root.`;
  }
  const named = [
    match.groups?.deployment,
    ...url.searchParams.getAll('deployment'),
    ...url.searchParams.getAll('model'),
  ].find((name) => name !== undefined && decoded(name) !== deployment);
  return named === undefined
    ? null
    : `it names the deployment "${named.slice(0, 100)}", but "${deployment}" is configured; write https://${url.host} alone.`;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // Not percent-encoded, so it stands for itself.
    return text;
  }
}
