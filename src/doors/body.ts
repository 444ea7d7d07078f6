/** Bodies of requests: JSON as clients write it, and what is wrong with a body that cannot be read. */

import express, { type RequestHandler } from 'express';
import { RelayError } from '../errors.js';
import type { Json } from '../protocol/event.js';
import { type JsonRules, readJson } from '../protocol/json.js';

/** Roomy: SDKs send the whole configuration of a session, most of which is of no matter here. */
const roomy: JsonRules = { depth: 32, keys: 4096, allows: 'any' };

/**
 * Reads a body of JSON, whatever type it claims to be: in the charset that it names, with or without a byte order mark.
 * None at all, blanks and `null` are an empty object; a list is for the door to judge.
 */
export function jsonBody(bytes: number, rules: JsonRules = roomy): RequestHandler {
  const read = express.raw({ limit: bytes, type: () => true });
  return (request, response, next) => {
    read(request, response, (error?: unknown) => {
      if (error) {
        next(error);
        return;
      }
      try {
        response.locals.raw = request.body;
        request.body = objectIn(request.body, request.headers['content-type'] ?? '', rules);
        next();
      } catch (thrown) {
        next(thrown);
      }
    });
  };
}

function objectIn(body: unknown, type: string, rules: JsonRules): object {
  const text = Buffer.isBuffer(body) ? textIn(body, type) : '';
  const value = text.trim() === '' ? null : parsed(text, rules);
  if (typeof value !== 'object') {
    throw new RelayError('bad_event', 'The body must be a JSON object.');
  }
  return value ?? {};
}

function textIn(body: Buffer, type: string): string {
  const [, label = 'utf-8'] = /;\s*charset\s*=\s*"?([^\s;"]+)/i.exec(type) ?? [];
  const decoder = decoderOf(label);
  try {
    return decoder.decode(body);
  } catch (cause) {
    throw new RelayError('bad_event', `The body is not valid ${decoder.encoding}.`, { cause });
  }
}

function decoderOf(label: string): InstanceType<typeof TextDecoder> {
  try {
    return new TextDecoder(label, { fatal: true });
  } catch (cause) {
    throw new RelayError('bad_event', 'The charset of the Content-Type is not known; send UTF-8.', { cause });
  }
}

function parsed(text: string, rules: JsonRules): Json {
  const reading = readJson(text, rules);
  if (reading.fault !== null) throw new RelayError('bad_event', `The body ${reading.fault}.`);
  return reading.value;
}

/** The errors of express's readers of bodies. */
interface BodyError extends Error {
  readonly statusCode: number;
  readonly type?: string;
  readonly limit?: number;
}

/** Whether a reader of bodies found fault with what a client sent. */
export function isBodyError(error: unknown): error is BodyError {
  const { statusCode } = (error ?? {}) as { statusCode?: unknown };
  return error instanceof Error && typeof statusCode === 'number' && statusCode < 500;
}

const faults: ReadonlyMap<string | undefined, string> = new Map([
  [
    'encoding.unsupported',
    'The Content-Encoding of the body is not known; send it as it is, or in gzip, deflate or br.',
  ],
  ['request.aborted', 'The body ended before its end.'],
  ['request.size.invalid', 'The body is not as long as its Content-Length says.'],
]);

/** What is said of a body that could not be read. */
export function bodyError(error: BodyError): RelayError {
  if (error.type === 'entity.too.large') return new RelayError('too_big', `The body is over ${error.limit} bytes.`);
  // What is left are the decoders' own errors.
  const message = faults.get(error.type) ?? 'The body is not what its Content-Encoding says.';
  return new RelayError('bad_event', message, { cause: error });
}
