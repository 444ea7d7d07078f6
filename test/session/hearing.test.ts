import { expect, it } from 'vitest';
import { RelayError } from '../../src/errors.js';
import type { Attachment } from '../../src/session/attachment.js';
import { fromUpstream, type HearingPorts } from '../../src/session/hearing.js';

/** A session with an attachment, and another that it has replaced; what becomes of both. */
function replaced() {
  const told: string[] = [];
  const attached = (name: string) =>
    ({
      reached: {},
      down: { wasted: () => undefined },
      finish: () => told.push(`${name} settles`),
    }) as unknown as Attachment;
  const [old, current] = [attached('old'), attached('current')];
  const tell = (what: string) => () => void told.push(what);
  const ports = {
    metrics: { held: tell('held') },
    up: { drained: tell('drained') },
    failures: {
      came: tell('came'),
      odd: tell('odd'),
      unforeseen: tell('unforeseen'),
      upstreamClosed: tell('closed'),
    },
    attachment: () => current,
    end: tell('end'),
  } as unknown as HearingPorts;
  const fail = (of: Attachment) => {
    const leg = fromUpstream(of, ports);
    leg.unreadable(new Error('no event'), 10, 0);
    leg.binary();
    leg.violated(new RelayError('upstream_failed', 'too many pings'), 1008);
    leg.failed(new Error('unforeseen'));
    leg.closed(1006, '');
  };
  return { told, fail, old, current };
}

it('a leg to upstream that fails tells its session', () => {
  const { told, fail, current } = replaced();
  fail(current);
  expect(told).toEqual(['came', 'odd', 'end', 'unforeseen', 'closed']);
});

it('a leg to upstream that was replaced only settles, whatever becomes of it', () => {
  const { told, fail, old } = replaced();
  fail(old);
  expect(new Set(told)).toEqual(new Set(['old settles']));
});
