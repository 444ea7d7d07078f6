/** `filter` of a query: the part of OData that the service takes, judged against the index and made a predicate. */
import type { Json, JsonObject } from '../../protocol/event.js';
import type { Definition, Field } from './definition.js';
import { SearchError, unknownField } from './error.js';
import { type Token, tokensOf } from './filter-tokens.js';

/** Whether a document passes. */
export type Filter = (document: JsonObject) => boolean;

/** A document, and the element of its collection that an `any` or `all` looks at. */
interface Scope {
  readonly document: JsonObject;
  readonly element: Json;
}
type Test = (scope: Scope) => boolean;

/** One side of a comparison: its type in OData, and its value. */
interface Operand {
  readonly type: string;
  readonly isField: boolean;
  value(scope: Scope): Json;
}

const comparisons: Readonly<Record<string, (order: number) => boolean>> = {
  eq: (order) => order === 0,
  ne: (order) => order !== 0,
  gt: (order) => order > 0,
  ge: (order) => order >= 0,
  lt: (order) => order < 0,
  le: (order) => order <= 0,
};
const maxDepth = 50;

/** Reads a filter. Throws a SearchError for one that the service would refuse. */
export function filterOf(text: string, index: Definition): Filter {
  const reader = new Reader(tokensOf(text), index);
  const test = reader.whole();
  return (document) => test({ document, element: null });
}

class Reader {
  readonly #tokens: readonly Token[];
  readonly #index: Definition;
  #at = 0;
  #depth = 0;
  /** The variable of the `any` or `all` that is being read, and what it stands for. */
  #variable: { name: string; type: string } | null = null;

  constructor(tokens: readonly Token[], index: Definition) {
    this.#tokens = tokens;
    this.#index = index;
  }

  whole(): Test {
    const test = this.#either();
    const rest = this.#peek();
    if (rest) throw invalid(`Syntax error at position ${rest.at}.`);
    return test;
  }

  #either(): Test {
    const tests = [this.#both()];
    while (this.#takes('or')) tests.push(this.#both());
    return tests.length === 1 ? (tests[0] as Test) : (scope) => tests.some((test) => test(scope));
  }

  #both(): Test {
    const tests = [this.#negated()];
    while (this.#takes('and')) tests.push(this.#negated());
    return tests.length === 1 ? (tests[0] as Test) : (scope) => tests.every((test) => test(scope));
  }

  #negated(): Test {
    if (!this.#takes('not')) return this.#single();
    const test = this.#deeper(() => this.#negated());
    return (scope) => !test(scope);
  }

  #single(): Test {
    if (this.#takes('(')) {
      const test = this.#deeper(() => this.#either());
      this.#expect(')');
      return test;
    }
    if (this.#takes('search.in')) return this.#searchIn();
    const token = this.#peek();
    if (token?.kind === 'name' && token.text.includes('/')) return this.#quantified();
    return this.#compared();
  }

  /** `search.in(field, 'one|two', '|')`: the third argument is a set of characters, blank and comma when left out. */
  #searchIn(): Test {
    this.#expect('(');
    const tested = this.#operand();
    if (tested.type !== 'Edm.String' || !tested.isField) throw invalid("'search.in' needs a field of type Edm.String.");
    this.#expect(',');
    const list = this.#text();
    const delimiters = this.#takes(',') ? this.#text() : ' ,';
    this.#expect(')');
    const values = new Set(split(list, delimiters));
    return (scope) => {
      const value = tested.value(scope);
      return typeof value === 'string' && values.has(value);
    };
  }

  /** `field/any()`, `field/any(x: …)`, `field/all(x: …)` over a collection. */
  #quantified(): Test {
    const path = this.#next().text;
    const [name = '', quantifier] = path.split('/');
    if (quantifier !== 'any' && quantifier !== 'all') throw invalid(`'${path}' is not supported.`);
    const field = this.#field(name);
    if (!field.type.startsWith('Collection(')) throw invalid(`'${quantifier}' needs a collection; '${name}' is none.`);
    if (this.#variable) throw invalid(`'${quantifier}' may not stand in another one.`);
    this.#expect('(');
    if (quantifier === 'any' && this.#takes(')')) return ({ document }) => listAt(document, name).length > 0;
    const variable = this.#next();
    if (variable.kind !== 'name') throw invalid(`Syntax error at position ${variable.at}.`);
    this.#expect(':');
    this.#variable = { name: variable.text, type: field.type.slice('Collection('.length, -1) };
    const test = this.#deeper(() => this.#either());
    this.#variable = null;
    this.#expect(')');
    const each =
      ({ document }: Scope) =>
      (element: Json) =>
        test({ document, element });
    if (quantifier === 'any') return (scope) => listAt(scope.document, name).some(each(scope));
    return (scope) => listAt(scope.document, name).every(each(scope));
  }

  #compared(): Test {
    const left = this.#operand();
    const operator = this.#peek();
    const compare = operator?.kind === 'name' ? comparisons[operator.text] : undefined;
    if (!compare) {
      if (left.type !== 'Edm.Boolean') throw invalid('The expression is no boolean one.');
      return (scope) => left.value(scope) === true;
    }
    const { text: word } = this.#next();
    const right = this.#operand();
    if (!left.isField && !right.isField) throw invalid('One side of a comparison must be a field.');
    if (!areAlike(left.type, right.type)) {
      throw invalid(
        `A binary operator with incompatible types was detected. Found operand types '${left.type}' and '${right.type}' for operator kind '${word}'.`,
      );
    }
    return (scope) => {
      const [one, other] = [left.value(scope), right.value(scope)];
      if (one === null || other === null) return (word === 'eq' || word === 'ne') && compare(one === other ? 0 : 1);
      return compare(orderOf(one, other, left.isField ? left.type : right.type));
    };
  }

  #operand(): Operand {
    const token = this.#next();
    if (token.kind === 'string') return constant('Edm.String', token.text);
    if (token.kind === 'number') return constant('number', Number(token.text));
    if (token.kind === 'date') return constant('Edm.DateTimeOffset', token.text);
    if (token.kind !== 'name') throw invalid(`Syntax error at position ${token.at}.`);
    if (token.text === 'null') return constant('null', null);
    if (token.text === 'true' || token.text === 'false') return constant('Edm.Boolean', token.text === 'true');
    if (token.text === this.#variable?.name) {
      return { type: this.#variable.type, isField: true, value: ({ element }) => element };
    }
    const field = this.#field(token.text);
    if (field.type.startsWith('Collection(')) throw invalid(`The collection '${field.name}' needs 'any' or 'all'.`);
    return { type: field.type, isField: true, value: ({ document }) => document[field.name] ?? null };
  }

  #field(name: string): Field {
    const field = this.#index.fields.get(name);
    if (!field) throw unknownField(name, '$filter');
    if (field.isFilterable) return field;
    throw invalid(`'${name}' is not a filterable field. Only filterable fields can be used in filter expressions.`);
  }

