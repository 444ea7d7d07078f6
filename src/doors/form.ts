/**
 * One field of a multipart form (RFC 7578). The others are passed over: a parser of whole forms spends a hundred
 * milliseconds on what is nothing but parts or heads of parts.
 */

import { RelayError } from '../errors.js';

const mostParts = 8;
const mostHeadBytes = 2048;
/** RFC 2046 section 5.1.1. */
const boundaryText = /^[\w'()+,./:=? -]{1,70}$/;
/** Quoted texts are taken whole, so that nothing in one is taken for a parameter. */
const parameter = /;\s*([^\s=;]+)=(?:"((?:\\.|[^"\\])*)"|([^\s;]*))/g;
const crlf = '\r\n';

/**
 * The text of the first part of this name; null where there is none.
 * @throws RelayError `bad_event` for what is no form, `too_big` for one of many parts
 */
export function fieldOf(body: Buffer, contentType: string, name: string): string | null {
  const boundary = parameterOf(contentType, 'boundary');
  if (boundary === null) throw unreadable('The Content-Type of the form names no boundary.');
  if (!boundaryText.test(boundary)) throw unreadable();
  const delimiter = `${crlf}--${boundary}`;
  const opening = delimiter.slice(crlf.length);
  if (!startsAt(body, opening, 0) && !body.includes(delimiter, 0, 'latin1')) {
    throw unreadable('The boundary that the Content-Type names is not in the form.');
  }
  let at = startsAt(body, opening, 0) ? opening.length : behind(body, delimiter, 0);
  for (let parts = 0; !startsAt(body, '--', at); parts++) {
    if (parts === mostParts) {
      throw new RelayError('too_big', `The form has over ${mostParts} parts; "sdp" and "session" are enough.`);
    }
    // Transport padding.
    while (body[at] === 0x20 || body[at] === 0x09) at++;
    if (!startsAt(body, crlf, at)) throw unreadable();
    const start = behind(body, `${crlf}${crlf}`, at);
    if (start - at > mostHeadBytes) throw unreadable();
    const next = behind(body, delimiter, start - crlf.length);
    const head = body.toString('utf8', at, start);
    if (nameIn(head) === name) return body.toString('utf8', start, Math.max(start, next - delimiter.length));
    at = next;
  }
  return null;
}

function nameIn(head: string): string | null {
  const unfolded = head.replace(/\r\n[ \t]+/g, ' ');
  const line = unfolded.split(crlf).find((one) => /^content-disposition:/i.test(one));
  return line === undefined ? null : parameterOf(line, 'name');
}

function parameterOf(text: string, name: string): string | null {
  for (const [, found = '', quoted, plain = ''] of text.matchAll(parameter)) {
    if (found.toLowerCase() === name) return quoted?.replace(/\\(.)/g, '$1') ?? plain;
  }
  return null;
}

function startsAt(body: Buffer, text: string, at: number): boolean {
  return body.toString('latin1', at, at + text.length) === text;
}

/** Where what follows the next such text begins. */
function behind(body: Buffer, text: string, from: number): number {
  const at = body.indexOf(text, from, 'latin1');
  if (at === -1) throw unreadable();
  return at + text.length;
}

function unreadable(why = 'The form could not be read.'): RelayError {
  return new RelayError('bad_event', why);
}
