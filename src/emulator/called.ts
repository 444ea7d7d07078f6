/** What the emulated model calls: as scripted, as the user's words name it, or to find what was asked for. */
import type { Json, JsonObject } from '../protocol/event.js';
import type { Output, Question } from './answer.js';
import { type Said, userWords } from './said.js';
import { isObject } from './schema.js';
import type { McpCall, Script, ScriptedMcp } from './script.js';

/** The calls of a script. Where tools may not be used there are none, whatever the script says. */
export function scriptedCalls({ functionCall, mcp, mcpApproval }: Script, { toolChoice }: Question): Output[] {
  if (toolChoice === 'none') return [];
  const functions = listOf(functionCall).map(
    (call): Output => ({ kind: 'call', name: call.name, arguments: textOf(call.arguments), ms: call.ms ?? null }),
  );
  const remote = listOf(mcp).map((call) => remoteCall(call, null));
  return [...functions, ...remote, ...listOf(mcpApproval).map(approvalRequest)];
}

/** What the model calls by itself, or null. */
export function ownCall(question: Question, said: Said): Output | null {
  const { toolChoice } = question;
  if (toolChoice === 'none') return null;
  if (said.kind === 'approval') return approvedCall(said.request, said.approves);
  // A tool's output is answered in words even when a call is required: nobody could end such a loop.
  const words = userWords(said) ?? (said.kind === 'nothing' ? '' : null);
  if (words === null) return null;
  return functionCall(question, words) ?? mcpCall(question, words);
}

/** The ids of search results in a tool's output that are to be named to a function that takes them, or null. */
export function citation({ tools, toolChoice }: Question, said: Said): Output | null {
  const ids = hitsIn(said).map(({ id }) => id);
  const tool = tools.find((one) => takesOnly(one, 'sources', 'array'));
  if (!tool || ids.length === 0 || toolChoice === 'none') return null;
  return callOf(tool, JSON.stringify({ sources: ids }));
}

/** The results of a search in a tool's output: a name in brackets, text, and a line of dashes behind each. */
export function hitsIn(said: Said): { id: string; text: string }[] {
  if (said.kind !== 'tool_output') return [];
  const hits = said.text.split(/\n-----(?:\s+|$)/).map((hit) => /^\[([^\]]+)\]:\s*([\s\S]+)$/.exec(hit));
  return hits.flatMap((hit) => (hit ? [{ id: String(hit[1]), text: String(hit[2]) }] : []));
}

function functionCall({ tools, toolChoice }: Question, words: string): Output | null {
  const functions = tools.filter((tool) => tool.type === 'function');
  if (isObject(toolChoice)) {
    const chosen = functions.find(({ type, name }) => type === toolChoice.type && name === toolChoice.name);
    return chosen ? callOf(chosen, argumentsFor(chosen, words)) : null;
  }
  const named = functions.find(({ name }) => names(words, String(name)));
  if (named) return callOf(named, argumentsFor(named, words));
  const finder = words.trim().endsWith('?') && functions.find((tool) => takesOnly(tool, 'query', 'string'));
  if (finder) return callOf(finder, JSON.stringify({ query: words }));
  const any = toolChoice === 'required' ? functions[0] : undefined;
  return any ? callOf(any, argumentsFor(any, words)) : null;
}

function callOf(tool: JsonObject, given: string): Output {
  return { kind: 'call', name: String(tool.name), arguments: given, ms: null };
}

/** A tool of a server that was named; the service asks first unless it was told never to. */
function mcpCall({ mcpTools, toolChoice }: Question, words: string): Output | null {
  const isBound = isObject(toolChoice) && toolChoice.type === 'mcp';
  const found = isBound
    ? mcpTools.find(({ label, name }) => label === toolChoice.server_label && name === (toolChoice.name ?? name))
    : mcpTools.find(({ name }) => names(words, name));
  if (!found) return null;
  const call = { server_label: found.label, name: found.name, arguments: spelledOut(words) ?? '{}' };
  return found.asks ? approvalRequest(call) : remoteCall({ ...call, output: `Result of ${found.name}` }, null);
}

function approvedCall(request: JsonObject, approves: boolean): Output | null {
  if (!approves || request.type !== 'mcp_approval_request') return null;
  const name = String(request.name);
  const call = { server_label: String(request.server_label), name, arguments: request.arguments ?? '{}' };
  return remoteCall({ ...call, output: `Result of ${name}` }, String(request.id));
}

function remoteCall(call: ScriptedMcp, approvalId: string | null): Output {
  const { server_label: label, name, ms = 0, done_first: doneFirst = false } = call;
  const error =
    typeof call.error === 'string' ? { type: 'tool_execution_error', message: call.error } : (call.error ?? null);
  const output = error === null ? (call.output ?? '') : null;
  return { kind: 'mcp', label, name, arguments: textOf(call.arguments), output, error, ms, doneFirst, approvalId };
}

function approvalRequest(call: McpCall): Output {
  return { kind: 'approval', label: call.server_label, name: call.name, arguments: textOf(call.arguments) };
}

/** Whether the text has the tool's name in it, as a word or, for `get_weather`, as words. */
function names(text: string, tool: string): boolean {
  const plain = (words: string) => ` ${words.toLowerCase().replaceAll(/[^a-z0-9]+/g, ' ')} `;
  return plain(text).includes(plain(tool));
}

/** Whether a function has this one parameter and no other. */
function takesOnly({ type, parameters }: JsonObject, name: string, kind: 'string' | 'array'): boolean {
  if (type !== 'function' || !isObject(parameters) || !isObject(parameters.properties)) return false;
  const [only, ...others] = Object.entries(parameters.properties);
  return others.length === 0 && only?.[0] === name && isObject(only[1]) && only[1].type === kind;
}

/** JSON that the user spelled out, or a value of each property the tool's schema has. */
function argumentsFor(tool: JsonObject, words: string): string {
  return spelledOut(words) ?? JSON.stringify(sample(tool.parameters, 0) ?? {});
}

function spelledOut(words: string): string | null {
  const spelled = words.slice(words.indexOf('{'), words.lastIndexOf('}') + 1);
  return spelled !== '' && isJson(spelled) ? spelled : null;
}

function sample(schema: Json | undefined, depth: number): Json {
  if (!isObject(schema) || depth > 4) return null;
  if (schema.const !== undefined) return schema.const;
  if (Array.isArray(schema.enum)) return schema.enum[0] ?? null;
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  if (type === 'string') return 'example';
  if (type === 'number' || type === 'integer') return typeof schema.minimum === 'number' ? schema.minimum : 1;
  if (type === 'boolean') return true;
  if (type === 'array') return [];
  if (!isObject(schema.properties)) return type === 'object' ? {} : null;
  const entries = Object.entries(schema.properties).map(([key, value]) => [key, sample(value, depth + 1)]);
  return Object.fromEntries(entries) as JsonObject;
}

function textOf(given: Json | undefined): string {
  return typeof given === 'string' ? given : JSON.stringify(given ?? {});
}

function listOf<T>(given: T | readonly T[] | undefined): readonly T[] {
  if (given === undefined) return [];
  return Array.isArray(given) ? (given as readonly T[]) : [given as T];
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
