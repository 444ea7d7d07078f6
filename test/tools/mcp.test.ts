import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../src/protocol/event.js';
import { setStage, speech } from './stage.js';

type Stage = ReturnType<typeof setStage>;

const item = (id: string, rest: JsonObject = {}): JsonObject => ({ id, type: 'mcp_call', name: 'look', ...rest });

function call(stage: Stage, id: string, responseId = 'resp_1') {
  stage.hear('response.output_item.added', { response_id: responseId, item: item(id) });
}

function end(stage: Stage, id: string, how = 'completed') {
  stage.hear(`response.mcp_call.${how}`, { item_id: id });
}

describe('tools that upstream runs', () => {
  it.each(['completed', 'failed'])(
    'are followed up when all are over, the last of them %s after the response',
    (how) => {
      const stage = setStage();
      stage.begin();
      call(stage, 'm1');
      call(stage, 'm2');
      end(stage, 'm1');
      stage.done('resp_1', 'completed', [speech, item('m1'), item('m2')]);
      expect(stage.wants).toHaveLength(0);
      end(stage, 'm2', how);
      expect(stage.wants).toMatchObject([{ kind: 'follow-up', after: 'resp_1', state: 'acknowledged' }]);
      end(stage, 'm2', how);
      expect(stage.wants).toHaveLength(1);
    },
  );

  it('are over by what their item says, too', () => {
    const stage = setStage();
    stage.begin();
    call(stage, 'm1');
    stage.hear('response.output_item.done', { response_id: 'resp_1', item: item('m1', { output: 'found' }) });
    stage.done('resp_1', 'completed', [item('m1')]);
    expect(stage.wants).toHaveLength(1);
  });

  it.each<[string, string, JsonObject[]]>([
    ['the model has spoken after the last of them', 'completed', [item('m1'), speech]],
    ['the response was cancelled', 'cancelled', [item('m1')]],
    ['the response failed', 'failed', []],
  ])('are not followed up when %s', (_, status, output) => {
    const stage = setStage();
    stage.begin();
    call(stage, 'm1');
    end(stage, 'm1');
    stage.done('resp_1', status, output);
    expect(stage.wants).toHaveLength(0);
  });

  it('are not waited for for longer than a minute', async () => {
    const stage = setStage();
    stage.begin();
    call(stage, 'm1');
    stage.done('resp_1', 'completed', [item('m1')]);
    await stage.pass(59_999);
    expect(stage.wants).toHaveLength(0);
    await stage.pass(1);
    expect(stage.wants).toHaveLength(1);
  });

  it('have one follow-up together with those of the server', async () => {
    const stage = setStage();
    stage.begin();
    call(stage, 'm1');
    stage.call('a');
    stage.done('resp_1', 'completed', [item('m1'), stage.callOf('a')]);
    await stage.running[0]?.end();
    expect(stage.wants).toHaveLength(0);
    end(stage, 'm1');
    expect(stage.wants).toHaveLength(1);
  });

  it('are a trusted client’s own affair', () => {
    const stage = setStage({ trusted: true });
    stage.begin();
    call(stage, 'm1');
    stage.hear('response.output_item.done', {
      response_id: 'resp_1',
      item: { id: 'q1', type: 'mcp_approval_request' },
    });
    end(stage, 'm1');
    stage.done('resp_1', 'completed', [item('m1')]);
    expect(stage.wants).toHaveLength(0);
    expect(stage.outputs).toHaveLength(0);
  });

  it('that ask for approval get none from an end user, and the model goes on', () => {
    const stage = setStage();
    stage.begin();
    const request = { id: 'q1', type: 'mcp_approval_request', name: 'look', arguments: '{}' };
    stage.hear('response.output_item.done', { response_id: 'resp_1', item: request });
    stage.hear('response.output_item.done', { response_id: 'resp_1', item: request });
    expect(stage.outputs).toHaveLength(0);
    stage.done('resp_1', 'completed', [request]);
    expect(stage.outputs.map((output) => output.item)).toEqual([
      {
        id: expect.stringMatching(/^rly_/),
        type: 'mcp_approval_response',
        approval_request_id: 'q1',
        approve: false,
        reason: 'Not approved.',
      },
    ]);
    expect(stage.wants).toHaveLength(1);
  });

  it('that ask for approval wait ten seconds for a backend that follows, and are decided once', async () => {
    const { runner, begin, hear, done, pass, outputs, wants } = setStage({ followed: true });
    begin();
    for (const id of ['q1', 'q2']) {
      hear('response.output_item.done', { response_id: 'resp_1', item: { id, type: 'mcp_approval_request' } });
    }
    done();
    expect(runner.isWorking).toBe(true);
    await pass(9_999);
    expect([outputs, wants]).toEqual([[], []]);
    expect(runner.forBackends.decide('q1')).toBe(true);
    expect(runner.forBackends.isDecided('q1')).toBe(true);
    expect(wants).toEqual([]);
    await pass(1);
    expect(outputs).toMatchObject([{ item: { approval_request_id: 'q2', approve: false } }]);
    expect(wants).toMatchObject([{ kind: 'follow-up', after: 'resp_1' }]);
    expect(runner.forBackends.decide('q2')).toBe(false);
    expect(runner.isWorking).toBe(false);
  });
});
