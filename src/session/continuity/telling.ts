/** What is told of a replacement: to the client that wants to know, to the log and the metrics. */

import type { ReplacementTrigger } from '../../telemetry/labels.js';
import type { Memory } from './memory.js';
import type { Next } from './next.js';
import type { ContinuityPorts } from './ports.js';

/** What a session had lost of its conversation, all in all. */
export interface LostSoFar {
  readonly items: number;
  readonly bytes: number;
}

/** How it went. */
interface Went {
  readonly trigger: ReplacementTrigger;
  /** Whether an answer was cut off. */
  readonly isCut: boolean;
  readonly startedAt: number;
  readonly before: LostSoFar;
}

/** Tells of one; gives what is lost by now. */
export function report(
  { metrics, chronicle, front }: ContinuityPorts,
  { attachment, mirror }: Next,
  { shadow, microphone, journal }: Memory,
  { trigger, isCut, startedAt, before }: Went,
): LostSoFar {
  const now = { items: shadow.lost + journal.lost, bytes: microphone.lostBytes };
  const items = now.items - before.items + mirror.lost + mirror.sounds.size;
  const lost = { items, audio_ms: Math.round((now.bytes - before.bytes) / microphone.bytesPerMs) };
  const isFull = !isCut && items === 0 && now.bytes === before.bytes;
  const continuity = isFull ? 'full' : 'transcript_only';
  const gapMs = Math.round(performance.now() - startedAt);
  metrics.replaced(trigger, 'ok', gapMs / 1000);
  chronicle.replaced(attachment.reached, { trigger, continuity, gapMs, turnInterrupted: isCut, lost });
  front.notify('relay.upstream_replaced', { trigger, continuity, turn_interrupted: isCut, gap_ms: gapMs, lost });
  return now;
}
