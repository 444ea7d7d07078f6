/** What becomes of the messages for webhooks. */

import { Counter, type Registry } from 'prom-client';
import type { DeliveryOutcome } from './labels.js';

/** Counts them, and usage records for the older one by themselves. */
export function countDeliveries(registers: Registry[]) {
  const usageRecords = new Counter({
    name: 'relay_usage_records_total',
    help: 'Usage records for the webhook by what became of them',
    labelNames: ['outcome'],
    registers,
  });
  const deliveries = new Counter({
    name: 'relay_webhook_deliveries_total',
    help: 'Messages for webhooks by what became of them',
    labelNames: ['outcome'],
    registers,
  });
  // There from the start, so that the first one that failed is an increase.
  for (const outcome of ['delivered', 'failed', 'dropped']) deliveries.inc({ outcome }, 0);
  return {
    webhookDelivered: (outcome: DeliveryOutcome): void => deliveries.inc({ outcome }),
    usageRecord: (outcome: DeliveryOutcome): void => usageRecords.inc({ outcome }),
  };
}