  #text(): string {
    const token = this.#next();
    if (token.kind !== 'string') throw invalid(`Expected a string literal at position ${token.at}.`);
    return token.text;
  }

  #deeper(read: () => Test): Test {
    this.#depth += 1;
    if (this.#depth > maxDepth) throw invalid('The expression is nested too deeply.');
    const test = read();
    this.#depth -= 1;
    return test;
  }

  #peek(): Token | undefined {
    return this.#tokens[this.#at];
  }

  #next(): Token {
    const token = this.#tokens[this.#at++];
    if (!token) throw invalid('Syntax error: the expression ends too early.');
    return token;
  }

  #takes(text: string): boolean {
    const token = this.#peek();
    if (token?.text !== text || token.kind === 'string') return false;
    this.#at += 1;
    return true;
  }

  #expect(text: string): void {
    if (!this.#takes(text))
      throw invalid(`Syntax error: '${text}' expected at position ${this.#peek()?.at ?? 'the end'}.`);
  }
}

function constant(type: string, value: Json): Operand {
  return { type, isField: false, value: () => value };
}

const numeric = new Set(['number', 'Edm.Int32', 'Edm.Int64', 'Edm.Double']);

function areAlike(one: string, other: string): boolean {
  return one === other || one === 'null' || other === 'null' || (numeric.has(one) && numeric.has(other));
}

function orderOf(one: Json, other: Json, type: string): number {
  if (type === 'Edm.DateTimeOffset') return Math.sign(Date.parse(String(one)) - Date.parse(String(other)));
  if (typeof one === 'number' && typeof other === 'number') return Math.sign(one - other);
  const [left, right] = [String(one), String(other)];
  return left < right ? -1 : left > right ? 1 : 0;
}

function listAt(document: JsonObject, name: string): readonly Json[] {
  const value = document[name];
  return Array.isArray(value) ? value : [];
}

/** Cuts at each of these characters; what is left of blanks around is not a value's. */
function split(list: string, delimiters: string): string[] {
  const parts: string[] = [''];
  for (const character of list) {
    if (delimiters.includes(character)) parts.push('');
    else parts[parts.length - 1] += character;
  }
  return parts.filter((part) => part !== '');
}

function invalid(detail: string): SearchError {
  return new SearchError(400, `Invalid expression: ${detail}\r\nParameter name: $filter`);
}
