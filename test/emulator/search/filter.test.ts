import { beforeAll, describe, expect, it } from 'vitest';
import { definitionOf } from '../../../src/emulator/search/definition.js';
import type { SearchError } from '../../../src/emulator/search/error.js';
import { filterOf } from '../../../src/emulator/search/filter.js';
import { definition, documents } from './library.js';

let passing: (filter: string) => string[];

beforeAll(() => {
  const index = definitionOf(definition);
  passing = (filter) => {
    const passes = filterOf(filter, index);
    return documents.filter((document) => passes(document)).map(({ chunk_id }) => chunk_id);
  };
});

describe('a filter', () => {
  it.each([
    ["tenant eq 'acme'", ['leave_1', 'board_1']],
    ["tenant eq 'ACME'", []],
    ["tenant eq 'o''brien'", ['leave-2']],
    ["'acme' eq tenant", ['leave_1', 'board_1']],
    ["tenant ne 'acme'", ['leave-2', 'orders_1']],
    ['tenant eq null', ['orders_1']],
    ['tenant ne null', ['leave_1', 'leave-2', 'board_1']],
    ['pages gt 5', ['leave_1', 'leave-2']],
    ['pages ge 5 and pages lt 20', ['leave_1', 'orders_1']],
    ['pages le -1', []],
    ['pages eq null', ['board_1']],
    ['is_public', ['leave-2']],
    ['is_public eq true', ['leave-2']],
    ['not is_public', ['leave_1', 'board_1', 'orders_1']],
    ['updated gt 2026-02-01T00:00:00Z', ['leave-2', 'board_1']],
    ["search.in(tenant, 'x,acme')", ['leave_1', 'board_1']],
    ["search.in(tenant, 'x acme')", ['leave_1', 'board_1']],
    ["search.in(tenant, 'x acme', '|')", []],
    ["search.in(tenant, 'x|acme;y', '|;')", ['leave_1', 'board_1']],
    ["search.in(tenant, '', '|')", []],
    ["group_ids/any(g: g eq 'staff')", ['leave_1', 'leave-2']],
    ["group_ids/any(g:search.in(g, 'board|all', '|'))", ['leave-2', 'board_1']],
    ["group_ids/any(g:search.in(g, '', '|'))", []],
    ["group_ids/all(g: g eq 'staff')", ['leave_1', 'orders_1']],
    ["group_ids/all(g: g ne 'board') and group_ids/any()", ['leave_1', 'leave-2']],
    ['not group_ids/any()', ['orders_1']],
    ["tenant eq 'acme' and pages eq 10 or is_public", ['leave_1', 'leave-2']],
    ["tenant eq 'acme' and (pages eq 10 or is_public)", ['leave_1']],
    ["not (tenant eq 'acme') and not is_public", ['orders_1']],
    ["not tenant eq 'acme'", ['leave-2', 'orders_1']],
    ["((tenant eq 'acme')) and (group_ids/any(g: g eq 'board'))", ['board_1']],
  ])('%s lets pass %j', (filter, expected) => {
    expect(passing(filter)).toEqual(expected);
  });

  it.each([
    ['', /ends too early/],
    ['tenant', /no boolean/],
    ['tenant eq', /ends too early/],
    ["tenant eq 'acme' and", /ends too early/],
    ["(tenant eq 'acme'", /'\)' expected/],
    ["tenant eq 'acme')", /Syntax error/],
    ["tenant eq 'acme", /not valid/],
    ["tenant eq 'o'brien'", /Syntax error|not valid/],
    ["tenant = 'acme'", /not valid/],
    ["tenant EQ 'acme'", /no boolean/],
    ["tenant eq 'a' tenant eq 'b'", /Syntax error/],
    ['tenant eq 5', /incompatible types/],
    ["pages eq '5'", /incompatible types/],
    ["'a' eq 'a'", /must be a field/],
    ["title eq 'Leave.pdf'", /not a filterable field/],
    ["chunk_id eq 'leave_1'", /not a filterable field/],
    ["nothing eq 'x'", /Could not find a property named 'nothing'/],
    ["group_ids eq 'staff'", /needs 'any' or 'all'/],
    ["search.in(group_ids, 'staff', '|')", /needs 'any' or 'all'/],
    ["search.in(pages, '5')", /Edm.String/],
    ["search.in('x', 'x')", /Edm.String/],
    ['search.in(tenant, tenant)', /string literal/],
    ["search.ismatch('x')", /Could not find a property/],
    ["tenant/any(t: t eq 'acme')", /needs a collection/],
    ["group_ids/some(g: g eq 'staff')", /not supported/],
    ["group_ids/any(g: h eq 'staff')", /named 'h'/],
    ['group_ids/all()', /Syntax error/],
    ["group_ids/any(g: group_ids/any(h: h eq 'x'))", /may not stand in another/],
    [`${'('.repeat(60)}is_public${')'.repeat(60)}`, /too deeply/],
    [`${'not '.repeat(60)}is_public`, /too deeply/],
  ])('%j is refused', (filter, message) => {
    let refusal: SearchError | null = null;
    try {
      passing(filter);
    } catch (error) {
      refusal = error as SearchError;
    }
    expect(refusal?.status).toBe(400);
    expect(refusal?.message).toMatch(message);
    expect(refusal?.message).toMatch(/^Invalid expression: .*\r\nParameter name: \$filter$/s);
  });
});
