/** Files of text: UTF-8, or an error that says what else it may be, where others would read replacement characters. */

import { readFileSync, statSync } from 'node:fs';

/** What a file holds, or why it cannot be used and in which line. */
export type FileText =
  | { readonly text: string }
  | { readonly problem: string; readonly line: number; readonly code?: string };

const maxBytes = 8 * 1024 * 1024;
const lineFeed = 0x0a;

/** Reads a file as UTF-8; a byte order mark is passed over. */
export function readText(path: string): FileText {
  let bytes: Buffer;
  try {
    if (statSync(path).size > maxBytes) return { problem: `is over ${maxBytes} bytes`, line: 1 };
    bytes = readFileSync(path);
  } catch (error) {
    const { code = 'unknown' } = error as NodeJS.ErrnoException;
    return { problem: `cannot be read (${code})`, line: 1, code };
  }
  // Every second byte of western text in UTF-16 is 0, which is no character of any text.
  const isWide = (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff);
  if (isWide || bytes.includes(0)) {
    return { problem: 'is no UTF-8; it looks like UTF-16 or like no text at all: save it as UTF-8', line: 1 };
  }
  try {
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
  } catch {
    // The decoder does not say where: every line is text by itself, since no character of UTF-8 contains a line feed.
    return { problem: 'is no UTF-8; it looks like Latin-1 or Windows-1252: save it as UTF-8', line: wrongLine(bytes) };
  }
}

function wrongLine(bytes: Buffer): number {
  let start = 0;
  for (let line = 1; ; line++) {
    const end = bytes.indexOf(lineFeed, start);
    const part = bytes.subarray(start, end < 0 ? undefined : end);
    if (end < 0 || Buffer.compare(Buffer.from(part.toString('utf8')), part) !== 0) return line;
    start = end + 1;
  }
}
