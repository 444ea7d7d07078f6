/** The strings an emulator is pulled by: faults, scripts and records, for programs and over HTTP under `/emulator/`. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Fault, type FaultList, type FaultName, faultNames } from './faults.js';
import { readBody } from './payload.js';
import type { Received, ReceivedConnection } from './received.js';
import { type Complaint, number, object, oneOf, string } from './schema.js';
import type { Script, ScriptList } from './script.js';
import type { SearchService } from './search/service.js';
import type { CallDesk } from './signalling.js';
import type { Connection } from './socket.js';

/** How a program steers an emulator and looks into it. */
export interface EmulatorControl {
  readonly faults: {
    /** Arms a fault for the next `count` handshakes, sessions, updates or responses. RangeError for an unknown name. */
    arm(fault: Fault | FaultName, count?: number): void;
    /** Makes it happen now on every open connection, or on one; returns on how many. */
    strike(fault: Fault | FaultName, connectionId?: number): number;
    clear(): void;
    list(): readonly Fault[];
  };
  /** Decides how the next responses turn out, one script each, in order, whichever connection asks; with `when`, all to these words. */
  script(...scripts: Script[]): void;
  clearScripts(): void;
  readonly received: Received;
  /** What became of calls. */
  readonly calls: Pick<CallDesk, 'records' | 'loseSidebands' | 'tellSidebands'>;
  /** The stand-in for Azure AI Search: its indexes, and the queries that came. */
  readonly search: Pick<SearchService, 'put' | 'upload' | 'records'>;
}

const positive = number(0, 2 ** 31 - 1);
const faultShape = object(
  {
    fault: oneOf(...faultNames),
    count: number(1, Number.POSITIVE_INFINITY),
    delayMs: positive,
    retryAfterSeconds: positive,
    bytes: positive,
    afterDeltas: positive,
    location: string({ pattern: /^[!-~]+$/ }),
  },
  ['fault'],
);

interface Shared {
  readonly faults: FaultList;
  readonly scripts: ScriptList;
  readonly received: Received;
  readonly connections: ReadonlySet<Connection>;
  readonly calls: EmulatorControl['calls'];
  readonly search: SearchService;
}

/** The control over what the connections of one emulator share. */
export function createControl({ faults, scripts, received, connections, calls, search }: Shared): EmulatorControl {
  return {
    faults: {
      arm: (fault, count) => {
        const given = checked(fault);
        faults.arm(count === undefined ? given : { ...given, count });
      },
      strike: (fault, connectionId) => {
        const given = checked(fault);
        const struck = [...connections].filter(
          ({ record }) => connectionId === undefined || record.id === connectionId,
        );
        for (const connection of struck) connection.strike(given);
        return struck.length;
      },
      clear: () => faults.clear(),
      list: () => faults.list(),
    },
    script: (...more) => scripts.add(more),
    clearScripts: () => scripts.clear(),
    received,
    calls,
    search,
  };
}

function checked(fault: Fault | FaultName): Fault {
  const given = typeof fault === 'string' ? { fault } : fault;
  insist(faultShape({ ...given }, ''));
  return given;
}

function insist(found: Complaint | null): void {
  if (found) throw new RangeError(found.message);
}

/** Answers `/emulator/…`. Resolves when the answer is sent; never rejects. */
export async function serveControl(
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
  control: EmulatorControl,
): Promise<void> {
  const answer = (status: number, body: unknown) => {
    const text = `${JSON.stringify(body, null, 2)}\n`;
    response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
    response.end(text);
  };
  // A page in the developer's browser must not be able to pull the strings.
  if (request.headers.origin !== undefined) return answer(403, { error: 'not for browsers' });
  try {
    const route = `${request.method} ${url.pathname}`;
    const handler = routes[route];
    if (!handler) return answer(404, { error: `no such control; there are: ${Object.keys(routes).join(', ')}` });
    const body = request.method === 'POST' ? JSON.parse((await readBody(request)) || '{}') : null;
    answer(200, handler(control, body, url.searchParams));
  } catch (error) {
    answer(400, { error: error instanceof Error ? error.message : String(error) });
  }
}

type Handler = (control: EmulatorControl, body: unknown, query: URLSearchParams) => unknown;

const routes: Readonly<Record<string, Handler>> = {
  'GET /emulator/faults': ({ faults }) => ({ armed: faults.list(), known: faultNames }),
  'POST /emulator/faults': ({ faults }, body) => {
    let struck = 0;
    for (const one of listOf(body)) {
      const { now, connection, ...fault } = one as Fault & { now?: boolean; connection?: number };
      if (now) struck += faults.strike(fault, connection);
      else faults.arm(fault);
    }
    return { armed: faults.list(), struck };
  },
  'DELETE /emulator/faults': ({ faults }) => {
    faults.clear();
    return { armed: [] };
  },
  'POST /emulator/script': (control, body) => {
    const scripts = listOf(body) as Script[];
    control.script(...scripts);
    return { added: scripts.length };
  },
  'DELETE /emulator/script': (control) => {
    control.clearScripts();
    return {};
  },
  'GET /emulator/received': ({ received }, _body, query) => {
    const wanted = query.get('connection');
    const most = Math.min(Number(query.get('events') ?? 100) || 0, 10_000);
    const connections = received.connections.filter(({ id }) => wanted === null || String(id) === wanted);
    return {
      connection_count: received.connectionCount,
      open: received.open.map(({ id }) => id),
      errors: received.errors,
      error_events: received.errorEvents,
      usage: received.usage,
      connections: connections.map((one) => shown(one, most)),
    };
  },
  'GET /emulator/searches': ({ search }) => ({ searches: search.records }),
  'DELETE /emulator/received': ({ received }) => {
    received.clear();
    return {};
  },
};

/** Anyone who reaches the port may read this, so it tells that a credential came, and not which. */
function shown(connection: ReceivedConnection, most: number): ReceivedConnection {
  const headers = { ...connection.headers };
  for (const name of ['authorization', 'api-key', 'cookie', 'sec-websocket-protocol']) {
    const value = headers[name];
    if (value !== undefined) headers[name] = `(${String(value).length} characters)`;
  }
  const url = connection.url.replace(/([?&](?:api-key|authorization)=)[^&]*/gi, '$1(hidden)');
  const newest = most > 0 ? connection.events.slice(-most) : [];
  const events = newest.map((event) =>
    event.audio ? { ...event, audio: { bytes: event.audio.bytes, sha256: event.audio.sha256 } } : event,
  );
  const committed = connection.committed.map(({ data: _data, ...stretch }) => stretch);
  return { ...connection, url, headers, events, committed };
}

function listOf(body: unknown): object[] {
  const list = Array.isArray(body) ? body : [body];
  if (list.some((one) => typeof one !== 'object' || one === null))
    throw new TypeError('expected a JSON object or array');
  return list as object[];
}
