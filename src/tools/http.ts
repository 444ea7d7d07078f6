/** Tools that ask an HTTP endpoint of the operator's. */

import type { OutboundAnswer } from '../outbound/request.js';
import { keyOf, signedHeaders } from '../outbound/sign.js';
import { parseTemplate } from '../policy/templates.js';
import type { HttpTool } from '../policy/tools.js';
import { written } from './arguments.js';
import { bearerOf, commonHeaders, createAsk, type Question, type ToolPorts, textOf, userAgent } from './asking.js';
import { claimsFor, headerFor } from './claimed.js';
import { brought, running, type Span, ToolFailure } from './running.js';
import { notAllowed, wrongArguments } from './texts.js';
import type { Tool, ToolCall, ToolResult } from './tool.js';
import { fieldsOf, withQuery } from './url.js';

const maxBytes = 16 * 1024;
const maxUrlBytes = 8 * 1024;
const json = /^[\w.+-]+\/(?:[\w.+-]+\+)?json$/;
const texts = new Set(['text/plain', 'text/markdown', 'text/csv', 'application/x-ndjson']);

type Asked = Omit<Question, 'maxBytes'>;

/** Makes the `run` of an HTTP tool. It asks once: what the endpoint does may not be done twice. */
export function createHttpRun(tool: HttpTool, judge: Tool['judge'], ports: ToolPorts): NonNullable<Tool['run']> {
  const { http } = tool;
  const url = new URL(http.url);
  const ask = createAsk(url, http.private, ports);
  const templates = Object.entries(http.headers).map(
    ([name, text]) => [name.toLowerCase(), parseTemplate(text)] as const,
  );
  const keys = [http.secret ?? []].flat().map(keyOf);
  // Some servers take names that differ in their case alone for one.
  const ownNames = new Set([...url.searchParams.keys()].map((name) => name.toLowerCase()));

  async function authorization(span: Span): Promise<Record<string, string>> {
    const { bearer, entra_scope: scope } = http.auth ?? {};
    if (bearer !== undefined) return { authorization: `Bearer ${bearer}` };
    if (scope === undefined) return {};
    return { authorization: `Bearer ${await bearerOf(ports.credentials.token(scope), span)}` };
  }

  function get(args: string): Asked | { problem: string } {
    const own = [...fieldsOf(args).keys()].find((name) => ownNames.has(name.toLowerCase()));
    if (own !== undefined) return { problem: `${own} must not be given` };
    const asked = withQuery(url, args);
    if (asked.length > maxUrlBytes) return { problem: 'they are too long' };
    return { url: asked, method: 'GET', headers: {} };
  }

  function post(call: ToolCall, args: string): Asked {
    const { callId, name, session, principal } = call;
    const { issuer, tenant, subject } = principal;
    const rest = {
      session: { id: session.id },
      user: { issuer, tenant, subject },
      claims: claimsFor(http.claims, principal),
    };
    // As the model wrote them: parsed and written anew, a number of many digits would be another one.
    const body = `{"name":${JSON.stringify(name)},"call_id":${JSON.stringify(callId)},"arguments":${args},${JSON.stringify(rest).slice(1)}`;
    const id = `${session.id}_${callId}`.replace(/[^A-Za-z0-9_-]/g, '_');
    const headers = { 'content-type': 'application/json', ...(keys.length > 0 && signedHeaders(keys, id, body)) };
    return { url, method: 'POST', body, headers };
  }

  return running(tool, async (call, span): Promise<ToolResult> => {
    const judged = judge(call.arguments);
    if ('problem' in judged) return wrongArguments(judged.problem);
    const configured: Record<string, string> = {};
    for (const [name, template] of templates) {
      const value = headerFor(template, call.principal);
      if (value === null)
        return notAllowed('claim', `A claim of the header ${name} is missing, or cannot stand in it.`);
      configured[name] = value;
    }
    const args = written(call.arguments);
    const question = http.method === 'GET' ? get(args) : post(call, args);
    if ('problem' in question) return wrongArguments(question.problem);
    const headers = {
      accept: 'application/json, text/plain',
      'user-agent': userAgent,
      ...configured,
      ...commonHeaders(call),
      ...question.headers,
      ...(await authorization(span)),
    };
    const answer = await ask({ ...question, headers, maxBytes }, span);
    return brought(tool, readable(answer), { status: answer.status, bytes: answer.body.length });
  });
}

/** The text of an answer that can be given to a model. Throws a ToolFailure. */
function readable(answer: OutboundAnswer): string {
  const { status, headers, body } = answer;
  const facts = { status, bytes: body.length };
  if (status < 200 || status > 299)
    throw new ToolFailure('status', `The endpoint answered with HTTP ${status}.`, facts);
  if (body.length === 0) return '';
  const text = textOf(answer);
  const [type = ''] = (headers['content-type'] ?? '')
    .toLowerCase()
    .split(';')
    .map((part) => part.trim());
  const isJson = json.test(type);
  if (!isJson && type !== '' && !texts.has(type)) {
    throw new ToolFailure('type', 'The answer is neither JSON nor plain text.', facts);
  }
  if (isJson) {
    try {
      JSON.parse(text);
    } catch {
      throw new ToolFailure('body', 'The answer says that it is JSON, and is not.', facts);
    }
  }
  return text;
}
