/** Who may open what: the judgement over an upgrade request, as Azure makes it. */
import type { IncomingMessage } from 'node:http';
import type { Dialect } from '../protocol/catalogue.js';
import { type Refusal, refusals } from './refusals.js';

/** A deployment of the emulated resource. */
export interface Deployment {
  /** The model name it echoes. */
  readonly model: string;
  readonly kind: 'realtime' | 'chat' | 'transcription';
}

/** What the emulated resource accepts. */
export interface DoorRules {
  readonly apiKeys: readonly string[];
  /** Any non-empty key or token opens the door. */
  readonly acceptAnyCredential: boolean;
  readonly bearer: (token: string) => boolean;
  readonly deployments: Readonly<Record<string, Deployment>>;
  /** Whether a sideband may attach to this call now. */
  hasCall(id: string): boolean;
}

/** What an accepted upgrade opens. */
export interface Admission {
  readonly dialect: Dialect;
  readonly apiVersion: string | null;
  readonly kind: 'realtime' | 'transcription';
  readonly model: string;
  readonly deployment: string | null;
  /** The call that it is the sideband of. */
  readonly callId?: string;
  /** Accepted at the handshake only to be told this error and closed. */
  readonly fatal: { readonly code: string; readonly message: string } | null;
}

/** The dated api-versions that ever served realtime. Source: Azure OpenAI api-version lifecycle documentation. */
const previewVersions = ['2024-10-01-preview', '2025-04-01-preview'];
const transcriptionVersion = '2025-04-01-preview';
const maxCustomHeaders = 10;

/** Tells the two outcomes of `judge` apart. */
export function isRefusal(judged: Refusal | Admission): judged is Refusal {
  return 'status' in judged;
}

/** The admission, or the HTTP refusal Azure would give. */
export function judge(request: IncomingMessage, url: URL, rules: DoorRules): Refusal | Admission {
  if (Object.keys(request.headers).filter((name) => name.startsWith('x-')).length > maxCustomHeaders) {
    return refusals['431'];
  }
  if (url.pathname === '/openai/v1/realtime') return gaDoor(request, url, rules);
  if (url.pathname === '/openai/realtime') return previewDoor(request, url, rules);
  return refusals['404'];
}

function gaDoor(request: IncomingMessage, url: URL, rules: DoorRules): Refusal | Admission {
  const apiVersion = url.searchParams.get('api-version');
  if (apiVersion !== null && /^\d{4}-\d\d-\d\d/.test(apiVersion)) return refusals['401'];
  if (apiVersion !== null && apiVersion !== 'v1' && apiVersion !== 'preview') return refusals['404'];
  if (!mayEnter(request, url, rules)) return refusals['401'];
  const callId = url.searchParams.get('call_id');

  const name = url.searchParams.get('model') || null;
  const intent = url.searchParams.get('intent');
  const base = { dialect: 'ga', apiVersion: null, deployment: name, fatal: null } as const;
  if (callId !== null) {
    return rules.hasCall(callId) ? { ...base, kind: 'realtime', model: '', callId } : refusals['404_call'];
  }
  const offered = [request.headers['openai-beta'], request.headers['sec-websocket-protocol']].join(',');
  if (/realtime[=-]v1/.test(offered)) {
    const message = 'The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API.';
    return { ...base, kind: 'realtime', model: '', fatal: { code: 'beta_api_shape_disabled', message } };
  }
  if (intent !== null && intent !== 'transcription') return wrongIntent(base);
  if (intent === 'transcription' && name === null) return { ...base, kind: 'transcription', model: '' };
  if (name === null) return refusals['400_missing'];
  const deployment = Object.hasOwn(rules.deployments, name) ? rules.deployments[name] : undefined;
  if (!deployment) return refusals['404_deployment'];
  const isFit = intent === null ? deployment.kind !== 'chat' : deployment.kind === 'transcription';
  if (!isFit) return refusals['400'];
  return { ...base, kind: deployment.kind === 'realtime' ? 'realtime' : 'transcription', model: deployment.model };
}

function previewDoor(request: IncomingMessage, url: URL, rules: DoorRules): Refusal | Admission {
  const apiVersion = url.searchParams.get('api-version') ?? '';
  if (!previewVersions.includes(apiVersion)) return refusals['404'];
  if (!mayEnter(request, url, rules)) return refusals['401'];

  const name = url.searchParams.get('deployment') || null;
  const intent = url.searchParams.get('intent');
  const base = { dialect: 'preview', apiVersion, deployment: name, fatal: null } as const;
  if (intent !== null && intent !== 'transcription') return wrongIntent(base);
  if (intent === 'transcription') {
    if (apiVersion !== transcriptionVersion || name !== null) return refusals['400'];
    return { ...base, kind: 'transcription', model: '' };
  }
  if (name === null) return { ...refusals['400_missing'], message: "Missing required query parameter: 'deployment'." };
  const deployment = Object.hasOwn(rules.deployments, name) ? rules.deployments[name] : undefined;
  if (!deployment) return refusals['404_deployment'];
  if (deployment.kind !== 'realtime') return refusals['400'];
  return { ...base, kind: 'realtime', model: deployment.model };
}

function wrongIntent(base: Omit<Admission, 'kind' | 'model'>): Admission {
  const fatal = { code: 'invalid_intent', message: "Invalid intent. Supported values are: 'transcription'." };
  return { ...base, kind: 'realtime', model: '', fatal };
}

/** Azure looks at the two headers and, though nobody should use it, at the query. Subprotocol keys do not count. */
export function mayEnter({ headers }: IncomingMessage, { searchParams }: URL, rules: DoorRules): boolean {
  const key = headers['api-key'] ?? searchParams.get('api-key') ?? undefined;
  if (typeof key === 'string' && key !== '') return rules.acceptAnyCredential || rules.apiKeys.includes(key);
  const authorization = headers.authorization ?? searchParams.get('Authorization') ?? '';
  const token = /^Bearer +(\S+)$/i.exec(authorization)?.[1];
  return token !== undefined && (rules.acceptAnyCredential || rules.bearer(token));
}
