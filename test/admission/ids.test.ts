import { describe, expect, it } from 'vitest';
import { orderedUuid, publicId } from '../../src/uuid.js';

describe('the id of a request', () => {
  it('is a UUID of version 7 that tells when it was made', () => {
    const id = orderedUuid(Date.now());
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(Math.abs(Number.parseInt(id.replace('-', '').slice(0, 12), 16) - Date.now())).toBeLessThan(1000);
  });

  it('comes after every earlier one, also of the same millisecond and of a clock that was set back', () => {
    const now = Date.now() + 10_000;
    const times = [...Array.from({ length: 5000 }, () => now), now - 60_000, now, now + 1];
    const ids = times.map((ms) => orderedUuid(ms));
    expect([...ids].sort()).toEqual(ids);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('is that of its session or call, in the form that clients know', () => {
    const id = orderedUuid();
    expect(publicId('sess', id)).toBe(`sess_${id.split('-').join('')}`);
    expect(publicId('call', id)).toMatch(/^call_[0-9a-f]{32}$/);
  });
});
