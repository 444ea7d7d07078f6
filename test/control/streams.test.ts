import { describe, expect, it } from 'vitest';
import { createExchange } from '../../src/cluster/exchange.js';
import { type PrimaryNotice, primaryNotice, workerNotice } from '../../src/cluster/messages.js';
import { createLocalStreams, type Stream, Streams } from '../../src/control/streams.js';
import { pair } from '../support/line.js';

const kibibyte = 1024;
const piece = (bytes: number, fill = 0) => new Uint8Array(bytes).fill(fill);
/** For all that was said to be heard. */
const heard = () => new Promise((resolve) => setImmediate(resolve));

/** Processes at one primary, each with its line to it. */
function processes(...addresses: string[]) {
  const exchange = createExchange();
  const lines = addresses.map((address) => {
    const streams: Streams = new Streams({
      address,
      tell: (to, message) => near.tell({ say: 'pass', to, message }),
    });
    const { near, far } = pair(
      {
        heard(received) {
          const notice: PrimaryNotice = primaryNotice.parse(received);
          if (notice.say === 'passed') streams.receive(notice.message);
          if (notice.say === 'gone') streams.gone(notice.address);
        },
      },
      {
        heard(received) {
          const notice = workerNotice.parse(received);
          if (notice.say === 'pass') exchange.pass(notice, far);
        },
      },
    );
    exchange.add(address, far);
    return streams;
  });
  return { exchange, lines };
}

/** What comes out at an end. */
function listen(stream: Stream, takes = true) {
  const events: (number | string)[] = [];
  stream.start({
    received(bytes) {
      events.push(bytes[0] ?? -1);
      if (takes) stream.took(bytes.length);
    },
    room: () => events.push('room'),
    ended: () => events.push('ended'),
  });
  return events;
}

/** Both ends of a way from the first process to the second. */
function way({ lines }: ReturnType<typeof processes>) {
  const [here, there] = lines as [Streams, Streams];
  const { name, stream, to } = here.open();
  const other = there.join(name, here.address);
  to(there.address);
  return { here, there, stream, other };
}

describe.each([
  ['another worker', () => processes('1', '2')],
  [
    'the same process',
    () => {
      const streams = createLocalStreams();
      return { lines: [streams, streams], exchange: createExchange() };
    },
  ],
])('a way to a session of %s', (_, start) => {
  it('carries pieces both ways, in order', async () => {
    const { stream, other } = way(start());
    const [near, far] = [listen(stream), listen(other)];
    for (let i = 0; i < 100; i++) {
      expect(stream.send(piece(10, i))).toBe(true);
      expect(other.send(piece(10, 100 + i))).toBe(true);
    }
    await heard();
    expect(far).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(near).toEqual(Array.from({ length: 100 }, (_, i) => 100 + i));
  });

  it('takes no more than 256 KiB that the other end has not dealt with, and says when there is room', async () => {
    const { stream, other } = way(start());
    const near = listen(stream);
    const far = listen(other, false);
    let sent = 0;
    while (stream.send(piece(64 * kibibyte, sent))) sent++;
    expect(sent).toBe(4);
    await heard();
    expect(far).toEqual([0, 1, 2, 3]);
    expect(stream.send(piece(1))).toBe(false);
    other.took(64 * kibibyte);
    await heard();
    expect(near).toEqual([]);
    other.took(64 * kibibyte);
    await heard();
    expect(near).toEqual(['room']);
    // One that is larger than all of it passes whole, where there is any.
    expect(stream.send(piece(1024 * kibibyte, 9))).toBe(true);
    expect(stream.send(piece(1))).toBe(false);
    await heard();
    expect(far.at(-1)).toBe(9);
  });

  it('keeps what comes before anybody listens, also before it is known where the other end is', async () => {
    const { lines } = start();
    const [here, there] = lines as [Streams, Streams];
    const { name, stream, to } = here.open();
    expect(stream.send(piece(1, 1))).toBe(true);
    const other = there.join(name, here.address);
    other.send(piece(1, 2));
    other.end();
    await heard();
    to(there.address);
    await heard();
    expect(listen(stream)).toEqual([2, 'ended']);
    expect(stream.send(piece(1))).toBe(false);
  });

  it('is over for both when one ends it, behind what was sent before, and leaves nothing', async () => {
    const { here, there, stream, other } = way(start());
    const [near, far] = [listen(stream), listen(other)];
    stream.send(piece(1, 5));
    stream.end();
    stream.end();
    other.send(piece(1, 6));
    await heard();
    expect(far).toEqual([5, 'ended']);
    expect(near).toEqual([]);
    expect([stream.send(piece(1)), other.send(piece(1))]).toEqual([false, false]);
    expect([here.size, there.size]).toEqual([0, 0]);
  });
});

describe('a way to a session of another worker', () => {
  it('ends when that worker is no more, and no other does', async () => {
    const all = processes('1', '2', '3');
    const [here, , third] = all.lines as [Streams, Streams, Streams];
    const { stream, other } = way(all);
    const more = here.open();
    const elsewhere = third.join(more.name, here.address);
    more.to(third.address);
    const events = [listen(stream), listen(other), listen(more.stream)];
    all.exchange.remove('2');
    await heard();
    expect(events).toEqual([['ended'], [], []]);
    elsewhere.send(piece(1, 7));
    await heard();
    expect(events[2]).toEqual([7]);
    expect(here.size).toBe(1);
  });

  it('ends when that worker is gone before anything was said', async () => {
    const all = processes('1', '2');
    const [here] = all.lines as [Streams];
    const { stream, to } = here.open();
    const events = listen(stream);
    to('7');
    stream.send(piece(1));
    await heard();
    expect(events).toEqual(['ended']);
  });
});

describe('the ways to other replicas', () => {
  it('have 16 MiB together, and go on when some of it is taken', () => {
    const streams = new Streams({ address: 'here/0', tell: () => undefined });
    const open = (peer: string) => {
      const { name, stream, to } = streams.open();
      const events = listen(stream);
      to(peer);
      return { name, stream, events };
    };
    const full = Array.from({ length: 64 }, () => open('there/0'));
    for (const { stream } of full) expect(stream.send(piece(256 * kibibyte))).toBe(true);
    const [one, near] = [open('there/1'), open('here/1')];
    expect(one.stream.send(piece(1))).toBe(false);
    expect(near.stream.send(piece(1))).toBe(true);
    const took = ({ name }: { name: string }) =>
      streams.receive({ do: 'took', stream: `${name}/opened`, bytes: 256 * kibibyte });
    for (const each of full.slice(0, 31)) took(each);
    expect(one.events).toEqual([]);
    full[31]?.stream.end();
    expect(one.events).toEqual(['room']);
    expect(one.stream.send(piece(1))).toBe(true);
    streams.gone('there', true);
    expect(streams.size).toBe(1);
  });
});
