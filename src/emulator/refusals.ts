/** How Azure refuses an upgrade and ends a socket: every status, body and close code the emulator sends. */
import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';

/** An HTTP answer to an upgrade that was not granted. */
export interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The refusals by name; `refuse_<name>` arms one as a fault. Source: Azure OpenAI error reference and public reports. */
export const refusals = {
  '400': {
    status: 400,
    code: 'OpperationNotSupported',
    message:
      'The realtime operation does not work with the specified model. Please choose different model and try again.',
  },
  '400_missing': { status: 400, code: 'BadRequest', message: "Missing required query parameter: 'model'." },
  '401': {
    status: 401,
    code: '401',
    message:
      'Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource.',
  },
  '401_permission': {
    status: 401,
    code: 'PermissionDenied',
    message: 'Principal does not have access to API/Operation.',
  },
  '403': { status: 403, code: '403', message: 'Access denied due to Virtual Network/Firewall rules.' },
  '403_private': {
    status: 403,
    code: 'AccessDenied',
    message: 'Public access is disabled. Please configure private endpoint.',
  },
  '404': { status: 404, code: '404', message: 'Resource not found' },
  '404_deployment': {
    status: 404,
    code: 'DeploymentNotFound',
    message:
      'The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again.',
  },
  '404_call': { status: 404, code: 'call_id_not_found', message: 'No call with this id was found.' },
  '426': { status: 426, code: 'UpgradeRequired', message: 'This endpoint speaks WebSocket.' },
  '429': {
    status: 429,
    code: '429',
    message: 'Requests have exceeded the call rate limit of your pricing tier. Please retry after 1 seconds.',
    headers: { 'retry-after': '1' },
  },
  '431': { status: 431, code: '431', message: 'Too many request headers.' },
  '500': { status: 500, code: 'InternalServerError', message: 'The server had an error processing your request.' },
  '503': {
    status: 503,
    code: 'ServiceUnavailable',
    message: 'The service is temporarily unable to process your request.',
  },
} as const satisfies Record<string, Refusal>;

/** Close frames of the service. Source: public reports of the Realtime API. */
export const closes = {
  expired: (minutes: number) => [1001, `Your session hit the maximum duration of ${minutes} minutes.`] as const,
  failed: [1011, 'The server had an error while processing your request.'] as const,
  fatal: (code: string) => [4000, `invalid_request_error.${code}`] as const,
};

/** The correlation headers Azure puts on every answer, refusals and upgrades alike. */
export function correlation(): Record<string, string> {
  return { 'apim-request-id': randomUUID(), 'x-request-id': randomUUID(), 'x-ms-region': 'Emulator' };
}

/** The JSON body of a refusal. */
export function bodyOf({ code, message }: Refusal): string {
  return JSON.stringify({ error: { code, message } });
}

/** A whole HTTP/1.1 answer, for a socket that asked to be upgraded. */
export function rawAnswer(status: number, headers: Readonly<Record<string, string>>, body: string): string {
  const all = { ...headers, 'content-length': String(Buffer.byteLength(body)), connection: 'close' };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  return [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}`, ...lines, '', body].join('\r\n');
}
