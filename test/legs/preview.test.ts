import { describe, expect, it, vi } from 'vitest';
import type { Leg, LegEvents } from '../../src/legs/leg.js';
import { asPreviewClient, asPreviewUpstream } from '../../src/legs/preview.js';
import { eventOf, type JsonObject, type RealtimeEvent } from '../../src/protocol/event.js';
import { refusalIn } from '../../src/protocol/refused.js';

/** A leg inside of one that speaks preview: what it is given, and what it says that came. */
function around(wrap: (leg: Leg) => Leg) {
  const sent: (JsonObject | null)[] = [];
  const told: unknown[][] = [];
  let inner: LegEvents | null = null;
  const leg = wrap({
    start: (on: LegEvents) => {
      inner = on;
    },
    send: ({ body }: RealtimeEvent) => void sent.push(body),
    close: vi.fn(({ event }) => sent.push(event)),
  } as unknown as Leg);
  const on = {
    event: ({ body }: RealtimeEvent, bytes: number) => told.push([body, bytes]),
    untranslated: (refusal: unknown, bytes: number) => told.push([refusal, bytes]),
  } as unknown as LegEvents;
  leg.start(on);
  return { leg, sent, told, came: (body: JsonObject, bytes: number) => inner?.event(eventOf(body), bytes, 1) };
}

const user = { type: 'message', role: 'user', content: [{ type: 'input_image', image_url: 'data:,' }] };

describe('a leg to a client of preview', () => {
  it('tells each event of a message, and its bytes with the first', () => {
    const { came, told } = around((leg) => asPreviewClient(leg, null));
    came({ type: 'response.create', event_id: 'mine', response: { commit: true } }, 50);
    expect(told).toEqual([
      [{ type: 'input_audio_buffer.commit', event_id: 'mine' }, 50],
      [expect.objectContaining({ type: 'response.create', event_id: 'mine' }), 0],
    ]);
  });

  it('tells what cannot be said in GA, and that it came', () => {
    const { came, told } = around((leg) => asPreviewClient(leg, null));
    const item = { type: 'message', role: 'user', content: [{ type: 'item_reference', id: 'item_1' }] };
    came({ type: 'conversation.item.create', event_id: 'mine', item }, 80);
    expect(told).toEqual([
      [
        expect.objectContaining({ code: 'unsupported_by_upstream', param: 'item.content[0].type', eventId: 'mine' }),
        80,
      ],
    ]);
  });

  it('names ignored fields in words of preview', () => {
    const { leg, sent } = around((inner) => asPreviewClient(inner, null));
    leg.send(eventOf({ type: 'relay.ignored_fields', event_id: 'event_1', fields: ['session.audio.output.voice'] }));
    expect(sent).toMatchObject([{ fields: ['session.voice'] }]);
  });

  it('says its last word before it closes, and tells nothing after', () => {
    const { leg, sent, told, came } = around((inner) => asPreviewClient(inner, null));
    const error = {
      type: 'x',
      code: 'idle_timeout',
      message: 'm',
      param: 'session.audio.output.voice',
      event_id: null,
    };
    leg.close({ id: 'idle_timeout', event: eventOf({ type: 'error', event_id: 'event_1', error }) });
    expect(sent).toEqual([expect.objectContaining({ error: { ...error, param: 'session.voice' } }), null]);
    came({ type: 'response.create' }, 10);
    expect(told).toEqual([]);
  });
});

describe('a leg to an upstream of preview', () => {
  it('brings back what cannot be said as an error, known as made here, that takes no bytes', () => {
    const { leg, sent, told } = around(asPreviewUpstream);
    leg.send(eventOf({ type: 'conversation.item.create', event_id: 'rly_c1', item: user }));
    expect(sent).toEqual([]);
    const [[body, bytes]] = told as [[JsonObject, number]];
    expect(body).toMatchObject({
      type: 'error',
      event_id: expect.any(String),
      error: { code: 'unsupported_by_upstream', param: 'item.content[0].type', event_id: 'rly_c1' },
    });
    expect(bytes).toBe(0);
    expect(refusalIn(body.error)).toMatchObject({ code: 'unsupported_by_upstream', eventId: 'rly_c1' });
    expect(refusalIn(structuredClone(body.error))).toBeNull();
  });

  it('tells of a message that means nothing in GA, and passes on what comes after a refusal', () => {
    const { leg, came, told } = around(asPreviewUpstream);
    leg.send(eventOf({ type: 'conversation.item.create', item: user }));
    came({ type: 'conversation.created', event_id: 'event_1', conversation: {} }, 60);
    came({ type: 'input_audio_buffer.cleared', event_id: 'event_2' }, 40);
    expect(told.slice(1)).toEqual([
      [null, 60],
      [{ type: 'input_audio_buffer.cleared', event_id: 'event_2' }, 40],
    ]);
  });

  it('does not bring back what is said after the end', () => {
    const { leg, told } = around(asPreviewUpstream);
    leg.close({ id: 'normal', event: null });
    leg.send(eventOf({ type: 'conversation.item.create', item: user }));
    expect(told).toEqual([]);
  });
});
