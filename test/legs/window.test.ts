import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { Window } from '../../src/legs/window.js';

const kilobyte = 1024;
const frame = 8 * kilobyte;

/** A peer whose answers come `delayMs` after what they answer was sent, over a link of so many bytes a millisecond. */
class Peer {
  readonly window = new Window();
  now = 1000;
  pings = 0;
  #asked: { token: Buffer; at: number }[] = [];
  #free = 0;

  constructor(
    readonly tripMs: number,
    readonly pace = Number.POSITIVE_INFINITY,
  ) {}

  /** Sends a frame, whether or not there is room. */
  send(bytes = frame): void {
    this.#free = Math.max(this.#free, this.now) + bytes / this.pace;
    if (!this.window.sent(bytes)) return;
    this.ask();
  }

  ask(): void {
    this.pings++;
    this.#asked.push({ token: this.window.ask(this.now), at: this.#free + this.tripMs });
  }

  /** Sends as long as there is room; gives the bytes. */
  fill(): number {
    let bytes = 0;
    for (; !this.window.isShut; bytes += frame) this.send();
    return bytes;
  }

  /** Lets time pass, with the answers that fall due in it. */
  pass(ms: number, sends = false): void {
    const until = this.now + ms;
    for (;;) {
      const next = this.#asked[0];
      if (!next || next.at > until) break;
      this.now = Math.max(this.now, next.at);
      this.#asked.shift();
      expect(this.window.answer(next.token, this.now)).toBe(true);
      if (sends) this.fill();
    }
    this.now = until;
  }
}

/** A session that was greeted and has answered the ping behind that. */
function greeted(tripMs: number, pace?: number): Peer {
  const peer = new Peer(tripMs, pace);
  peer.send(1000);
  expect(peer.pings).toBe(1);
  peer.pass(tripMs + 1);
  return peer;
}

describe('a window', () => {
  it('lets 128 KiB out, with a ping behind each half, and opens again by its answers', () => {
    const peer = greeted(20);
    expect(peer.fill()).toBe(128 * kilobyte);
    expect(peer.pings).toBe(3);
    peer.pass(30);
    expect(peer.window.isShut).toBe(false);
    expect(peer.window.acknowledged).toBe(1000 + 128 * kilobyte);
  });

  it('lets 256 KiB out to a reader who was quick behind 64 KiB, and again 128 after 5 s without a ping', () => {
    const peer = greeted(20);
    peer.fill();
    peer.pass(30);
    peer.pass(1000);
    expect(peer.fill()).toBe(256 * kilobyte);
    peer.ask();
    peer.pass(6000);
    peer.send();
    peer.ask();
    peer.pass(30);
    expect(peer.fill()).toBe(128 * kilobyte);
  });

  it('lets 48 KiB out for a minute to a reader who is late, with a ping behind each quarter', () => {
    const peer = greeted(20, 75);
    peer.fill();
    peer.pass(2500);
    peer.window.look(peer.now, true);
    const pings = peer.pings;
    expect(peer.fill()).toBe(48 * kilobyte);
    expect(peer.pings - pings).toBe(3);
    peer.pass(700);
    expect(peer.fill()).toBeLessThanOrEqual(56 * kilobyte);
    peer.pass(62_000);
    peer.ask();
    peer.pass(30);
    expect(peer.fill()).toBe(128 * kilobyte);
  });

  it('is as wide as what a fast link takes in the time of an answer', () => {
    const peer = greeted(60, 6250);
    peer.fill();
    peer.pass(2000, true);
    // 50 Mbit/s and 310 ms: as much as the link holds, and no less than what it would carry alone.
    expect(peer.window.acknowledged).toBeGreaterThan(0.75 * 2000 * 6250);
  });

  it('is at least what speech needs over a long way', () => {
    const peer = greeted(3000);
    expect(peer.fill()).toBeGreaterThanOrEqual(80 * kilobyte * 3.25);
  });

  it('takes no answer but to its own pings, and each once', () => {
    const window = new Window();
    window.sent(1000);
    const token = window.ask(0);
    expect(token).toHaveLength(8);
    for (const forged of [Buffer.alloc(8), Buffer.from('1'), Buffer.alloc(0), randomBytes(8)])
      expect(window.answer(forged, 10)).toBe(false);
    expect(window.acknowledged).toBe(0);
    expect(window.answer(Buffer.from(token), 20)).toBe(true);
    expect(window.answer(Buffer.from(token), 30)).toBe(false);
  });

  it('takes the answer to a later ping for those before it', () => {
    const window = new Window();
    window.sent(1000);
    const [first, second] = [window.ask(0), window.ask(5)];
    expect(window.answer(second, 10)).toBe(true);
    expect(window.answer(first, 11)).toBe(false);
    expect(window.acknowledged).toBe(1000);
  });

  it('is none for a peer that is heard and answers no pings, until it answers one', () => {
    const window = new Window();
    window.sent(1000);
    const token = window.ask(1000);
    window.sent(500 * kilobyte);
    expect(window.isShut).toBe(true);
    expect(window.look(1500, true)).toBe(false);
    expect(window.look(2500, true)).toBe(false);
    expect(window.look(3500, false)).toBe(false);
    expect(window.isShut).toBe(true);
    expect(window.look(4500, true)).toBe(true);
    expect(window.isShut).toBe(false);
    expect(window.look(5500, true)).toBe(false);
    expect(window.answer(token, 6000)).toBe(true);
    expect(window.isShut).toBe(true);
  });

  it('never stays shut behind its last ping', () => {
    const peer = greeted(20, 75);
    for (let round = 0; round < 200; round++) {
      peer.fill();
      if (peer.window.needsPing) peer.ask();
      expect(peer.window.needsPing).toBe(false);
      peer.pass(30 + ((round * 37) % 400));
    }
    expect(peer.window.acknowledged).toBeGreaterThan(100 * kilobyte);
  });
});
