/** `realtime-relay tools`: what the tools of the profiles are, and what comes of calling one. */

import { loadConfig } from '../config/load.js';
import type { Settings } from '../config/settings.js';
import type { OutboundAnswer } from '../outbound/request.js';
import { Bounded } from '../policy/bounded.js';
import type { Profile } from '../policy/profile.js';
import { claimAt, parseTemplate } from '../policy/templates.js';
import { type ProfileTool, presented } from '../policy/tools.js';
import type { JsonObject } from '../protocol/event.js';
import { parseStrict } from '../protocol/json.js';
import type { Question } from '../tools/asking.js';
import { createTool } from '../tools/making.js';
import type { ToolCall, ToolResult } from '../tools/tool.js';
import { createScopes } from '../upstream/scoped.js';
import { type CliCommand, exitCodes, options, UsageError } from './command.js';
import { complain, print } from './print.js';

/** Shows tools, and tries one. */
export const toolsCommand: CliCommand = {
  help: `  tools list            show the tools of each profile as the model sees them
        [--profile <name>]
  tools call <name>     call a tool as a session would, and show what is asked, answered and told
        [--args <json>] [--claims <json>] [--profile <name>]`,
  async run(args) {
    const { values, positionals } = options(
      args,
      { profile: { type: 'string' }, args: { type: 'string', default: '' }, claims: { type: 'string', default: '{}' } },
      true,
    );
    const [verb, name, ...more] = positionals;
    if (more.length > 0) throw new UsageError('tools: too many words; --args takes its JSON in quotes.');
    if (verb === 'list' && name === undefined) return list(loadConfig(process.env), values.profile);
    if (verb !== 'call' || name === undefined) throw new UsageError('tools: expected "list", or "call" and a name.');
    const claims = claimsIn(values.claims);
    const settings = loadConfig(process.env);
    const { tool } = find(settings, name, values.profile);
    return call(settings, tool, values.args, claims);
  },
};

function claimsIn(text: string): JsonObject {
  try {
    return parseStrict(text);
  } catch (error) {
    throw new UsageError(`tools: --claims must be a JSON object, but ${(error as Error).message}.`);
  }
}

function profilesOf({ profiles }: Settings, name: string | undefined): Profile[] {
  const chosen = [...profiles.values()].filter((profile) => name === undefined || profile.name === name);
  if (chosen.length === 0) throw new UsageError(`tools: there is no profile ${name}.`);
  return chosen;
}

function list(settings: Settings, only: string | undefined): number {
  for (const { name, session, tools, client } of profilesOf(settings, only)) {
    print(`profile ${name}:`);
    for (const tool of tools) {
      const { description, parameters } = presented(tool);
      print(`  ${tool.name} (${tool.runs})`);
      if (description !== undefined) print(`    ${description}`);
      if (parameters !== undefined) print(`    ${JSON.stringify(parameters)}`);
    }
    const others = client.trust === 'trusted' ? 'run by the client' : 'nobody runs it';
    // Those of upstream's own may hold credentials, and are told by their names.
    for (const { type, name: own, server_label: label } of session.tools ?? []) {
      print(type === 'mcp' ? `  ${String(label)} (MCP, run by the upstream)` : `  ${String(own)} (${others})`);
    }
  }
  return exitCodes.ok;
}

/** The tool of this name in the profile that was named, or in the only one that has it. */
function find(settings: Settings, name: string, only: string | undefined): { tool: ProfileTool } {
  const found = profilesOf(settings, only).flatMap(({ name: profile, tools }) =>
    tools.filter((tool) => tool.name === name).map((tool) => ({ profile, tool })),
  );
  const [first, second] = found;
  if (!first)
    throw new UsageError(`tools: there is no tool ${name}${only ? ` in profile ${only}` : ''}; see "tools list".`);
  const chosen = second ? found.find(({ profile }) => profile === 'default') : first;
  if (!chosen) throw new UsageError(`tools: several profiles have a tool ${name}; name one with --profile.`);
  return chosen;
}

async function call(settings: Settings, configured: ProfileTool, args: string, claims: JsonObject): Promise<number> {
  const hide = hiding(configured);
  const scopes = createScopes(settings.entra, (scope, { error }) => {
    if (error instanceof Error) complain(`no token for ${scope}: ${error.message}`);
  });
  const watch = {
    asked: ({ method = 'GET', url, headers, body }: Question) => {
      print(`request ${method} ${String(url)}`);
      for (const [name, value] of Object.entries(headers)) print(`  ${name}: ${hide(name, value)}`);
      if (body !== undefined) print(`  ${body}`);
    },
    answered: ({ status, body }: OutboundAnswer) => {
      print(`answer HTTP ${status}, ${body.length} bytes`);
      if (body.length > 0) print(`  ${body.toString().slice(0, maxShown)}`);
    },
  };
  const { run } = createTool(configured, { proxy: settings.proxy, credentials: scopes, watch });
  if (!run) throw new UsageError(`tools: ${configured.name} is run by a ${configured.runs}, not by the relay.`);
  const started = performance.now();
  const result = await run(callOf(settings, configured, args, claims), new AbortController().signal);
  scopes.close();
  tell(result, performance.now() - started);
  return result.outcome === 'ok' ? exitCodes.ok : exitCodes.failed;
}

const maxShown = 16_384;
const masked = '********';

/** What of a header may be shown: nothing of a credential, and of what is configured only what comes from claims. */
function hiding(tool: ProfileTool): (name: string, value: string) => string {
  const headers = tool.runs === 'http' ? Object.entries(tool.http.headers) : [];
  const written = new Map(headers.map(([name, text]) => [name.toLowerCase(), parseTemplate(text)]));
  return (name, value) => {
    if (name === 'authorization' || name === 'api-key') return masked;
    const template = written.get(name);
    if (!template) return value;
    const own = template.filter((piece) => typeof piece === 'string');
    return own.length === template.length ? masked : own.reduce((text, piece) => text.replace(piece, masked), value);
  };
}

/** A call of somebody who has these claims. What is cited counts as found: there was no search before. */
function callOf({ auth }: Settings, tool: ProfileTool, args: string, claims: JsonObject): ToolCall {
  const citable = new Bounded<true>(200);
  for (const id of citedIn(args)) citable.set(id, true);
  const [issuer] = auth.issuers;
  const tenant = issuer?.claims.tenant.map((name) => claimAt(claims, name)).find((value) => typeof value === 'string');
  return {
    name: tool.name,
    callId: 'call_by_hand',
    arguments: args,
    session: { id: 'sess_by_hand', citable },
    requestId: 'by-hand',
    principal: {
      issuer: typeof claims.iss === 'string' ? claims.iss : ([...(issuer?.names.keys() ?? [])][0] ?? ''),
      tenant: typeof tenant === 'string' ? tenant : null,
      subject: typeof claims.sub === 'string' ? claims.sub : 'somebody',
      claims,
    },
  };
}

function citedIn(args: string): string[] {
  return args.match(/[\w=-]+/g) ?? [];
}

function tell({ outcome, output, result, error }: ToolResult, ms: number): void {
  print(`the model is told: ${output === '' ? '(nothing)' : output}`);
  print(`the client is told: ${result === undefined ? '(nothing)' : JSON.stringify(result)}`);
  if (error) print(`why: ${error.kind}: ${error.message}`);
  print(`${outcome} in ${Math.round(ms)} ms`);
}
