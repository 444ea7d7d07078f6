/** A local Azure OpenAI Realtime, for developers without an account and for tests: same doors, events, errors, faults. */
import { once } from 'node:events';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { createControl, type EmulatorControl, serveControl } from './control.js';
import { type Admission, type Deployment, type DoorRules, isRefusal, judge } from './doors.js';
import { type Fault, FaultList, type FaultName, isFaultName, refusalOf } from './faults.js';
import type { Personality } from './output.js';
import { Received, type ReceivedConnection, type RecordLimits } from './received.js';
import { bodyOf, correlation, type Refusal, rawAnswer, refusals } from './refusals.js';
import { ScriptList } from './script.js';
import { loadIndexes } from './search/folder.js';
import { SearchService } from './search/service.js';
import { CallDesk } from './signalling.js';
import { Connection, type House } from './socket.js';
import { loadSpeech } from './speech.js';

/** How an emulator is set up; every option has a default. */
export interface EmulatorOptions extends RecordLimits {
  /** 0, the default, takes any free port. */
  readonly port?: number;
  /** 127.0.0.1 by default. */
  readonly host?: string;
  /** Accepted in the `api-key` header; `['emulator-key']` by default. */
  readonly apiKeys?: readonly string[];
  /** Accepts any key and any token, so that nothing needs to be configured. */
  readonly acceptAnyCredential?: boolean;
  /** Decides over `Authorization: Bearer` tokens; accepts any non-empty one by default. */
  readonly bearer?: (token: string) => boolean;
  /** By deployment name; `gpt-realtime`, a chat `gpt-4o` and models that transcribe by default. */
  readonly deployments?: Readonly<Record<string, Deployment>>;
  /** Speaks TLS with this PEM pair. */
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer };
  /** How many times faster than real time answers come; 4 by default, Infinity for at once. */
  readonly speed?: number;
  /** Length of a session in seconds; 3600 by default, as live sessions announce. */
  readonly sessionSeconds?: number;
  /** How many sidebands are told that their call does not exist yet; 1 by default. */
  readonly callHiddenTries?: number;
  /** Whether the answer to a request for a key shows the session it is for; default true. */
  readonly keyEchoes?: boolean;
  /** Whose manners it has where the two services differ; `azure` by default. */
  readonly like?: Personality;
  /** A folder of search indexes: `<index>.index.json` and `<index>.documents.json`. */
  readonly search?: string;
  /** Accepted in the `api-key` header of searches; `['emulator-search-key']` by default. */
  readonly searchKeys?: readonly string[];
  readonly log?: (line: string) => void;
}

/** A running emulator. */
export interface Emulator {
  /** `http://host:port`, to be used as the resource endpoint. */
  readonly url: string;
  readonly port: number;
  readonly control: EmulatorControl;
  /** Cuts every connection and frees the port. */
  close(): Promise<void>;
}

const defaultDeployments: Readonly<Record<string, Deployment>> = {
  'gpt-realtime': { model: 'gpt-realtime', kind: 'realtime' },
  'gpt-realtime-2.1': { model: 'gpt-realtime-2.1', kind: 'realtime' },
  'gpt-4o': { model: 'gpt-4o', kind: 'chat' },
  'gpt-4o-transcribe': { model: 'gpt-4o-transcribe', kind: 'transcription' },
  'gpt-4o-mini-transcribe': { model: 'gpt-4o-mini-transcribe', kind: 'transcription' },
  'gpt-realtime-whisper': { model: 'gpt-realtime-whisper', kind: 'transcription' },
  whisper: { model: 'whisper', kind: 'transcription' },
};
/** Larger than the largest legal event: 15 MiB of audio are 20 MiB of base64. */
const maxPayload = 32 * 1024 * 1024;

