import { describe, expect, it } from 'vitest';
import { didFail, givenUp, notAllowed, timedOut, tooMany, wrongArguments } from '../../src/tools/texts.js';

describe('what the model is told', () => {
  it.each([
    [
      timedOut('over 10 s'),
      'timeout',
      '{"error":"timeout","message":"The lookup took too long. Tell the user that it is not available right now."}',
    ],
    [
      didFail('network', 'ECONNREFUSED'),
      'failed',
      '{"error":"failed","message":"The lookup did not work. Tell the user that it is not available right now."}',
    ],
    [
      notAllowed('claim', 'no claim groups'),
      'refused',
      '{"error":"refused","message":"This is not allowed. Tell the user that it cannot be done."}',
    ],
    [
      tooMany('5 at once'),
      'refused',
      '{"error":"refused","message":"Too many lookups at once. Try again with fewer."}',
    ],
    [
      givenUp('interrupted', 'the user speaks'),
      'aborted',
      '{"error":"refused","message":"The user interrupted; whether it was done is not known. Ask before trying again."}',
    ],
    [
      wrongArguments('city must be string'),
      'invalid_arguments',
      '{"error":"invalid_arguments","message":"The arguments were wrong: city must be string. Correct them and call again."}',
    ],
  ])('of %o', (end, outcome, output) => {
    expect(end).toMatchObject({ outcome, output, bytes: 0 });
  });

  it('has nothing of why a call failed', () => {
    expect(didFail('status', 'HTTP 500 from 10.1.2.3').output).not.toContain('10.1.2.3');
  });
});
