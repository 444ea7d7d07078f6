/** As much of a browser's microphone as the client needs, in the hands of the test. */

import { vi } from 'vitest';
import { FakeAudio, FakeAudioContext, FakeSource } from './sound.js';

export class FakeTrack extends EventTarget {
  isStopped = false;
  muted = false;

  stop(): void {
    this.isStopped = true;
  }

  /** What the browser does when the device is gone. */
  end(): void {
    this.dispatchEvent(new Event('ended'));
  }

  mute(muted: boolean): void {
    this.muted = muted;
    this.dispatchEvent(new Event(muted ? 'mute' : 'unmute'));
  }
}

class FakeWorklet extends EventTarget {
  static last: FakeWorklet | null = null;
  readonly port: { onmessage: ((event: { data: ArrayBuffer }) => void) | null } = { onmessage: null };

  constructor() {
    super();
    FakeWorklet.last = this;
  }
}

class FakeAnalyser {
  readonly fftSize = 1024;
  getFloatTimeDomainData(): void {}
}

/** A browser whose page was, or was not, clicked. Everything it opened is kept. */
export function fakeBrowser({ isClicked = true } = {}) {
  const tracks: FakeTrack[] = [];
  const contexts: FakeAudioContext[] = [];
  const page = new EventTarget();
  const browser = {
    tracks,
    contexts,
    isClicked,
    /** Replaces what `getUserMedia` does. */
    ask: async (): Promise<FakeTrack> => new FakeTrack(),
    addModule: async (): Promise<void> => undefined,
    click() {
      browser.isClicked = true;
      for (const context of contexts) context.mayRun = true;
      page.dispatchEvent(new Event('pointerup'));
    },
    /** The microphone hears 40 ms. */
    hear(samples = new Int16Array(960)) {
      FakeWorklet.last?.port.onmessage?.({ data: samples.slice().buffer });
    },
    breakWorklet: () => FakeWorklet.last?.dispatchEvent(new Event('processorerror')),
  };
  class Context extends FakeAudioContext {
    readonly audioWorklet = { addModule: () => browser.addModule() };

    constructor() {
      super();
      this.mayRun = browser.isClicked;
      this.state = 'suspended';
      contexts.push(this);
    }
  }
  vi.stubGlobal('AudioContext', Context);
  vi.stubGlobal('AudioBufferSourceNode', FakeSource);
  vi.stubGlobal('AudioWorkletNode', FakeWorklet);
  vi.stubGlobal('AnalyserNode', FakeAnalyser);
  vi.stubGlobal('Audio', FakeAudio);
  vi.stubGlobal('document', page);
  const mediaDevices = {
    getUserMedia: async () => {
      const track = await browser.ask();
      tracks.push(track);
      return { getTracks: () => [track], getAudioTracks: () => [track] };
    },
  };
  vi.stubGlobal('navigator', { mediaDevices });
  return browser;
}
