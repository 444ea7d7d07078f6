/** A browser's side of a call without a browser: its offer, its data channel, its microphone and what it hears. */

import { onTestFinished } from 'vitest';
import { MediaStreamTrack, type RTCDataChannel, RTCPeerConnection, RtpHeader, RtpPacket, usePCMU } from 'werift';
import type { TestRelay } from '../support/relay.js';

interface ServerEvent {
  type: string;
  [key: string]: unknown;
}

/** A peer that has made an offer; it is closed when the test is over. */
export class Caller {
  readonly events: ServerEvent[] = [];
  /** Payloads of the speech that came, as mu-law. */
  readonly heard: Buffer[] = [];
  readonly #connection: RTCPeerConnection;
  readonly #channel: RTCDataChannel;
  readonly #microphone: MediaStreamTrack;
  readonly #waiters = new Set<() => void>();
  #sequence = 0;
  offer = '';
  isClosed = false;

  constructor() {
    this.#connection = new RTCPeerConnection({
      codecs: { audio: [usePCMU()], video: [] },
      iceServers: [],
      iceAdditionalHostAddresses: ['127.0.0.1'],
      iceUseIpv6: false,
      bundlePolicy: 'max-bundle',
    });
    this.#microphone = new MediaStreamTrack({ kind: 'audio' });
    this.#connection.addTransceiver(this.#microphone, { direction: 'sendrecv' });
    this.#connection.onTrack.subscribe((track) => {
      track.onReceiveRtp.subscribe(({ payload }) => {
        this.heard.push(payload);
        this.#changed();
      });
    });
    this.#channel = this.#connection.createDataChannel('oai-events');
    this.#channel.onMessage.subscribe((data) => {
      this.events.push(JSON.parse(data.toString()) as ServerEvent);
      this.#changed();
    });
    this.#channel.stateChanged.subscribe((state) => {
      if (state === 'closed') this.isClosed = true;
      this.#changed();
    });
    onTestFinished(() => this.close());
  }

  static async create(): Promise<Caller> {
    const caller = new Caller();
    // Without one of its own the library asks a public STUN server, and waits for its answer.
    for (const { connection } of caller.#connection.iceTransports)
      delete (connection as { stunServer?: unknown }).stunServer;
    await caller.#connection.setLocalDescription(await caller.#connection.createOffer());
    caller.offer = caller.#connection.localDescription?.sdp ?? '';
    return caller;
  }

  #changed(): void {
    for (const waiter of [...this.#waiters]) waiter();
  }

  /** Resolves when this is true. */
  until(isTrue: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (!isTrue()) return;
        this.#waiters.delete(look);
        resolve();
      };
      this.#waiters.add(look);
      look();
    });
  }

  /** The first event of this type. */
  async event(type: string): Promise<ServerEvent> {
    const found = () => this.events.find((event) => event.type === type);
    await this.until(() => found() !== undefined);
    return found() as ServerEvent;
  }

  /** Takes the SDP answer and waits for the data channel. */
  async accept(answer: string): Promise<void> {
    await this.#connection.setRemoteDescription({ type: 'answer', sdp: answer });
    await this.until(() => this.#channel.readyState === 'open');
  }

  /** Resolves when the other side has closed the data channel. */
  async closed(): Promise<void> {
    await this.until(() => this.isClosed);
  }

  send(event: object): void {
    this.#channel.send(JSON.stringify(event));
  }

  /** Speaks 20 ms of mu-law. */
  speak(ulaw: Buffer): void {
    this.#sequence++;
    const header = new RtpHeader({ payloadType: 0, sequenceNumber: this.#sequence, timestamp: this.#sequence * 160 });
    this.#microphone.writeRtp(new RtpPacket(header, ulaw));
  }

  /** Leaves the call, as a page does that closes its channel first; without that the other side finds out by silence. */
  async close(): Promise<void> {
    if (this.#channel.readyState === 'open') {
      this.#channel.close();
      await this.until(() => this.isClosed);
    }
    await this.#connection.close();
  }
}

/** Sends an offer to a relay as the browser SDKs do. */
export function post(
  { relay, token }: TestRelay,
  body: string | FormData | Buffer,
  headers: Record<string, string> = {},
  path = '/v1/realtime/calls',
): Promise<Response> {
  const type: Record<string, string> = body instanceof FormData ? {} : { 'content-type': 'application/sdp' };
  const own = 'authorization' in headers ? {} : { authorization: `Bearer ${token()}` };
  return fetch(`${relay.url}${path}`, {
    method: 'POST',
    headers: { ...own, ...type, ...headers },
    body: body as never,
  });
}

/** A connected call: its caller and the relay's id for it. */
export async function call(
  relay: TestRelay,
  headers: Record<string, string> = {},
): Promise<{ caller: Caller; id: string }> {
  const caller = await Caller.create();
  const answer = await post(relay, caller.offer, headers);
  if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`);
  await caller.accept(await answer.text());
  return { caller, id: answer.headers.get('location')?.split('/').at(-1) ?? '' };
}
