/** Where the relay is: what an operator types, as the URL that is dialed. */

const realtimePath = '/openai/v1/realtime';

/**
 * The realtime URL for a base URL (`http://127.0.0.1:8080`, `https://host/openai/v1`) or a full one. Throws an Error
 * that says what is wrong with it.
 */
export function realtimeUrl(given: string): URL {
  const url = URL.canParse(given) ? new URL(given) : null;
  if (!url || !/^(ws|http)s?:$/.test(url.protocol)) {
    throw new Error(`"${given}" is not the URL of a relay; give it like http://127.0.0.1:8080 or wss://host.`);
  }
  if (url.username || url.password) {
    throw new Error('The URL holds a user name or password; leave them out, the token says who you are.');
  }
  url.protocol = url.protocol.replace('http', 'ws');
  url.hash = '';
  const path = url.pathname.replace(/\/+$/, '');
  if (path.endsWith('/v1')) url.pathname = `${path}/realtime`;
  else if (!path.endsWith('/realtime')) url.pathname = `${path}${realtimePath}`;
  // On the path of the preview API the relay would answer in the preview dialect.
  if (path.endsWith('/openai/realtime')) url.searchParams.set('dialect', 'ga');
  return url;
}

/** The URL as it may be shown: without the query, which can hold a credential. */
export function shown(url: URL): string {
  return `${url.origin}${url.pathname}`;
}

/** Whether anyone between here and the relay can read the token and the sound. */
export function isReadableByOthers(url: URL): boolean {
  return url.protocol === 'ws:' && !/^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname);
}
