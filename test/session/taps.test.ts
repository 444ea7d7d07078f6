import { expect, it, onTestFinished } from 'vitest';
import { eventOf } from '../../src/protocol/event.js';
import { createTaps } from '../../src/session/taps.js';

const event = eventOf({ type: 'response.done' });

it('shows each tap what passes where it listens, and passes it on unchanged', () => {
  const taps = createTaps();
  const seen: string[] = [];
  const before = taps.step('before');
  expect(before(event)).toBe(event);
  const remove = taps.add({ before: ({ type }) => seen.push(`one ${type}`) });
  taps.add({ before: ({ type }) => seen.push(`other ${type}`), after: () => seen.push('after') });
  expect(before(event)).toBe(event);
  expect(taps.step('passed')(event)).toBe(event);
  remove?.();
  expect(before(event)).toBe(event);
  expect(seen).toEqual(['one response.done', 'other response.done', 'other response.done']);
});

it('lets one go that throws, and nobody else notices', async () => {
  const warned = new Promise<Error>((resolve) => {
    process.once('warning', resolve);
    onTestFinished(() => void process.off('warning', resolve));
  });
  const taps = createTaps();
  const seen: string[] = [];
  taps.add({
    came() {
      seen.push('bad');
      throw new Error('a fault of a tap');
    },
  });
  taps.add({ came: () => seen.push('good') });
  const came = taps.step('came');
  expect([came(event), came(event)]).toEqual([event, event]);
  expect(seen).toEqual(['bad', 'good', 'good']);
  expect((await warned).message).toBe('a fault of a tap');
});

it('takes no more than there may be, and one again when another has gone', () => {
  const taps = createTaps();
  const added = Array.from({ length: 64 }, () => taps.add({}));
  expect(added).not.toContain(null);
  expect(taps.add({})).toBeNull();
  added[0]?.();
  expect(taps.add({})).not.toBeNull();
});
