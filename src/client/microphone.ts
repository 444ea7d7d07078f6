/** The user's microphone, as the relay wants to hear it. */

/** An open microphone. */
export interface Microphone {
  readonly track: MediaStreamTrack;
  /** How loud it is: root mean square, 0 to 1. */
  readonly level: number;
  close(): void;
}

/**
 * Opens the microphone with echo cancellation, without which the model would hear and interrupt itself.
 * @param workletUrl where the compiled `microphone-worklet` is served from
 * @param hear gets PCM16 at 24 kHz, little endian, in pieces of 40 ms
 * @throws DOMException `NotAllowedError` when the user says no, `NotFoundError` when there is no microphone
 */
export async function openMicrophone(workletUrl: URL | string, hear: (pcm: ArrayBuffer) => void): Promise<Microphone> {
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 },
  });
  const [track] = stream.getAudioTracks();
  if (!track) throw new DOMException('The device gives no sound.', 'NotFoundError');
  let context: AudioContext | null = null;
  try {
    const graph = graphOf(stream);
    context = graph.context;
    await context.audioWorklet.addModule(workletUrl);
    const worklet = new AudioWorkletNode(context, 'relay-microphone', { numberOfOutputs: 0, channelCount: 1 });
    worklet.port.onmessage = ({ data }: MessageEvent<ArrayBuffer>) => hear(data);
    const analyser = new AnalyserNode(context, { fftSize: 1024 });
    const levels = new Float32Array(analyser.fftSize);
    graph.source.connect(worklet);
    graph.source.connect(analyser);
    const { state } = context;
    if (state === 'suspended') await context.resume();
    return {
      track,
      get level() {
        analyser.getFloatTimeDomainData(levels);
        return Math.sqrt(levels.reduce((sum, sample) => sum + sample * sample, 0) / levels.length);
      },
      close() {
        worklet.port.onmessage = null;
        track.stop();
        void graph.context.close();
      },
    };
  } catch (error) {
    track.stop();
    await context?.close();
    throw error;
  }
}

/** Firefox refuses a microphone in a context of another rate than the device's; there the worklet resamples. */
function graphOf(stream: MediaStream): { context: AudioContext; source: MediaStreamAudioSourceNode } {
  const context = new AudioContext({ sampleRate: 24_000 });
  try {
    return { context, source: context.createMediaStreamSource(stream) };
  } catch {
    void context.close();
    const native = new AudioContext();
    return { context: native, source: native.createMediaStreamSource(stream) };
  }
}
