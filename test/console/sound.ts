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

export class FakeAudioContext {
  static last: FakeAudioContext | null = null;
  readonly sources: FakeSource[] = [];
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
    const gain = { setValueAtTime: () => undefined, linearRampToValueAtTime: () => undefined };
    return { gain, connect: () => undefined };
  }

  createBuffer(_channels: number, length: number, sampleRate: number) {
    return { duration: length / sampleRate, copyToChannel: () => undefined };
  }
}
