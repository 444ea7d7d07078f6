/** Failures in the operator's words: what failed, and what to do about it, in one line. */

import { advice, seeLog } from '../advice.js';
import { exits, isExitId } from '../errors.js';
import { oneLine } from '../terminal.js';

/** What an HTTP status means that did not come from the relay itself, but from something in front of it. */
const statusAdvice: Readonly<Record<number, string>> = {
  200: 'Something answered that does not speak WebSocket; check the URL, and that proxies in between pass the Upgrade header.',
  400: 'Check the URL, and that proxies in between pass the Upgrade header.',
  401: advice.unauthorized.operator,
  403: advice.forbidden.operator,
  404: 'Check the path and the model in the URL; the base URL of the relay, like http://127.0.0.1:8080, is enough.',
  407: 'A proxy in between wants a login of its own.',
  426: 'A proxy in between drops the Upgrade header.',
  429: 'Wait before the next try.',
  502: 'A proxy in between cannot reach the relay; is it running?',
  503: 'The relay, or a proxy in front of it, takes no sessions at the moment; wait, and look at /readyz.',
  504: 'A proxy in between got no answer from the relay; is it running?',
};

const untrusted =
  'its certificate is not from a known authority. Set NODE_EXTRA_CA_CERTS to its CA, or accept it with --insecure.';
const networkAdvice: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there. Is the relay running, and is this its PORT?',
  ENOTFOUND: 'the name does not exist in DNS. Check the spelling.',
  EAI_AGAIN: 'DNS did not answer. Check the network of this machine.',
  ETIMEDOUT: 'no answer. Check the address and the firewalls in between.',
  EHOSTUNREACH: 'there is no route to it. Check the network of this machine.',
  ENETUNREACH: 'there is no route to it. Check the network of this machine.',
  ECONNRESET: 'the connection was cut. If the relay speaks TLS there, use https:// in the URL.',
  EPIPE: 'the connection was cut. Try again.',
  EPROTO: 'the TLS handshake failed. If the relay does not speak TLS there, use http:// in the URL.',
  CERT_HAS_EXPIRED: 'its certificate has expired. Renew it.',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet. Check the clocks.',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name. Use the name in the certificate.',
  DEPTH_ZERO_SELF_SIGNED_CERT: untrusted,
  SELF_SIGNED_CERT_IN_CHAIN: untrusted,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: untrusted,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: untrusted,
};

/** Why there is no connection, from the error of the socket. */
export function explainNetwork(error: Error, place: string): string {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (code.startsWith('HPE_')) {
    return `Cannot connect to ${place}: the answer is not HTTP. If the relay speaks TLS there, use https:// in the URL.`;
  }
  const known = networkAdvice[code] ?? (code.startsWith('ERR_SSL') ? networkAdvice.EPROTO : undefined);
  return `Cannot connect to ${place}: ${known ?? oneLine(error.message)}${code ? ` (${code})` : ''}`;
}

/** Why an open connection broke, from the error of the socket. */
export function explainBreak(error: Error): string {
  return `The connection broke: ${sentence(error.message)} Something in between changes the frames, or this is not a relay.`;
}

/** An HTTP answer in place of the WebSocket. */
export interface Refused {
  readonly status: number;
  readonly retryAfter: string | undefined;
  readonly location: string | undefined;
  readonly body: string;
}

/** Why the relay, or something in front of it, refused the connection. */
export function explainRefusal({ status, retryAfter, location, body }: Refused, place: string): string {
  const { code, message } = errorIn(body);
  const what = `${place} refused the session with HTTP ${status}${code && code !== String(status) ? ` ${code}` : ''}`;
  const said = message ? `: ${sentence(message)}` : '.';
  const waitMs = /^\d+$/.test(retryAfter ?? '') ? Number(retryAfter) * 1000 : undefined;
  const todo = isExitId(code)
    ? advice[code].operator
    : location
      ? `It points to ${oneLine(location, 200)}; give that URL.`
      : (statusAdvice[status] ?? 'Check the URL; this is not an answer a relay gives.');
  return `${what}${said}${wait(waitMs)} ${todo}`;
}

/** The `error` object of the protocol, as far as it matters here. */
export interface ErrorEvent {
  readonly code: string;
  readonly message: string;
  /** How long the relay asks to wait, when it does. */
  readonly retryAfterMs?: number | undefined;
}

/** Why the relay closed the session; `announced` is the last `error` event before it. */
export function explainClose(code: number, reason: string, announced: ErrorEvent | null): string {
  const id = isExitId(reason) ? reason : isExitId(announced?.code) ? announced.code : null;
  const how = `The relay closed the session (${code}${reason ? ` ${oneLine(reason, 123)}` : ''})`;
  if (id) {
    const said = sentence(announced?.message || exits[id].meaning);
    return `${how}: ${said}${wait(announced?.retryAfterMs)} ${advice[id].operator}`;
  }
  const said = announced ? ` The last error was: ${explainError(announced)}` : '';
  if (code === 1006) return `The connection broke without a goodbye; the relay or a proxy in between died.${said}`;
  return `${how} without a reason that is known here.${said || ` ${seeLog}`}`;
}

/** An `error` event in one line. */
export function explainError({ code, message, retryAfterMs }: ErrorEvent): string {
  return `${code ? `${oneLine(code, 100)}: ` : ''}${sentence(message || 'no message')}${wait(retryAfterMs)}`;
}

/** What to do about an `error` event with this code; empty when it is not one of the relay's own. */
export function adviceFor(code: string): string {
  return isExitId(code) ? ` ${advice[code].operator}` : '';
}

function wait(ms: number | undefined): string {
  return ms === undefined ? '' : ` It asks to wait ${Math.ceil(ms / 1000)} s.`;
}

function sentence(text: string): string {
  const line = oneLine(text, 300);
  return /[.!?…]$/.test(line) ? line : `${line}.`;
}

function errorIn(body: string): ErrorEvent {
  try {
    const error: unknown = JSON.parse(body)?.error;
    const field = (name: 'code' | 'message') => {
      const value = typeof error === 'object' && error !== null && name in error ? (error as ErrorEvent)[name] : '';
      return typeof value === 'string' ? value : '';
    };
    return { code: oneLine(field('code'), 100), message: field('message') };
  } catch {
    // Proxies answer in HTML; the status has to say enough.
    return { code: '', message: '' };
  }
}
