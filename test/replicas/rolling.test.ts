import { expect, it } from 'vitest';
import { hasRedis, startRedis } from '../support/redis.js';
import { hasProxy, replaceReplicas } from '../support/rolling.js';

const isPossible = (hasRedis && hasProxy) || process.env.CI !== undefined;
if (!hasProxy) console.warn('haproxy is not installed: the rolling restart behind it is skipped.');
const redis = isPossible ? await startRedis() : null;

it.skipIf(!redis)(
  'three replicas are replaced behind HAProxy while twelve users talk, and no answer is lost',
  async () => {
    const { answered, lost, refused, ends } = await replaceReplicas(redis as NonNullable<typeof redis>, { users: 12 });
    expect({ lost, ends: Object.keys(ends) }).toEqual({ lost: 0, ends: ['1012 draining'] });
    // Who comes in as a replica begins to drain may have to come again.
    expect(refused).toBeLessThan(12);
    expect(answered).toBeGreaterThanOrEqual(24);
  },
  60_000,
);
