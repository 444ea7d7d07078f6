/** What hides the length of words from who watches the wire: each delta of words and its padding are equally long. */
import { random } from './ids.js';

/** Characters of a delta and its padding together. Source: recordings of live sessions. */
const paddedLength = 16;

/** The fields of one delta of words. */
export function padded(delta: string): { delta: string; obfuscation: string } {
  return { delta, obfuscation: random(Math.max(0, paddedLength - delta.length)) };
}

/** A text in pieces that can be padded. */
export function pieces(text: string): string[] {
  return text.match(/[\s\S]{1,16}/g) ?? [];
}
