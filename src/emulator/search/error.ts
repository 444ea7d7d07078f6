/** What the search service says instead of an answer. */

/** A refusal with its HTTP status, in the service's words. */
export class SearchError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** The body of a refusal. Its code is nearly always empty. Source: Azure AI Search REST reference. */
export function errorBody(message: string): string {
  return JSON.stringify({ error: { code: '', message } });
}

/** The refusal of a field that the index does not have. */
export function unknownField(name: string, parameter: string): SearchError {
  const message = `Could not find a property named '${name}' on type 'search.document'.`;
  return new SearchError(400, `Invalid expression: ${message}\r\nParameter name: ${parameter}`);
}