/** Starts an emulator. Rejects when the port is taken or the bundled speech is missing. */
export async function startEmulator(options: EmulatorOptions = {}): Promise<Emulator> {
  const { speed = 4, sessionSeconds = 3600, host = '127.0.0.1', port = 0, tls, like = 'azure' } = options;
  if (!(speed > 0) || !(sessionSeconds > 0)) throw new RangeError('speed and sessionSeconds must be above 0');
  const faults = new FaultList();
  const scripts = new ScriptList();
  const received = new Received(options);
  const log = options.log ?? (() => undefined);
  const deployments = options.deployments ?? defaultDeployments;
  const house: House = {
    speech: await loadSpeech(),
    speed,
    sessionSeconds,
    like,
    // A classic whisper is refused like what does not exist. Source: whoever recorded live sessions.
    transcribes: (name) =>
      like === 'openai' ||
      (Object.hasOwn(deployments, name) &&
        deployments[name]?.kind === 'transcription' &&
        deployments[name].model !== 'whisper'),
    faults,
    scripts,
    received,
    log,
  };
  const rules: DoorRules = {
    apiKeys: options.apiKeys ?? ['emulator-key'],
    acceptAnyCredential: options.acceptAnyCredential ?? false,
    bearer: (token) => bearerIsFine(token, options.bearer, log),
    deployments,
    hasCall: (id) => desk.find(id),
  };
  const desk = new CallDesk(house, rules, options.callHiddenTries ?? 1, options.keyEchoes ?? true);
  const search = new SearchService({ ...rules, apiKeys: options.searchKeys ?? ['emulator-search-key'] }, faults);
  if (options.search !== undefined) await loadIndexes(options.search, search);
  const connections = new Set<Connection>();
  const control = createControl({ faults, scripts, received, connections, calls: desk, search });
  const server = tls ? https.createServer(tls) : http.createServer();
  const websockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload,
    perMessageDeflate: false,
    handleProtocols: (offered) => (offered.has('realtime') ? 'realtime' : false),
  });
  websockets.on('headers', (headers) => {
    for (const [name, value] of Object.entries(correlation())) headers.push(`${name}: ${value}`);
  });
  const held = new Set<Duplex>();

  server.on('request', (request, response) => void serveHttp(request, response, control, [desk, search]));
  server.on('clientError', (_error, socket) => socket.destroy());
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', (error) => log(`socket: ${error.message}`));
    const url = urlOf(request);
    const record = received.upgrade(request.url ?? '/', request.headers);
    const own = faultsOf(url.searchParams);
    const fault = own.take('handshake') ?? faults.take('handshake');
    const judged: Admission | Refusal | null = fault ? refusalOf(fault) : judge(request, url, rules);
    if (fault && !judged) strikeHandshake(fault, socket, record);
    else if (judged && isRefusal(judged)) refuse(socket, judged, record);
    else if (judged) accept(request, socket, head, judged, record, own);
  });

  function accept(
    request: IncomingMessage,
    stream: Duplex,
    head: Buffer,
    admission: Admission,
    record: ReceivedConnection,
    own: FaultList,
  ): void {
    // Until the handshake is through, ws may still refuse it (a bad key, a wrong version) and end the stream itself.
    const gone = () => {
      if (record.closed === null && record.refused === null) received.refused(record, 400);
    };
    stream.once('close', gone);
    websockets.handleUpgrade(request, stream, head, (socket) => {
      stream.removeListener('close', gone);
      if (admission.callId !== undefined) {
        desk.attach(admission.callId, socket, record);
        return;
      }
      const connection = new Connection(socket, stream, admission, house, record, own);
      connections.add(connection);
      socket.once('close', () => connections.delete(connection));
      connection.open();
      log(`connection ${record.id}: ${admission.dialect} ${admission.kind} ${admission.deployment ?? ''}`);
    });
  }

  function refuse(stream: Duplex, refusal: Refusal, record: ReceivedConnection): void {
    const headers = { ...correlation(), 'content-type': 'application/json', ...refusal.headers };
    endWith(stream, rawAnswer(refusal.status, headers, bodyOf(refusal)));
    received.refused(record, refusal.status);
    log(`connection ${record.id}: refused ${refusal.status} ${refusal.code}`);
  }

  function strikeHandshake(fault: Fault, stream: Duplex, record: ReceivedConnection): void {
    received.refused(record, fault.fault);
    log(`connection ${record.id}: ${fault.fault}`);
    if (fault.fault === 'reset') {
      if ('resetAndDestroy' in stream && !tls) (stream as { resetAndDestroy(): void } & Duplex).resetAndDestroy();
      else stream.destroy();
      return;
    }
    if (fault.fault === 'redirect') {
      const location = fault.location ?? `${urlText()}/openai/v1/realtime?redirected=1`;
      endWith(stream, rawAnswer(307, { location }, ''));
    } else if (fault.fault === 'not_http') endWith(stream, '220 mail.example ESMTP ready\r\n');
    else hold(stream);
    if (fault.fault === 'bad_accept') {
      const accepted = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade'];
      stream.write([...accepted, 'Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=', '', ''].join('\r\n'));
    }
  }

  /** Keeps a socket that is not a connection until its peer lets go. */
  function hold(stream: Duplex): void {
    held.add(stream);
    stream.resume();
    stream.once('end', () => stream.end());
    stream.once('close', () => held.delete(stream));
  }

  function urlText(): string {
    const shown = host.includes(':') ? `[${host}]` : host;
    return `${tls ? 'https' : 'http'}://${shown}:${(server.address() as AddressInfo).port}`;
  }

  server.listen(port, host);
  await once(server, 'listening');
  return {
    url: urlText(),
    port: (server.address() as AddressInfo).port,
    control,
    async close() {
      desk.close();
      search.close();
      for (const connection of connections) connection.terminate();
      for (const stream of held) stream.destroy();
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/** Who answers plain requests under some paths. */
type Desk = Pick<CallDesk, 'serves' | 'serve'>;

async function serveHttp(
  request: IncomingMessage,
  response: ServerResponse,
  control: EmulatorControl,
  desks: readonly Desk[],
): Promise<void> {
  const url = urlOf(request);
  const desk = desks.find((one) => one.serves(url.pathname));
  if (desk) {
    await desk.serve(request, response, url);
    return;
  }
  if (url.pathname.startsWith('/emulator/')) {
    await serveControl(request, response, url, control);
    return;
  }
  if (url.pathname === '/healthz') {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end('{"status":"ok"}\n');
    return;
  }
  const isDoor = url.pathname === '/openai/v1/realtime' || url.pathname === '/openai/realtime';
  const refusal = refusals[isDoor ? '426' : '404'];
  response.writeHead(refusal.status, { ...correlation(), 'content-type': 'application/json' });
  response.end(bodyOf(refusal));
}

/** A verifier that throws, as JWT libraries do, means no. */
function bearerIsFine(token: string, verify: EmulatorOptions['bearer'], log: (line: string) => void): boolean {
  try {
    return verify?.(token) ?? true;
  } catch (error) {
    log(`bearer refused: ${error instanceof Error ? error.message : String(error)}`);
    return false;
  }
}

/** Says the last word on a socket and lets go of it, whether or not the peer does. */
function endWith(stream: Duplex, text: string): void {
  stream.once('finish', () => stream.destroy());
  stream.resume();
  stream.end(text);
}

/** Faults asked for in the query of the upgrade: they strike this connection only, every time unless counted. */
function faultsOf(query: URLSearchParams): FaultList {
  const list = new FaultList();
  const numberIn = (name: string) => (query.has(name) ? Number(query.get(name)) : undefined);
  const delayMs = numberIn('fault_ms');
  const bytes = numberIn('fault_bytes');
  for (const name of query.getAll('fault').slice(0, 10)) {
    if (!isFaultName(name)) continue;
    const count = numberIn('fault_count') ?? Number.POSITIVE_INFINITY;
    const given: Fault = { fault: name as FaultName, count };
    list.arm({ ...given, ...(delayMs === undefined ? {} : { delayMs }), ...(bytes === undefined ? {} : { bytes }) });
  }
  return list;
}

/** The target of a request; one that is no URL is a path that does not exist. */
function urlOf({ url = '' }: IncomingMessage): URL {
  return new URL(URL.canParse(url, 'http://emulator') ? url : '/not-a-url', 'http://emulator');
}
