/** The origins of pages that may connect. */

import type { Profile } from '../policy/profile.js';

// RFC 6454 section 6.2, also for the schemes of apps (tauri, capacitor, ionic), which the URL parser knows nothing of.
const origin = /^([a-z][a-z0-9+.-]*):\/\/(\*\.)?((?:[a-z0-9_-]+\.)*[a-z0-9_-]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?$/;

/**
 * What `RELAY_ALLOWED_ORIGINS` lists: origins, and `https://*.example.com` for those with exactly one label in place of the
 * star; or `*`. What is wrong is added to `problems`.
 */
export function originsOf(value: string | undefined, problems: string[]): readonly string[] | '*' {
  if (value === '*') return '*';
  const origins = (value ?? '')
    .split(',')
    .map((one) => one.trim())
    .filter(Boolean);
  for (const one of origins) {
    const problem = problemOf(one);
    if (problem) problems.push(`RELAY_ALLOWED_ORIGINS: "${one}" ${problem}`);
  }
  return origins;
}

/** What anonymous profiles list: exact origins, each in one profile. What is wrong is added to `problems`. */
export function checkAnonymous(profiles: Iterable<Profile>, problems: string[]): void {
  const owners = new Map<string, string>();
  for (const { name, anonymous } of profiles) {
    if (!anonymous) continue;
    const at = `profiles.${name}.anonymous`;
    for (const one of anonymous.origins) {
      const problem = one.includes('*') ? 'has a star; here every origin is written out.' : problemOf(one);
      if (problem) problems.push(`${at}.origins: "${one}" ${problem}`);
      const owner = owners.get(one);
      if (owner !== undefined) problems.push(`${at}.origins: "${one}" is in profiles.${owner} as well.`);
      owners.set(one, name);
    }
  }
}

function problemOf(text: string): string | null {
  const [, scheme = '', star, host = ''] = origin.exec(text) ?? [];
  if (host === '' && text.includes('*')) {
    return 'has a star that stands for something else than one whole label; write https://*.example.com.';
  }
  if (host === '') {
    return 'is not an origin; write scheme://host[:port] in lower case, without a path, and a comma between two.';
  }
  // Whoever registers a name there would be let in.
  if (star !== undefined && !host.includes('.'))
    return 'has its star in place of a domain; write https://*.example.com.';
  if (!['http', 'https', 'ws', 'wss'].includes(scheme)) return null;
  const plain = text.replace('*.', '');
  const isAsSent = URL.canParse(plain) && new URL(plain).origin === plain;
  return isAsSent
    ? null
    : 'is not what a browser sends; write scheme://host, and a port only where it is not the default.';
}
