/** The doors that are plain HTTP: health, and client secrets for browsers. */

import express, {
  type ErrorRequestHandler,
  type Express,
  type Request,
  type RequestHandler,
  type Response,
} from 'express';
import helmet from 'helmet';
import type { AdmissionServices } from '../admission/candidate.js';
import { checkOrigin } from '../admission/origin.js';
import { whoOf } from '../admission/recognise.js';
import { httpRefusal, notServed, RelayError } from '../errors.js';
import type { Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import { logRepeated } from '../telemetry/repeats.js';
import { orderedUuid } from '../uuid.js';
import type { Audit } from './audit.js';
import { bodyError, isBodyError, jsonBody } from './body.js';
import { type CallServices, callPaths, callRoutes } from './calls.js';
import { type ConsoleFiles, consoleRoutes, type DemoDesk } from './console.js';
import { controlPath, isForBackends, threshold } from './entrance.js';
import { askedOf, identify } from './guest.js';
import {
  type Form,
  type KeyServices,
  mintEphemeralKey,
  mintSecret,
  previewKeyPath,
  secretPaths,
  sessionPaths,
  transcriptionPaths,
} from './minting.js';
import { openApiText } from './openapi.js';
import { openApiPath } from './operations.js';
import { doorPaths, isDoor, noSuchPath, targetOf, unslashed } from './paths.js';
import { type RevocationServices, revocationPath, withdraw } from './revocations.js';
import { sessionRoutes } from './sessions.js';

export interface AppServices {
  readonly admission: AdmissionServices;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly health: Health;
  /** What is said of TLS; left out: nothing, as over plain HTTP (RFC 6797 section 7.2). */
  readonly hsts?: 'on' | 'subdomains' | 'off';
  /** The page to try the relay with, or null where it is not served. */
  readonly console?: { readonly files: ConsoleFiles; readonly desk: DemoDesk | null } | null;
  /** Left out: no WebRTC, as without `control`. */
  readonly calls?: Pick<CallServices, 'session' | 'reaches' | 'registry'> & Pick<KeyServices, 'upstreams'>;
  /** Left out: nobody has a say in sessions that run. */
  readonly control?: Pick<RevocationServices, 'peers' | 'tokenSeconds' | 'controls'>;
  readonly audit: Audit;
}

/** What the health routes report; the reason on the operations listener only. */
export interface Health {
  /** Whether this instance should get new sessions, and if not, why. */
  ready(): Ready | Promise<Ready>;
}

interface Ready {
  readonly ready: boolean;
  readonly detail: string | null;
}

/** What the operations listener publishes, in Prometheus' text form. */
export interface MetricsSource {
  readonly contentType: string;
  metrics(): Promise<string>;
}

const bodyBytes = 64 * 1024;

/** What the root says to somebody who only has the address. */
const about = {
  name: 'Realtime Relay',
  message: 'A relay for the Realtime API: connect a WebSocket, with the token of your app, to one of these paths.',
  paths: doorPaths,
};

/** The public listener's HTTP application. */
export function createApp(services: AppServices): Express {
  const app = express();
  app.disable('x-powered-by');
  app.set('etag', false);
  app.use(helmet({ strictTransportSecurity: hstsOf(services) }));
  app.use((request, response, next) => {
    response.locals.requestId = orderedUuid();
    response.set('x-request-id', response.locals.requestId);
    // RFC 9112 section 3.2.
    if (request.headers.host !== undefined || request.httpVersion === '1.0') next();
    else next(new RelayError('bad_event', 'The request has no Host header.'));
  });
  app.use(readdress);
  healthRoutes(app, services.health, false);
  if (services.console) consoleRoutes(app, services.console.files, services.console.desk);
  const { admission, calls, control, audit } = services;
  // Origin and credential come before the body, so that nobody's costs anything.
  const minting = [identify(admission, 'mint'), jsonBody(bodyBytes)];
  const keys = calls && { ...services, ...calls };
  if (keys && control) {
    callRoutes(app, { ...keys, ...control }, cors(services));
    app.use(previewKeyPath, cors(services));
    app.post(previewKeyPath, minting, mintEphemeralKey(keys, 'preview'));
  }
  app.use(controlPath, threshold(admission));
  if (control) {
    const doors = { ...services, ...control };
    app.post(revocationPath, withdraw(doors));
    sessionRoutes(app, doors);
  }
  const description = openApiText();
  app.get(openApiPath, (_request, response) => {
    response.type('json').send(description);
  });
  const secretDoor = (paths: readonly string[], form: Form): void => {
    const secret = mintSecret(admission, form);
    const key = keys && mintEphemeralKey(keys, form);
    app.use([...paths], cors(services));
    app.post([...paths], ...minting, (request, response, next) =>
      (key && request.query.for === 'webrtc' ? key : secret)(request, response, next),
    );
  };
  secretDoor(secretPaths, 'ga');
  secretDoor([...sessionPaths, ...transcriptionPaths], 'preview');
  app.get('/', (_request, response) => {
    response.json(about);
  });
  // A page can read what is wrong with its request; at the doors for backends pages have no business.
  const readable = cors(services);
  app.use((request, response, next) => {
    if (isForBackends(request.path)) next();
    else readable(request, response, next);
  });
  app.use((request, response) => {
    if (isDoor(request.path)) {
      const isHandshake = request.headers['sec-websocket-key'] !== undefined;
      if (isHandshake) note(services, request, response, new RelayError('bad_event', lostUpgrade));
      const otherwise = request.method === 'POST' ? ' An SDP offer for WebRTC goes to /v1/realtime/calls.' : '';
      const message = isHandshake ? lostUpgrade : `This path is a WebSocket; connect with ws:// or wss://.${otherwise}`;
      refuse(response, notServed(426, message));
    } else if (posts.includes(unslashed(request.path))) {
      refuse(response.set('Allow', 'POST'), notServed(405, 'Use POST.'));
    } else {
      refuse(response, notServed(404, noSuchPath));
    }
  });
  app.use(onError(services, audit));
  return app;
}

const lostUpgrade =
  'The handshake came without its header Upgrade; a proxy on the way must pass Upgrade and Connection on.';

function hstsOf({ hsts = 'off' }: AppServices): { includeSubDomains: boolean } | false {
  return hsts === 'off' ? false : { includeSubDomains: hsts === 'subdomains' };
}

/** What takes nothing but POST. */
const posts = [...secretPaths, ...sessionPaths, ...transcriptionPaths, ...callPaths, previewKeyPath, revocationPath];

/** Reads the address as the doors for WebSockets do: with single slashes, and whole or not. */
const readdress: RequestHandler = (request, response, next) => {
  const url = targetOf(request);
  if (!url) {
    refuse(response, notServed(404, noSuchPath));
    return;
  }
  request.url = url.pathname + url.search;
  request.originalUrl = request.url;
  next();
};

/** The operations listener's HTTP application: metrics and health. */
export function createOpsApp(source: MetricsSource, health: Health): Express {
  const app = express();
  app.disable('x-powered-by');
  app.use(helmet({ strictTransportSecurity: false }));
  healthRoutes(app, health, true);
  app.get('/metrics', async (_request, response) => {
    response.type(source.contentType).send(await source.metrics());
  });
  app.use((_request, response) => refuse(response, notServed(404, 'No such path; try /metrics.')));
  return app;
}

/** The reason names upstreams and quotes the identity provider: it is for operators alone. */
function healthRoutes(app: Express, health: Health, withReason: boolean): void {
  const alive: RequestHandler = (_request, response) => {
    response.json({ status: 'ok' });
  };
  const ready: RequestHandler = async (_request, response) => {
    const { ready, detail } = await health.ready();
    const status = ready ? 'ready' : 'not ready';
    response.status(ready ? 200 : 503).json(withReason ? { status, detail } : { status });
  };
  // HAProxy asks with OPTIONS unless told otherwise.
  app.route('/healthz').get(alive).options(alive);
  app.route('/readyz').get(ready).options(ready);
}

/** Answers pages of the allowed origins, and refuses every other origin before anything else is looked at. */
function cors({ admission }: AppServices): RequestHandler {
  return (request, response, next) => {
    response.vary('Origin');
    const origin = checkOrigin(request, admission.origins);
    if (origin) response.set('Access-Control-Allow-Origin', origin);
    if (request.method !== 'OPTIONS') {
      next();
      return;
    }
    response.set({
      'Access-Control-Allow-Methods': 'POST',
      // SDKs and tracing put others in by themselves; the star does not cover the first (Fetch section 4.9).
      'Access-Control-Allow-Headers': 'authorization, api-key, content-type, x-openai-agents-sdk, *',
      'Access-Control-Max-Age': '600',
    });
    response.status(204).end();
  };
}

function refuse(
  response: Response,
  { status, headers, body }: { status: number; headers: object; body: object },
): void {
  response.status(status).set(headers).json(body);
}

function onError(services: AppServices, audit: Audit): ErrorRequestHandler {
  return (thrown, request, response, next) => {
    if (response.headersSent) {
      next(thrown);
      return;
    }
    const error = thrown instanceof URIError ? pathError() : isBodyError(thrown) ? bodyError(thrown) : thrown;
    const refusal = RelayError.from(error);
    if (!audit.failed(response, refusal)) note(services, request, response, refusal);
    refuse(response, httpRefusal(refusal));
  };
}

/** Counts and logs a refusal. */
function note(services: AppServices, request: Request, response: Response, error: RelayError): void {
  const { admission, metrics, log } = services;
  metrics.refused(error.id);
  const level = error.id === 'internal' ? 'error' : 'warn';
  const { about, fields } = whoOf(askedOf(response) ?? { message: request }, admission);
  const { requestId } = response.locals;
  const own = { requestId, detail: error.message, path: request.path.slice(0, 100), error: error.cause };
  const line = { about: `${error.id} ${about}`, common: { reason: error.id, ...fields }, own };
  logRepeated(log, level, line, 'request.refused');
}

/** Express decodes the parts of a path that have names. */
function pathError(): RelayError {
  return new RelayError('bad_event', 'The path is not valid percent-encoding.');
}
