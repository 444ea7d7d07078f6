/** Runs on the audio thread: turns what the microphone hears into PCM16 at 24 kHz, in pieces of 40 ms. */

declare const sampleRate: number;
declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessor): void;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}

const targetRate = 24_000;
const pieceSamples = (targetRate * 40) / 1000;

class Microphone extends AudioWorkletProcessor {
  /** How many samples of the context make one of ours; 1 where the context runs at 24 kHz. */
  readonly #ratio = sampleRate / targetRate;
  #piece = new Int16Array(pieceSamples);
  #filled = 0;
  #sum = 0;
  #weight = 0;

  /** Called by the browser for every 128 samples; true asks to be called again. */
  process([channels]: Float32Array[][]): boolean {
    for (const sample of channels?.[0] ?? []) this.#take(sample);
    return true;
  }

  /** Averages the samples that fall into one of ours, which also keeps most of what would alias out. */
  #take(sample: number): void {
    let left = 1;
    while (this.#weight + left >= this.#ratio) {
      const part = this.#ratio - this.#weight;
      this.#put((this.#sum + sample * part) / this.#ratio);
      left -= part;
      this.#sum = 0;
      this.#weight = 0;
    }
    this.#sum += sample * left;
    this.#weight += left;
  }

  #put(value: number): void {
    this.#piece[this.#filled++] = Math.round(Math.max(-1, Math.min(1, value)) * 32_767);
    if (this.#filled < pieceSamples) return;
    this.port.postMessage(this.#piece.buffer, [this.#piece.buffer]);
    this.#piece = new Int16Array(pieceSamples);
    this.#filled = 0;
  }
}

registerProcessor('relay-microphone', Microphone);
