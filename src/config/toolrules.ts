/** What the tools of a profile may not be, and what they are probably not meant to be. */

import { isIP } from 'node:net';
import { bareHost, isLoopback, kindOf } from '../outbound/addresses.js';
import { compileParameters } from '../policy/parameters.js';
import type { Profile } from '../policy/profile.js';
import { parseFilter, parseTemplate } from '../policy/templates.js';
import { type HttpTool, isServed, type ProfileTool, type SearchTool } from '../policy/tools.js';
import { cloudOf } from './cloud.js';
import { urlOf } from './resources.js';

type Complain = (setting: string, problem: string) => void;

/** Whether a profile tells others who the user is, so that it must be clear whose users those are. */
export function tellsOfUser({ tools }: Pick<Profile, 'tools'>): boolean {
  return tools.some((tool) => tool.runs === 'http' || JSON.stringify(tool).includes('{{'));
}

/** Adds what is wrong with the tools of a profile to `problems`. */
export function checkTools({ name: profile, tools }: Profile, problems: string[]): void {
  for (const tool of tools) {
    if (!isServed(tool)) continue;
    const complain: Complain = (setting, problem) =>
      void problems.push(`profiles.${profile}.tools.${tool.name}.${setting}: ${problem}.`);
    attempt(() => compileParameters(tool), 'parameters', complain);
    if (tool.filler) attempt(() => checkSaid(tool.filler?.say ?? ''), 'filler.say', complain);
    if (tool.runs === 'http') checkHttp(tool, complain);
    if (tool.runs === 'search') checkSearch(tool, tools, complain);
  }
}

/** What another part throws about a setting. */
function attempt(what: () => unknown, setting: string, complain: Complain): void {
  try {
    what();
  } catch (error) {
    complain(setting, (error as Error).message.slice(0, 300));
  }
}

function checkSaid(say: string): void {
  if (parseTemplate(say).some((piece) => typeof piece !== 'string' && 'issuer' in piece)) {
    throw new Error('holds {{issuer}}, which is nothing to say');
  }
}

/** Those that are the relay's own, and those by which a message could be taken for two. */
const ownHeaders =
  /^(?:host|content-.*|transfer-encoding|connection|keep-alive|upgrade|te|trailer|expect|accept-encoding|proxy-.*|webhook-.*|x-request-id|traceparent)$/;
const headerName = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;

function checkHttp({ http }: HttpTool, complain: Complain): void {
  checkUrl(http.url, http.private, (problem) => complain('http.url', problem));
  const names = Object.keys(http.headers).map((name) => name.toLowerCase());
  for (const [index, [name, text]] of Object.entries(http.headers).entries()) {
    const lower = name.toLowerCase();
    const setting = `http.headers.${name.slice(0, 100)}`;
    if (!headerName.test(lower)) complain('http.headers', 'holds a name that no header may have');
    else if (ownHeaders.test(lower)) complain(setting, 'is for the relay to say');
    else if (lower === 'authorization' && http.auth) complain(setting, 'is what http.auth says; leave one of both out');
    else if (names.indexOf(lower) < index) complain(setting, 'is there twice');
    attempt(() => checkValue(text), setting, complain);
  }
  const { entra_scope: scope, bearer } = http.auth ?? {};
  if (http.auth && (scope === undefined) === (bearer === undefined)) {
    complain('http.auth', 'must be one of entra_scope and bearer');
  }
  if (scope !== undefined) checkScope(scope, 'http.auth.entra_scope', complain);
  if (bearer !== undefined && !isVisible(bearer)) complain('http.auth.bearer', 'holds characters no header may carry');
  if (http.method === 'POST') return;
  // The signature is of the body, and a query has neither.
  if (http.secret !== undefined) complain('http.secret', 'signs a body, which a GET does not have; use method: POST');
  if (http.claims.length > 0)
    complain('http.claims', 'are sent in a body, which a GET does not have; use method: POST');
}

function checkValue(text: string): void {
  for (const piece of parseTemplate(text)) {
    if (typeof piece === 'string' && !/^[\x20-\x7e]*$/.test(piece))
      throw new Error('holds characters no header may carry');
  }
}

function checkUrl(text: string, mayBePrivate: boolean, complain: (problem: string) => void): void {
  const url = urlOf(text);
  if (text.includes('{{')) complain('holds {{; who is asked must not depend on who the user is');
  if (!url || !['https:', 'http:'].includes(url.protocol)) {
    complain('not an address; expected something like https://orders.example.com/status');
    return;
  }
  const { hostname } = url;
  if (url.username !== '' || url.password !== '') complain('must not contain a credential; there is http.auth');
  if (url.hash !== '' || text.includes('#')) complain('must not have a fragment, which is never sent');
  const isLiteral = isIP(bareHost(hostname)) !== 0;
  const kind = kindOf(bareHost(hostname));
  if (isLiteral && kind === 'link_local')
    complain('is an address at which clouds hand out credentials, and is never asked');
  else if (url.protocol === 'http:' && !isLoopback(hostname) && !(isLiteral ? kind === 'private' : mayBePrivate)) {
    complain('must be https://; plain http:// is for private addresses, and for names with private: true');
  }
}

