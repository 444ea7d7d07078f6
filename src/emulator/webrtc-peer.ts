/** The emulated service's end of a WebRTC connection: ICE, DTLS, a data channel, and speech as G.711 mu-law both ways. */
import type * as Werift from 'werift';

/** What a peer tells its call. */
export interface PeerHandlers {
  /** The browser's data channel is open. */
  opened(): void;
  /** A text came on the data channel. */
  message(text: string): void;
  /** The browser's sound: 8 kHz mu-law (RFC 3551 section 4.5.14). */
  heard(ulaw: Buffer): void;
  /** What was to be said has been said. */
  silent(): void;
  /** The browser is gone. Called once, not for a close of our own. */
  closed(): void;
}

/** Our end of one connection. */
export interface Peer {
  /** The SDP answer. */
  readonly answer: string;
  /** Whether there is sound to be sent. */
  readonly isSpeaking: boolean;
  send(text: string): void;
  /** Says this, after what is waiting to be said; at the speed of speech. */
  say(ulaw: Uint8Array): void;
  /** Forgets what is waiting to be said. */
  hush(): void;
  close(): void;
}

const packetMs = 20;
const packetBytes = 160;
/** Payload type of PCMU. Source: RFC 3551 section 6. */
const pcmu = 0;
const goodbyeMs = 300;
/** What is waiting to be said: ten minutes. */
const maxWaitingBytes = 600 * 8000;

/** Loads the WebRTC library, which is needed by the emulator alone and therefore not installed with the relay. */
export async function loadWerift(): Promise<typeof Werift> {
  try {
    return await import('werift');
  } catch (error) {
    throw new Error('WebRTC needs the package werift: npm install --no-save werift@0.23.0', { cause: error });
  }
}

/** Answers an offer. Rejects when it is not one, or when the library is missing. */
export async function answerOffer(offer: string, handlers: PeerHandlers): Promise<Peer> {
  if (!/^m=/m.test(offer)) throw new Error('it has no media section');
  const { RTCPeerConnection, MediaStreamTrack, RtpHeader, RtpPacket, usePCMU } = await loadWerift();
  const connection = new RTCPeerConnection({
    codecs: { audio: [usePCMU()], video: [] },
    iceServers: [],
    iceAdditionalHostAddresses: ['127.0.0.1'],
    iceUseIpv6: false,
    bundlePolicy: 'max-bundle',
  });
  const voice = new MediaStreamTrack({ kind: 'audio' });
  const channels = new Set<Werift.RTCDataChannel>();
  let waiting: Buffer[] = [];
  let waitingBytes = 0;
  let timer: NodeJS.Timeout | null = null;
  let startedAt = 0;
  let packets = 0;
  let isClosed = false;
  let sequenceNumber = 0;

  const gone = () => {
    if (isClosed) return;
    close();
    handlers.closed();
  };

  function take(): Buffer | null {
    if (waitingBytes === 0) return null;
    const all = waiting.length === 1 ? (waiting[0] as Buffer) : Buffer.concat(waiting);
    const rest = all.subarray(packetBytes);
    waiting = rest.length > 0 ? [rest] : [];
    waitingBytes = rest.length;
    const first = all.subarray(0, packetBytes);
    return first.length === packetBytes
      ? first
      : Buffer.concat([first, Buffer.alloc(packetBytes - first.length, 0xff)]);
  }

  /** Sends what is due by the clock, since timers are late. */
  function pace(): void {
    const due = Math.floor((performance.now() - startedAt) / packetMs) + 1;
    for (; packets < due; packets++) {
      const payload = take();
      if (!payload) {
        stop();
        handlers.silent();
        return;
      }
      sequenceNumber = (sequenceNumber + 1) & 0xffff;
      const header = new RtpHeader({
        payloadType: pcmu,
        sequenceNumber,
        timestamp: (sequenceNumber * packetBytes) >>> 0,
        marker: packets === 0,
      });
      voice.writeRtp(new RtpPacket(header, payload));
    }
  }

  function stop(): void {
    if (timer) clearInterval(timer);
    timer = null;
    waiting = [];
    waitingBytes = 0;
  }

  function close(): void {
    isClosed = true;
    stop();
    for (const channel of channels) channel.close();
    // The browser has to be told that its channel is closed, or it would find out by silence.
    setTimeout(() => void connection.close(), goodbyeMs).unref();
  }

  connection.onDataChannel.subscribe((channel) => {
    channels.add(channel);
    channel.onMessage.subscribe((data) => handlers.message(data.toString()));
    channel.stateChanged.subscribe((state) => {
      if (state !== 'closed') return;
      channels.delete(channel);
      gone();
    });
    handlers.opened();
  });
  connection.onTrack.subscribe((track) => {
    track.onReceiveRtp.subscribe(({ header, payload }) => {
      if (header.payloadType === pcmu && !isClosed) handlers.heard(payload);
    });
  });
  const isOver = new Set<string>(['disconnected', 'failed', 'closed']);
  connection.connectionStateChange.subscribe((state) => {
    if (isOver.has(state)) gone();
  });
  connection.iceConnectionStateChange.subscribe((state) => {
    if (isOver.has(state)) gone();
  });

  try {
    await connection.setRemoteDescription({ type: 'offer', sdp: offer });
    for (const transceiver of connection.getTransceivers()) {
      if (transceiver.kind !== 'audio') continue;
      transceiver.setDirection('sendrecv');
      await transceiver.sender.replaceTrack(voice);
    }
    // Without one of its own the library asks a public STUN server, and waits for its answer.
    for (const { connection: ice } of connection.iceTransports) delete (ice as { stunServer?: unknown }).stunServer;
    await connection.setLocalDescription(await connection.createAnswer());
  } catch (error) {
    close();
    throw error;
  }

  return {
    answer: connection.localDescription?.sdp ?? '',
    get isSpeaking() {
      return timer !== null;
    },
    send(text) {
      for (const channel of channels) if (channel.readyState === 'open') channel.send(text);
    },
    say(ulaw) {
      if (isClosed || waitingBytes > maxWaitingBytes) return;
      waiting.push(Buffer.from(ulaw));
      waitingBytes += ulaw.length;
      if (timer) return;
      startedAt = performance.now();
      packets = 0;
      timer = setInterval(pace, packetMs);
    },
    hush: stop,
    close() {
      if (!isClosed) close();
    },
  };
}
