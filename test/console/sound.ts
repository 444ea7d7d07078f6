/** As much of Web Audio as playback needs, with a clock that only the test moves. */

export class FakeSource {
  startedAt = Number.NaN;
  stoppedAt: number | null = null;

  constructor(context: FakeAudioContext) {
    context.sources.push(this);
  }

  connect(): void {}

  start(at: number): void {
    this.startedAt = at;
  }

  stop(at: number): void {
    this.stoppedAt = at;
  }
}

/** An element that plays a media stream. */
export class FakeAudio {
  static last: FakeAudio | null = null;
  srcObject: unknown = null;
  muted = false;

  constructor() {
    FakeAudio.last = this;
  }

  async play(): Promise<void> {}
}

/** A volume, as far as it is set by targets. */
class FakeVolume {
  #targets: { readonly value: number; readonly from: number }[] = [];

  setValueAtTime(): void {}

  linearRampToValueAtTime(): void {}

  cancelScheduledValues(from: number): void {
    this.#targets = this.#targets.filter((target) => target.from < from);
  }

  setTargetAtTime(value: number, from: number): void {
    this.#targets.push({ value, from });
  }

  at(time: number): number {
    return this.#targets.findLast(({ from }) => from <= time)?.value ?? 1;
  }
}

export class FakeAudioContext {
  static last: FakeAudioContext | null = null;
  readonly sources: FakeSource[] = [];
  readonly volumes: FakeVolume[] = [];
  readonly destination = {};
  currentTime = 0;
  outputLatency = 0;

  constructor() {
    FakeAudioContext.last = this;
  }

  async resume(): Promise<void> {}

  createAnalyser() {
    return { fftSize: 0, connect: () => undefined, getFloatTimeDomainData: () => undefined };
  }

  createGain() {
    const gain = new FakeVolume();
    this.volumes.push(gain);
    return { gain, connect: () => undefined, disconnect: () => undefined };
  }

  createMediaStreamSource() {
    return { connect: () => undefined };
  }

  createBuffer(_channels: number, length: number, sampleRate: number) {
    return { duration: length / sampleRate, copyToChannel: () => undefined };
  }
}
