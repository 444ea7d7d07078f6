import { describe, expect, it } from 'vitest';
import { setStage, speech } from './stage.js';

const slow = { name: 'slow', timeout_seconds: 60, filler: { after_ms: 3000, say: 'Wait for the slow one.' } };
const slower = { name: 'slower', timeout_seconds: 60, filler: { after_ms: 5000, say: 'Wait for the slower one.' } };
const plain = { name: 'plain', timeout_seconds: 60 };
const silent = { ...slow, name: 'silent', reply: 'silent' };

/** A response has ended that called these. */
function called(stage: ReturnType<typeof setStage>, names: readonly string[], id = 'resp_1') {
  stage.begin(id);
  for (const name of names) stage.call(`${id}_${name}`, name, {}, id);
  stage.done(id);
}

const fillers = (stage: ReturnType<typeof setStage>) => stage.wants.filter(({ kind }) => kind === 'filler');

describe('a filler', () => {
  it('is wanted when a call takes longer than it says, in the words and with the instructions of the profile', async () => {
    const stage = setStage({ tools: [slow] });
    called(stage, ['slow']);
    await stage.pass(2999);
    expect(stage.wants).toHaveLength(0);
    await stage.pass(1);
    expect(stage.wants).toMatchObject([
      {
        kind: 'filler',
        after: 'resp_1',
        response: {
          instructions: 'Be kind.\n\nWait for the slow one.',
          tool_choice: 'none',
          metadata: { relay: 'filler' },
        },
      },
    ]);
  });

  it('is the earliest of several, and of what still runs', async () => {
    const stage = setStage({ tools: [slow, slower, plain] });
    called(stage, ['plain', 'slower', 'slow']);
    await stage.pass(1000);
    await stage.running[2]?.end();
    await stage.pass(3999);
    expect(stage.wants).toHaveLength(0);
    await stage.pass(1);
    expect(fillers(stage).map(({ response }) => response?.instructions)).toEqual([
      'Be kind.\n\nWait for the slower one.',
    ]);
  });

  it('is taken back when the call ends before it could be said', async () => {
    const stage = setStage({ tools: [slow] });
    called(stage, ['slow']);
    await stage.pass(3000);
    await stage.running[0]?.end();
    expect(stage.wants).toMatchObject([
      { kind: 'filler', state: 'dropped' },
      { kind: 'follow-up', state: 'wanted' },
    ]);
  });

  it('is said once a turn, however many rounds it has, and again in the next one', async () => {
    const stage = setStage({ tools: [slow] });
    called(stage, ['slow']);
    await stage.pass(3000);
    fillers(stage)[0]?.ended('answered');
    await stage.running[0]?.end();
    called(stage, ['slow'], 'resp_2');
    await stage.pass(3000);
    expect(fillers(stage)).toHaveLength(1);
    await stage.running[1]?.end();
    stage.hear('input_audio_buffer.committed');
    called(stage, ['slow'], 'resp_3');
    await stage.pass(3000);
    expect(fillers(stage)).toHaveLength(2);
  });

  it.each([
    ['the tool ends in silence', (stage: ReturnType<typeof setStage>) => called(stage, ['silent'])],
    ['the tool has none', (stage: ReturnType<typeof setStage>) => called(stage, ['plain'])],
    [
      'the response has spoken already',
      (stage: ReturnType<typeof setStage>) => {
        stage.begin();
        stage.call('a', 'slow');
        stage.done('resp_1', 'completed', [speech]);
      },
    ],
    [
      'the response was cancelled',
      (stage: ReturnType<typeof setStage>) => {
        stage.begin();
        stage.call('a', 'slow');
        stage.done('resp_1', 'cancelled');
      },
    ],
    [
      'the client cancels',
      (stage: ReturnType<typeof setStage>) => {
        called(stage, ['slow']);
        stage.client({ type: 'response.cancel' });
      },
    ],
    [
      'the session has ended',
      (stage: ReturnType<typeof setStage>) => {
        called(stage, ['slow']);
        stage.runner.close();
      },
    ],
  ])('is left out when %s', async (_, act) => {
    const stage = setStage({ tools: [slow, plain, silent] });
    act(stage);
    await stage.pass(30_000);
    expect(fillers(stage)).toHaveLength(0);
  });
});
