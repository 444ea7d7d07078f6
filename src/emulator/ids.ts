import { randomUUID } from 'node:crypto';

/** An opaque id in the service's manner: `item_…`, `resp_…`. */
export function newId(prefix: 'event' | 'item' | 'resp' | 'call' | 'conv' | 'sess' | 'rtc'): string {
  return `${prefix}_${randomUUID().replaceAll('-', '')}`;
}
