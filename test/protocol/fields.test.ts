import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { isObject, type Json, type JsonObject } from '../../src/protocol/event.js';
import { previewClient } from '../../src/protocol/translate/client-end.js';
import { bench, created, userItem } from '../policy/bench.js';
import { declarationsOf, membersOf, type Type } from '../support/declarations.js';
import { recordingPorts, run } from './fixtures/sequences.js';

type Structure = Extract<Type, { kind: 'object' }>;

/** The events of a generation by their types, as the vendor's client for it describes them. */
function eventsOf(file: string): Map<string, Structure> {
  const path = fileURLToPath(new URL(`../../node_modules/openai/resources/${file}`, import.meta.url));
  const structures = membersOf(declarationsOf(path)('RealtimeServerEvent')).filter(isStructure);
  return new Map(
    structures.map((one) => {
      const type = one.fields.get('type');
      return [type?.kind === 'literal' ? type.value : '', one];
    }),
  );
}

function isStructure(type: Type): type is Structure {
  return type.kind === 'object' && type.fields.size > 0;
}

function elementOf(type: Type): Type | undefined {
  return membersOf(type).flatMap((one) => (one.kind === 'list' ? [one.of] : []))[0];
}

/** Ids that the client has been shown. */
const ids: Readonly<Record<string, string>> = {
  item_id: 'item_1',
  previous_item_id: 'item_0',
  response_id: 'resp_1',
  event_id: 'event_1',
};

/** A value of a type with every field there is; of a list one element for each kind. */
function sample(type: Type, key = ''): Json {
  const all = membersOf(type);
  const element = elementOf(type);
  if (element !== undefined) return membersOf(element).map((one) => sample(one, key));
  const structure = all.find(isStructure);
  if (structure !== undefined) {
    return Object.fromEntries([...structure.fields].map(([name, field]) => [name, sample(field, name)]));
  }
  const literal = all.find((one) => one.kind === 'literal');
  if (literal) return literal.value;
  const digits = all.find((one) => one.kind === 'plain' && /^\d+$/.test(one.name));
  if (digits?.kind === 'plain') return Number(digits.name);
  const is = (name: string) => all.some((one) => one.kind === 'plain' && one.name === name);
  if (is('number')) return 1;
  if (is('boolean')) return true;
  return is('string') ? (ids[key] ?? 'word') : {};
}

/** Paths of fields in `value` that the type does not have, and of those that `given` had and `value` lost. */
function differences(value: Json | undefined, type: Type, given: Json | undefined, at = ''): string[] {
  if (Array.isArray(value)) {
    const element = elementOf(type);
    const before = Array.isArray(given) ? given : [];
    return element ? value.flatMap((one, index) => differences(one, element, before[index], `${at}[].`)) : [];
  }
  if (!isObject(value)) return [];
  const fitting = membersOf(type)
    .filter(isStructure)
    .filter(({ fields }) => {
      const kinds = membersOf(fields.get('type') ?? { kind: 'plain', name: 'any' });
      return (
        kinds.every(({ kind }) => kind !== 'literal') ||
        kinds.some((one) => one.kind === 'literal' && one.value === value.type)
      );
    });
  if (fitting.length === 0) return [];
  const has = (key: string) => fitting.map(({ fields }) => fields.get(key)).find((one) => one !== undefined);
  const before = isObject(given) ? given : {};
  return [
    ...Object.keys(value)
      .filter((key) => has(key) === undefined)
      .map((key) => `+ ${at}${key}`),
    ...Object.keys(before)
      .filter((key) => has(key) !== undefined && value[key] === undefined)
      .map((key) => `- ${at}${key}`),
    ...Object.keys(value).flatMap((key) => {
      const inner = has(key);
      return inner === undefined ? [] : differences(value[key], inner, before[key], `${at}${key}.`);
    }),
  ];
}

/** What a trusted client with a profile that sets nothing is shown of one event. */
function shown(event: JsonObject): JsonObject[] {
  const session = bench({ client: { trust: 'trusted' } });
  session.all(created('resp_1'));
  const item = isObject(event.item) ? event.item : {};
  for (const id of ['item_0', 'item_1']) {
    session.down({ type: 'conversation.item.added', previous_item_id: null, item: userItem(id) });
  }
  session.up({ type: 'conversation.item.retrieve', item_id: String(item.id) });
  session.up({ type: 'session.update', session: { type: 'realtime', truncation: 'auto' } });
  return session.down(event);
}

const ga = eventsOf('realtime/realtime.d.ts');
const preview = eventsOf('beta/realtime/realtime.d.ts');

/** GA events with every kind of item. */
const events = [...ga].flatMap(([type, structure]): JsonObject[] => {
  const event: JsonObject = { ...(sample(structure) as JsonObject), type };
  if (isObject(event.response)) event.response.id = 'resp_1';
  const kinds = membersOf(structure.fields.get('item') ?? { kind: 'union', of: [] }).filter(isStructure);
  if (kinds.length === 0) return [event];
  return kinds.map((kind) => ({ ...event, item: { ...(sample(kind) as JsonObject), id: 'item_1' } }));
});

/** What is as it is on purpose; the definitions leave out a part of what services send. */
const known: readonly RegExp[] = [
  // A part of text has no sound, whatever the one definition of all parts says.
  /^- .*content\.\[\]\.(audio|transcript)$/,
  // Only who asks upstream for them gets probabilities of words.
  /^- logprobs$/,
  /^\+ event_id$/,
  /^\+ response\.status_details\.error\.message$/,
  /^\+ response\.usage\.input_token_details\.cached_tokens_details$/,
  /^\+ session\.(object|id|expires_at)$/,
  // How upstream reaches a server of tools, and with what, is for nobody else.
  /^- session\.tools\.\[\]\.(authorization|connector_id|headers|server_url|tunnel_id)$/,
];

function unknown(found: readonly string[]): string[] {
  return found.filter((one) => !known.some((pattern) => pattern.test(one)));
}

describe('what upstream says', () => {
  it('is read from the official types', () => {
    expect([ga.size > 40, preview.size > 30, events.length > 60]).toEqual([true, true, true]);
  });
  it.each(events)('reaches a GA client with all its fields: $type', (event) => {
    const found = shown(event).flatMap((one) => differences(one, ga.get(String(one.type)) as Structure, event));
    expect(unknown(found)).toEqual([]);
  });
  it.each(events)('reaches a preview client with the fields of preview: $type', (event) => {
    const translated = run(previewClient(recordingPorts()).toClient, shown(event));
    const found = translated.flatMap((one) => {
      const type = preview.get(String(one.type));
      return type === undefined ? [`+ ${one.type}`] : differences(one, type, event);
    });
    expect(unknown(found)).toEqual([]);
  });
});
