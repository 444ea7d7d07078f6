import { describe, expect, it } from 'vitest';
import { createMetrics } from '../../src/telemetry/metrics.js';

describe('what is counted per event', () => {
  it('is published as Prometheus samples when it is scraped', async () => {
    const metrics = createMetrics({ process: false });
    metrics.traffic.up.event('input_audio_buffer.append', 'forward');
    metrics.traffic.up.event('input_audio_buffer.append', 'forward');
    metrics.traffic.down.event('made.up.by.someone', 'drop');
    metrics.traffic.up.bytes += 4300;
    metrics.traffic.up.latency.observe(0.00012);
    metrics.traffic.up.latency.observe(7);
    const lines = (await metrics.registry.metrics()).split('\n');
    for (const line of [
      'relay_events_total{direction="up",type="input_audio_buffer.append",decision="forward"} 2',
      'relay_events_total{direction="down",type="other",decision="drop"} 1',
      'relay_bytes_total{direction="up"} 4300',
      'relay_added_latency_seconds_bucket{direction="up",le="0.0001"} 0',
      'relay_added_latency_seconds_bucket{direction="up",le="0.00015"} 1',
      'relay_added_latency_seconds_bucket{direction="up",le="+Inf"} 2',
      'relay_added_latency_seconds_count{direction="up"} 2',
      'relay_added_latency_seconds_sum{direction="up"} 7.00012',
    ]) {
      expect(lines).toContain(line);
    }
  });

  it('does not change because it was scraped', async () => {
    const metrics = createMetrics({ process: false });
    metrics.traffic.up.event('response.create', 'rebuild');
    expect(await metrics.registry.metrics()).toBe(await metrics.registry.metrics());
  });
});
