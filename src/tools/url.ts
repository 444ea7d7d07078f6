/** Arguments as the query of a URL. */

const tokens = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\]:,]/g;

/**
 * The fields of a JSON object, in the order and the words of its text: a number of more digits than a double has stays what
 * the model wrote. The text has been parsed before.
 */
export function fieldsOf(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  let depth = 0;
  let key = '';
  let begin = 0;
  let isValue = false;
  for (const { 0: token, index } of text.matchAll(tokens)) {
    if (depth === 1 && isValue && (token === ',' || token === '}')) {
      fields.set(key, text.slice(begin, index).trim());
      isValue = false;
    }
    if (token === '{' || token === '[') depth++;
    else if (token === '}' || token === ']') depth--;
    else if (depth === 1 && !isValue && token === ':') {
      isValue = true;
      begin = index + 1;
    } else if (depth === 1 && !isValue && token !== ',') key = JSON.parse(token) as string;
  }
  return fields;
}

/** A URL with the arguments behind its own query: scalars as text, lists and objects as JSON, nulls not at all. */
export function withQuery(url: URL, args: string): string {
  const pairs = [...fieldsOf(args)]
    .filter(([, value]) => value !== 'null')
    .map(([key, value]) => {
      const text = value.startsWith('"') ? (JSON.parse(value) as string) : value;
      return `${encodeURIComponent(key)}=${encodeURIComponent(text)}`;
    });
  const { search } = url;
  return String(Object.assign(new URL(url), { search: [search.slice(1), ...pairs].filter(Boolean).join('&') }));
}
