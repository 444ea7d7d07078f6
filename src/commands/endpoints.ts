/** For `check --dial`: whether the endpoints of tools can be asked. No HTTP tool is called: it might order something. */

import type { Settings } from '../config/settings.js';
import { reach } from '../outbound/connect.js';
import { RequestError } from '../outbound/request.js';
import { Bounded } from '../policy/bounded.js';
import { parseFilter } from '../policy/templates.js';
import { type HttpTool, isServed, type SearchTool, scopeOf } from '../policy/tools.js';
import { oneLine } from '../terminal.js';
import { proxyOfTool } from '../tools/asking.js';
import { createTool } from '../tools/making.js';
import type { ToolCall, ToolResult } from '../tools/tool.js';
import { createScopes, type Scopes } from '../upstream/scoped.js';
import { keeping } from './print.js';

/** What came of trying one tool. */
export interface ToolReport {
  readonly profile: string;
  readonly tool: string;
  readonly ok: boolean;
  readonly said: readonly string[];
}

type Asked = HttpTool | SearchTool;
/** Why it failed, from a closed set, and in words. */
type Failure = Pick<NonNullable<ToolResult['error']>, 'kind' | 'message'> & { readonly status?: number | undefined };

/** Tries the tools of every profile that the relay itself runs. Prints a line for each. */
export async function tryTools(settings: Settings, print: (line: string) => void): Promise<ToolReport[]> {
  const reports: ToolReport[] = [];
  const why = new Map<string, string>();
  const scopes = createScopes(settings.entra, (scope, { error }) => {
    if (error instanceof Error) why.set(scope, error.message);
  });
  for (const { name: profile, tools } of settings.profiles.values()) {
    const asked = tools.filter((tool): tool is Asked => isServed(tool) && tool.runs !== 'backend');
    if (asked.length > 0) print(`tools of profile ${profile}:`);
    for (const tool of asked) {
      const { said, say } = keeping(print);
      const started = performance.now();
      const failure = await (tool.runs === 'http'
        ? tryHttp(tool, settings, scopes)
        : trySearch(tool, settings, scopes));
      if (failure === null) say(`tool ${tool.name}: ok ${Math.round(performance.now() - started)} ms`);
      else {
        const { kind, message } = failure;
        const words = (kind === 'token' && why.get(scopeOf(tool) ?? '')) || message;
        say(`tool ${tool.name}: failed (${kind}): ${oneLine(words, 1000)}`);
        say(`what to do: ${adviceOn(tool, failure)}`);
      }
      reports.push({ profile, tool: tool.name, ok: failure === null, said });
    }
  }
  scopes.close();
  return reports;
}

async function tryHttp(tool: HttpTool, { proxy }: Settings, scopes: Scopes): Promise<Failure | null> {
  const { http } = tool;
  const scope = scopeOf(tool);
  try {
    if (scope !== null) await scopes.token(scope);
  } catch {
    return { kind: 'token', message: 'No Microsoft Entra token is to be had.' };
  }
  const url = new URL(http.url);
  const addresses = http.private ? 'private' : 'public';
  try {
    await reach({ url, timeoutMs: tool.timeout_seconds * 1000, proxy: proxyOfTool(url, proxy), addresses });
    return null;
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    return { kind: error.problem, message: error.message };
  }
}

const nobody = 'realtime-relay-check';

/** One search that finds little, for a user whose every claim is a name that nobody has. */
async function trySearch(tool: SearchTool, { proxy }: Settings, credentials: Scopes): Promise<Failure | null> {
  const claims = parseFilter(tool.search.filter ?? '').flatMap((piece) =>
    typeof piece === 'object' && 'claim' in piece.source ? [[piece.source.claim, nobody]] : [],
  );
  const citable = new Bounded<true>(1);
  citable.set(nobody, true);
  const call: ToolCall = {
    name: tool.name,
    callId: nobody,
    arguments: JSON.stringify(tool.search.role === 'grounding' ? { sources: [nobody] } : { query: 'test' }),
    session: { id: nobody, citable },
    requestId: nobody,
    principal: { issuer: nobody, tenant: null, subject: nobody, claims: Object.fromEntries(claims) },
  };
  const small = { ...tool, search: { ...tool.search, top: 1 } };
  const result = await createTool(small, { proxy, credentials }).run?.(call, new AbortController().signal);
  return result?.error ? { ...result.error, status: result.status } : null;
}

const byStatus: Readonly<Record<number, string>> = {
  400: 'check the names of fields, filter, semantic configuration and api_version; a vector needs a vectorizer in the index.',
  401: 'switch role-based access on for the search service, or set api_key.',
  402: 'the free searches of the semantic ranker are used up: choose another plan for it, or leave semantic_configuration out.',
  403: 'give the identity the role Search Index Data Reader, or check api_key, and the firewall of the service.',
  404: 'check index: the service has none of this name.',
};

function adviceOn(tool: Asked, { kind, status }: Failure): string {
  const setting = `${tool.runs}.${tool.runs === 'http' ? 'url' : 'endpoint'}`;
  switch (kind) {
    case 'address':
      return 'private: true says that this name is meant to be at a private address.';
    case 'proxy':
      return 'check HTTPS_PROXY, and what the proxy lets through; NO_PROXY goes round it.';
    case 'token':
      return `check the identity of the relay, and the scope ${scopeOf(tool)}.`;
    case 'timeout':
      return `check ${setting} and the firewalls between; timeout_seconds is ${tool.timeout_seconds}.`;
    default:
      return (status !== undefined && byStatus[status]) || `check ${setting}: its name, port and certificate.`;
  }
}
