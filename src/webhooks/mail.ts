/** All that the relay sends on its own: records of usage to their webhook, and messages to the others. */

import type { Clock } from '../clock.js';
import { type ProxySettings, proxyFor } from '../outbound/proxy.js';
import type { Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { UsageRecord } from '../telemetry/usage.js';
import { Delivery, type Webhook } from './delivery.js';
import { type WebhookSettings, Webhooks } from './webhooks.js';

/** What is on its way. */
export interface Mail {
  readonly webhooks: Webhooks;
  /** Bytes of what waits. */
  bytes(): number;
  /** Sends what a session cost to the webhook for that, where there is one. */
  used(record: UsageRecord): void;
  /** Has this long to deliver what waits. */
  close(ms: number): Promise<void>;
}

/** For messages, however long the drain has taken. */
const leastMs = 5000;

/** Makes it for one process. */
export function createMail(
  settings: {
    readonly usageWebhook: Webhook | null;
    readonly webhooks: readonly WebhookSettings[];
    readonly proxy: ProxySettings;
  },
  { clock, log, metrics }: { clock: Clock; log: Log; metrics: Metrics },
): Mail {
  const { usageWebhook, proxy } = settings;
  const proxyOf = (url: string) => proxyFor(new URL(url), proxy);
  const delivery =
    usageWebhook && new Delivery(usageWebhook, { log, counted: metrics.usageRecord, proxy: proxyOf(usageWebhook.url) });
  const services = { clock, log, counted: metrics.webhookDelivered, proxyFor: proxyOf };
  const webhooks = new Webhooks(settings.webhooks, services);
  return {
    webhooks,
    bytes: () => webhooks.bytes + (delivery?.bytes ?? 0),
    used: (record) => delivery?.send(record),
    async close(ms) {
      await Promise.all([delivery?.close(ms), webhooks.close(ms === 0 ? 0 : Math.max(ms, leastMs))]);
    },
  };
}
