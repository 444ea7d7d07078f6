/** What a relay says of the time that it takes itself. */

/** The 99th percentile of the latency that a relay adds, in milliseconds, by its histogram; since an earlier reading, if given. */
export async function addedLatency(
  ops: string,
  since = new Map<number, number>(),
): Promise<{ ms: number; at: Map<number, number> }> {
  const text = await (await fetch(`${ops}/metrics`)).text();
  const at = new Map<number, number>();
  for (const [, bound, count] of text.matchAll(/^relay_added_latency_seconds_bucket\{.*le="([^"]+)".*\} (\d+)$/gm)) {
    const le = bound === '+Inf' ? Number.POSITIVE_INFINITY : Number(bound);
    at.set(le, (at.get(le) ?? 0) + Number(count));
  }
  const grown = [...at].map(([le, count]) => [le, count - (since.get(le) ?? 0)] as const).sort(([a], [b]) => a - b);
  const all = grown.at(-1)?.[1] ?? 0;
  const [bound = Number.POSITIVE_INFINITY] = grown.find(([, count]) => count >= 0.99 * all) ?? [];
  return { ms: bound * 1000, at };
}
