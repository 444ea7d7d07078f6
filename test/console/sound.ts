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
  /** What the browser says to the next `play`. */
  static refusal: Error | null = null;
  plays = 0;
  onpause: (() => void) | null = null;

  constructor() {
    FakeAudio.last = this;
  }

  async play(): Promise<void> {
    if (FakeAudio.refusal) throw FakeAudio.refusal;
    this.plays++;
  }
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

export class FakeAudioContext extends EventTarget {
  static last: FakeAudioContext | null = null;
  readonly sources: FakeSource[] = [];
  readonly volumes: FakeVolume[] = [];
  /** All samples that were given to be played. */
  readonly played: number[] = [];
  readonly destination = {};
  currentTime = 0;
  outputLatency = 0;
  state = 'running';
  /** What a gesture of the user allows. */
  mayRun = true;
  isClosed = false;

  constructor() {
    super();
    FakeAudioContext.last = this;
  }

  become(state: string): void {
    this.state = state;
    this.dispatchEvent(new Event('statechange'));
  }

  /** Never settles before it may, as in Chromium. */
  resume(): Promise<void> {
    if (!this.mayRun) return new Promise(() => undefined);
    if (this.state !== 'running') this.become('running');
    return Promise.resolve();
  }

  async suspend(): Promise<void> {
    this.become('suspended');
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.become('closed');
  }

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
    const copyToChannel = (samples: Float32Array) => void this.played.push(...samples);
    return { duration: length / sampleRate, copyToChannel };
  }
}
