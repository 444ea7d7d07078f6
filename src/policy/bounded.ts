/** Adds to a map that may hold `limit` entries at most; the oldest makes room. */
export function remember<V>(map: Map<string, V>, key: string, value: V, limit: number): void {
  if (map.size >= limit && !map.has(key)) {
    const [oldest] = map.keys();
    if (oldest !== undefined) map.delete(oldest);
  }
  map.set(key, value);
}
