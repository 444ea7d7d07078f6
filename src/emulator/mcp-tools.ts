/** The tools of MCP servers, as the service finds them: it asks each server of a session once, and tells what it found. */
import type { JsonObject } from '../protocol/event.js';
import type { McpTool } from './answer.js';
import { newId } from './ids.js';
import { isObject } from './schema.js';
import type { Conversation, Item } from './thread.js';

/** What it takes to look for tools. */
export interface Search {
  readonly conversation: Conversation;
  /** How long a server takes to answer, in milliseconds of the clock. */
  readonly listMs: number;
  emit(event: JsonObject): void;
  /** Whether the next server does not answer. */
  fails(): boolean;
  after(ms: number, act: () => void): void;
}

/** Of a server whose configuration names no tools. */
const unnamed = ['lookup'];
const inputSchema = { type: 'object', properties: {}, additionalProperties: true };

/** The servers of one session. */
export class McpServers {
  readonly #search: Search;
  readonly #asked = new Set<string>();
  readonly #found = new Set<string>();

  constructor(search: Search) {
    this.#search = search;
  }

  /** Asks the servers among these tools that were not asked before. */
  configure(tools: readonly JsonObject[]): void {
    for (const tool of tools) {
      const label = String(tool.server_label);
      if (tool.type !== 'mcp' || this.#asked.has(label)) continue;
      this.#asked.add(label);
      this.#ask(tool, label);
    }
  }

  /** The tools among these that can be used by now. */
  usable(tools: readonly JsonObject[]): McpTool[] {
    return tools
      .filter(({ type, server_label }) => type === 'mcp' && this.#found.has(String(server_label)))
      .flatMap((tool) =>
        namesOf(tool).map((name) => ({ label: String(tool.server_label), name, asks: asksFor(tool, name) })),
      );
  }

  #ask(tool: JsonObject, label: string): void {
    const { conversation, emit, listMs } = this.#search;
    const shown = { id: newId('item'), type: 'mcp_list_tools', server_label: label, tools: [] };
    const item: Item = { id: shown.id, shown, heard: null, spoken: null };
    const previous_item_id = conversation.lastId;
    const fails = this.#search.fails();
    conversation.insert(item);
    emit({ type: 'conversation.item.added', previous_item_id, item: shown });
    emit({ type: 'mcp_list_tools.in_progress', item_id: item.id });
    this.#search.after(listMs, () => {
      if (!fails) {
        this.#found.add(label);
        const tools = namesOf(tool).map((name) => ({
          name,
          description: `The tool ${name} of ${label}.`,
          input_schema: inputSchema,
          annotations: null,
        }));
        item.shown = { ...item.shown, tools };
      }
      emit({ type: `mcp_list_tools.${fails ? 'failed' : 'completed'}`, item_id: item.id });
      emit({ type: 'conversation.item.done', previous_item_id, item: item.shown });
    });
  }
}

function namesOf({ allowed_tools: allowed }: JsonObject): readonly string[] {
  const names = isObject(allowed) ? allowed.tool_names : allowed;
  return Array.isArray(names) && names.length > 0 ? names.map(String) : unnamed;
}

/** Somebody has to approve a call unless the configuration says never. Source: OpenAI's API reference. */
function asksFor({ require_approval: rule }: JsonObject, name: string): boolean {
  if (!isObject(rule)) return rule !== 'never';
  const never = isObject(rule.never) ? rule.never.tool_names : null;
  return !(Array.isArray(never) && never.includes(name));
}
