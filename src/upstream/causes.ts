/** Every kind of dial failure, whose it is and what the operator should do: one table for metrics, log and `explain`. */

/**
 * Where to look: `relay` is ours, the relay and how it was set up, its endpoint, deployment and role included; `identity` is
 * who issues its tokens.
 */
export type DialFault = 'relay' | 'identity' | 'network' | 'upstream' | 'client';

const kinds = {
  credential: [
    'identity',
    'Check the identity of the relay (AZURE_CLIENT_ID, managed identity, IDENTITY_ENDPOINT) or set an API key.',
  ],
  wrong_credential: [
    'relay',
    'Check that the key or token belongs to this resource: AZURE_OPENAI_ENDPOINT, AZURE_OPENAI_SCOPE, the tenant; with disableLocalAuth keys are refused.',
  ],
  missing_role: [
    'relay',
    'Give the identity of the relay the role Cognitive Services OpenAI User on the resource; a new role takes minutes to work.',
  ],
  forbidden: [
    'relay',
    'The resource or a gateway before it forbids the request: check its policies and the role of the relay.',
  ],
  deployment_not_found: [
    'relay',
    'Check the deployment name (not the model name); a new deployment takes about five minutes to work.',
  ],
  wrong_path: [
    'relay',
    'Check the endpoint, the dialect (ga or preview) and the api-version; the preview path is deprecated.',
  ],
  not_realtime: ['relay', 'The deployment is not a realtime model: deploy one of the gpt-realtime family.'],
  bad_request: [
    'relay',
    'The upstream did not understand the request: check the deployment, the dialect and the api-version.',
  ],
  redirect: [
    'relay',
    'Set the endpoint to where it points, if you trust it: the relay sends its credential to no other place.',
  ],
  not_websocket: [
    'relay',
    'Something that is not the Realtime API answered: check the endpoint and what is in between.',
  ],
  shortage: [
    'relay',
    'The relay itself is short of descriptors, memory or local ports: raise its limits (ulimit -n), or run more instances.',
  ],
  network_rules: [
    'network',
    'Let the relay in: check the firewall and virtual network rules or the private endpoint of the resource.',
  ],
  too_many_headers: [
    'network',
    'A proxy on the way adds headers: the upstream accepts about ten beside the usual ones.',
  ],
  proxy: ['network', 'Check the proxy: its address, its credential, and that it allows CONNECT to the endpoint.'],
  dns: [
    'network',
    'The host name does not resolve: check the endpoint, the DNS of the relay and the private DNS zone.',
  ],
  tls: [
    'network',
    'The certificate was not accepted: check the endpoint, the clock, and NODE_EXTRA_CA_CERTS for a private authority.',
  ],
  unreachable: ['network', 'No TCP connection: check the egress rules, routes and the private endpoint.'],
  reset: ['network', 'The connection was cut: usually a firewall or proxy in between, or the upstream restarting.'],
  timeout: [
    'upstream',
    'Check egress rules and the state of the upstream; the message names the phase that took too long.',
  ],
  throttled: ['upstream', 'The quota of the deployment is used up: raise it or add an upstream.'],
  server_error: ['upstream', 'The upstream is failing: see Azure status, and quote the request ids to Azure support.'],
  no_session: [
    'upstream',
    'The upstream took the connection and began no session: see Azure status, and quote the request ids to Azure support.',
  ],
  call_not_found: ['client', 'The call has ended or is not set up yet.'],
  unknown: ['upstream', 'See the message; this failure has no row in the table.'],
} as const satisfies Record<string, readonly [DialFault, string]>;

/** The machine-readable kind of a dial failure: a closed set, fit for a label. */
export type DialKind = keyof typeof kinds;

/** All kinds, for the documents. */
export const dialKinds = Object.keys(kinds) as DialKind[];

/** Where a dial hung tells more than that it did: until the upgrade nothing but the way there was asked. */
const slowPhases: Readonly<Record<string, DialFault>> = {
  credential: 'identity',
  proxy: 'network',
  'name lookup': 'network',
  'TCP connection': 'network',
  'TLS handshake': 'network',
};

/** Whose a failed dial is; null for a kind that is none. */
export function faultOf({ kind, phase }: { readonly kind: string; readonly phase?: string | null }): DialFault | null {
  if (!Object.hasOwn(kinds, kind)) return null;
  const slow = kind === 'timeout' && phase && Object.hasOwn(slowPhases, phase) ? slowPhases[phase] : undefined;
  return slow ?? kinds[kind as DialKind][0];
}

/** What the operator should do about it. */
export function adviceOn(kind: DialKind): string {
  return kinds[kind][1];
}
