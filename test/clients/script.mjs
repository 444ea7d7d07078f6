// What the drivers share: reading events in order, the user's speech, and the report that the test reads.
import { readFileSync } from 'node:fs';

/** Bytes of 24 kHz PCM in 100 ms. */
const piece = 4800;

/** The task given to a driver: where the relays are, and with what it comes. */
export const task = JSON.parse(process.argv[2]);

/** A question, spoken, and the silence after which it is over. */
export const speech = readFileSync(task.speech).subarray(44);
export const silence = Buffer.alloc(48_000);

/** Audio in pieces of 100 ms. */
export function* pieces(...audio) {
  const pcm = Buffer.concat(audio);
  for (let at = 0; at < pcm.length; at += piece) yield pcm.subarray(at, at + piece);
}

/** Keeps every event, and gives each to the first that waits for it. */
export class Inbox {
  static all = [];
  events = [];
  #taken = 0;
  #wake = () => undefined;

  constructor() {
    Inbox.all.push(this);
  }

  add(event) {
    this.events.push(event);
    this.#wake();
  }

  /** The next event of this type after those that were waited for. */
  async next(type) {
    for (;;) {
      const at = this.events.findIndex((event, index) => index >= this.#taken && event.type === type);
      if (at >= 0) {
        this.#taken = at + 1;
        return this.events[at];
      }
      await new Promise((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Skips what came so far. */
  skip() {
    this.#taken = this.events.length;
  }

  /** What the test needs to see of the events: not their audio. */
  report() {
    return this.events.map(({ type, event_id, item }) => ({ type, event_id, item: item?.id }));
  }
}

/** Runs the scenario against every relay at once, prints what came of it and ends the process. */
export async function run(scenario) {
  setTimeout(() => {
    for (const { events } of Inbox.all) console.error('Hangs after', events.map(({ type }) => type).join(', '));
    process.exit(1);
  }, 12_000);
  try {
    const reports = await Promise.all(task.relays.map((url) => scenario(new URL(url))));
    process.stdout.write(JSON.stringify(reports), () => process.exit(0));
  } catch (error) {
    console.error(error);
    process.exit(1);
  }
}