function checkScope(scope: string, setting: string, complain: Complain): void {
  if (!scope.endsWith('/.default')) complain(setting, 'must end with /.default, as scopes of applications do');
}

function isVisible(text: string): boolean {
  return /^[\x21-\x7e]+$/.test(text);
}

function checkSearch({ search, name }: SearchTool, tools: readonly ProfileTool[], complain: Complain): void {
  const url = urlOf(search.endpoint);
  if (
    !url ||
    !['https:', 'http:'].includes(url.protocol) ||
    url.pathname !== '/' ||
    url.search !== '' ||
    url.hash !== ''
  ) {
    complain('search.endpoint', 'expected something like https://my-search.search.windows.net');
  } else if (url.protocol === 'http:' && !isLoopback(url.hostname)) {
    complain('search.endpoint', 'must be https://; plain http:// is for loopback only');
  } else if (url.username !== '' || url.password !== '') {
    complain('search.endpoint', 'must not contain a credential; there is search.api_key');
  } else if (isIP(bareHost(url.hostname)) !== 0 && kindOf(bareHost(url.hostname)) === 'link_local') {
    complain('search.endpoint', 'is an address at which clouds hand out credentials, and is never asked');
  }
  checkScope(search.scope, 'search.scope', complain);
  if (!/^[\w.-]{1,64}$/.test(search.api_version)) complain('search.api_version', 'expected something like 2026-04-01');
  if (search.api_key !== undefined && !isVisible(search.api_key)) {
    complain('search.api_key', 'holds characters no header may carry');
  }
  const isRanked = search.semantic_configuration !== undefined;
  if (search.query === 'semantic' && !isRanked)
    complain('search.semantic_configuration', 'missing; query: semantic needs one');
  if (isRanked && !['semantic', 'hybrid'].includes(search.query)) {
    complain('search.semantic_configuration', `is not for query: ${search.query}; use hybrid or semantic`);
  }
  if (search.filter !== undefined) attempt(() => parseFilter(search.filter ?? ''), 'search.filter', complain);
  else if (search.role === 'grounding') {
    const filtered = tools.find(
      (other) => other.runs === 'search' && other.search.filter !== undefined && isSameIndex(other.search, search),
    );
    if (filtered) {
      complain(
        'search.filter',
        `missing; ${filtered.name} has one on this index, and ${name} would open what that keeps shut`,
      );
    }
  }
}

type Index = Pick<SearchTool['search'], 'endpoint' | 'index'>;

function isSameIndex(a: Index, b: Index): boolean {
  return a.index === b.index && urlOf(a.endpoint)?.origin === urlOf(b.endpoint)?.origin;
}

/** What works and is probably not meant, for `check`. */
export function toolHints({ name: profile, session, tools, client, webrtc }: Profile): string[] {
  const hints: string[] = [];
  const served = tools.filter(isServed);
  const ofSession = session.tools ?? [];
  const mcp = ofSession.filter(({ type }) => type === 'mcp');
  if (client.trust === 'end_user') {
    for (const { type, name } of ofSession) {
      if (type !== 'function') continue;
      hints.push(`profiles.${profile}.session.tools: nobody runs the tool ${String(name)}; list it under tools.`);
    }
    for (const { server_label: label, require_approval: approval } of mcp) {
      if (approval === 'never' || (typeof approval === 'object' && approval !== null && 'never' in approval)) continue;
      hints.push(
        `profiles.${profile}.session.tools: the MCP tools of ${String(label)} have no require_approval: never; only a backend that follows the session can approve their calls, and without one all are denied.`,
      );
    }
  }
  if (served.length > 0 && webrtc.enabled && webrtc.tools === undefined) {
    hints.push(
      `profiles.${profile}.webrtc: calls and ephemeral keys are refused, since the server runs tools of this profile; webrtc.tools: exposed lets browsers see them, enabled: false says that there are none.`,
    );
  }
  const findsTexts = mcp.length > 0 || served.some(({ runs }) => runs === 'search');
  for (const tool of served) {
    const at = `profiles.${profile}.tools.${tool.name}`;
    if (tool.runs === 'http' && tool.http.method === 'POST' && tool.after === 'any' && findsTexts) {
      hints.push(
        `${at}.after is not user: a text that is found by a search or an MCP tool may make the model call it. For what changes something, write after: user.`,
      );
    }
    if (tool.runs !== 'search') continue;
    const { end } = cloudOf(urlOf(tool.search.endpoint)?.hostname ?? '');
    const expected = `https://search${end}/.default`;
    if (end !== '' && tool.search.api_key === undefined && tool.search.scope !== expected) {
      hints.push(`${at}.search.scope is that of another cloud; expected ${expected}.`);
    }
    if (tool.search.role === 'grounding' && tool.result === 'model') {
      hints.push(`${at}.result is not client: nobody is shown the sources.`);
    }
  }
  return hints;
}
