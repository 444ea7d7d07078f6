import { describe, expect, it } from 'vitest';
import type { Dialect } from '../../src/protocol/catalogue.js';
import type { Json, JsonObject, Step } from '../../src/protocol/event.js';
import { previewClient } from '../../src/protocol/translate/client-end.js';
import { previewUpstream } from '../../src/protocol/translate/upstream-end.js';
import { recordingPorts, run, sequence, sequences } from './fixtures/sequences.js';

/** Plays a sequence in the order it happened; what comes out is sorted by direction. */
function replay(name: string, dialect: Dialect, up: readonly Step[], down: readonly Step[]) {
  const out: { up: JsonObject[]; down: JsonObject[] } = { up: [], down: [] };
  for (const { from, body } of sequence(name, dialect)) {
    const steps = from === 'C' ? up : down;
    out[from === 'C' ? 'up' : 'down'].push(...steps.reduce((bodies, step) => run(step, bodies), [body]));
  }
  return out;
}

const documented = (name: string, dialect: Dialect) => replay(name, dialect, [], []);

/** An assistant item begun before the sequence does. */
const begun = {
  type: 'conversation.item.created',
  previous_item_id: 'item_U7',
  item: { id: 'item_A6', role: 'assistant' },
};

describe('a preview client on a GA upstream', () => {
  it.each(sequences)('sends the documented GA events and sees the documented preview events of %s', (name) => {
    const ports = recordingPorts();
    const { fromClient, toClient } = previewClient(ports);
    if (name === 'manual-cancel') run(toClient, [begun]);
    expect(replay(name, 'preview', [fromClient], []).up).toStrictEqual(documented(name, 'ga').up);
    expect(replay(name, 'ga', [], [toClient]).down).toStrictEqual(documented(name, 'preview').down);
    expect(ports.refusals).toEqual([]);
  });

  it('never makes the mistake that a GA service answers with a missing session.type', () => {
    const { fromClient } = previewClient(recordingPorts());
    expect(replay('wrong-dialect', 'ga', [fromClient], []).up).toEqual([
      { type: 'session.update', event_id: 'c_9', session: { type: 'realtime', audio: { output: { voice: 'alloy' } } } },
    ]);
  });
});

/** What a GA event cannot get back after it was preview, and why. Applied to the documented GA events. */
const losses: readonly { because: string; lose: (events: JsonObject[]) => JsonObject[] }[] = [
  {
    because: 'preview usage does not count images',
    lose: (events) => events.map((body) => edit(body, ({ image_tokens: _, ...rest }) => rest)),
  },
  {
    because: 'preview items always say what they are',
    lose: (events) =>
      events.map((body) =>
        edit(body, (object) =>
          'status' in object && !('status_details' in object) ? { object: 'realtime.item', ...object } : object,
        ),
      ),
  },
  {
    because:
      'preview has no conversation.item.done, so its id and place are the relay’s: after response.output_item.done',
    lose: (events) => {
      const dones = events.filter((body) => body.type === 'conversation.item.done');
      const written = (body: JsonObject) =>
        events.find((other) => other.type === 'response.output_item.done' && idOf(other) === idOf(body));
      return events.flatMap((body) => {
        if (body.type === 'conversation.item.done' && written(body)) return [];
        return body.type === 'response.output_item.done'
          ? [body, ...dones.filter((done) => idOf(done) === idOf(body))]
          : [body];
      });
    },
  },
];

describe('a GA client on a preview upstream', () => {
  it.each(sequences)('sends the documented preview events of %s', (name) => {
    const ports = recordingPorts();
    const { toUpstream, fromUpstream } = previewUpstream(ports);
    for (const { body } of sequence(name, 'preview').slice(0, 1)) run(fromUpstream, [body]);
    expect(replay(name, 'ga', [toUpstream], []).up).toStrictEqual(documented(name, 'preview').up);
    expect(ports.refusals).toEqual([]);
  });

  it.each(sequences)('sees the documented GA events of %s, but for what preview never says', (name) => {
    const { fromUpstream } = previewUpstream(recordingPorts());
    if (name === 'manual-cancel') run(fromUpstream, [begun]);
    const shown = replay(name, 'preview', [], [fromUpstream]).down;
    const expected = losses.reduce((events, { lose }) => lose(events), documented(name, 'ga').down);
    expect(shown.map(withoutMadeId)).toStrictEqual(expected.map(withoutMadeId));
  });
});

describe('a preview client on a preview upstream', () => {
  it.each(sequences)('%s comes out of both translations as it went in', (name) => {
    const client = previewClient(recordingPorts());
    const upstream = previewUpstream(recordingPorts());
    if (name === 'manual-cancel') run(client.toClient, run(upstream.fromUpstream, [begun]));
    const up = [client.fromClient, upstream.toUpstream];
    const down = [upstream.fromUpstream, client.toClient];
    expect(replay(name, 'preview', up, down)).toStrictEqual(documented(name, 'preview'));
  });
});

function idOf(body: JsonObject): Json | undefined {
  return (body.item as JsonObject).id;
}

function withoutMadeId(body: JsonObject): JsonObject {
  return body.type === 'conversation.item.done' ? { ...body, event_id: 'any' } : body;
}

/** A copy with every object in it edited. */
function edit(value: JsonObject, change: (object: JsonObject) => JsonObject): JsonObject {
  const walk = (inner: Json): Json => {
    if (Array.isArray(inner)) return inner.map(walk);
    if (typeof inner !== 'object' || inner === null) return inner;
    return change(Object.fromEntries(Object.entries(inner).map(([key, each]) => [key, walk(each as Json)])));
  };
  return walk(value) as JsonObject;
}
