/** Text for terminals: what others wrote must neither command the reader's terminal nor look like the program's own lines. */

const breaks = /(?![\u200c\u200d])[\s\p{C}]+/gu;
/** Controls (all but line feed and tab; C1 as well), what turns the direction of writing round, separators, tags. Joiners are spelling. */
const commands = /(?![\n\t\u200c\u200d])[\p{Cc}\p{Cs}\p{Bidi_Control}\u200b\p{Zl}\p{Zp}\ufeff\u{e0000}-\u{e007f}]/gu;

/** Somebody else's text as a part of one line, without anything that cannot be seen. */
export function oneLine(text: string, longest = 2000): string {
  // Cut first, so that a text of megabytes costs nothing; what it holds twice over is blanks.
  const line = text
    .slice(0, 4 * longest)
    .replace(breaks, ' ')
    .trim();
  return line.length > longest ? `${line.slice(0, longest)}…` : line;
}

/** The net under all that is printed: what a terminal would obey stands there as an escape, as in JSON. */
export function visible(text: string): string {
  return text.replace(commands, escaped);
}

function escaped(character: string): string {
  return [...Array(character.length).keys()]
    .map((index) => `\\u${character.charCodeAt(index).toString(16).padStart(4, '0')}`)
    .join('');
}
