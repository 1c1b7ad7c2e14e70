import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentSpec, type AnswerContent, type EventDraft } from '@signalbox/contracts';
import { claimed, isoAt, llmCompleted, llmRequested, RUN_ID, submitted } from '../../test/drafts.ts';
import { digest, INPUT } from '../../test/journey.ts';
import { appendDrafts, EMPTY_HEAD } from '../journal/chain.ts';
import { replay } from './replay.ts';
import { specText } from '../run/request.ts';

const SPEC = AgentSpec.parse({ model: 'mock/a' });
const CUT_OFF: AnswerContent = { text: 'It goes on and', tool_calls: [] };
const RECORDING = {
  spec: SPEC,
  storedSpec: SPEC,
  input: INPUT,
  contents: { answer: () => CUT_OFF, result: () => assert.fail('no result is read') },
  digest,
};

/** Whether the decisions on a recorded answer that was cut off stay with another limit than the recorded 1024. */
const staysWith = (max_output_tokens: number, asked: number, end: EventDraft): boolean => {
  const drafts = [
    submitted({ spec_digest: digest(specText(SPEC)) }),
    claimed(),
    llmRequested(1, { max_output_tokens: asked }),
    llmCompleted(1, { finish_reason: 'length' }),
    end,
  ];
  const context = { runId: RUN_ID, epoch: 1, ts: isoAt(0), actor: { type: 'system', id: 'w' } } as const;
  const { entries } = appendDrafts(EMPTY_HEAD, drafts, context);
  const changes = { limits: { max_output_tokens } };
  return replay(entries, RECORDING, { changes, compare: 'decisions' }).identical;
};

for (const limit of [256, 1024, 4096]) {
  test(`an answer that ran into the recorded limit is cut off, tried with a limit of ${limit} too`, () => {
    assert.equal(staysWith(limit, 1024, llmRequested(2, { nudge: 'truncated' })), true);
  });

  test(`an answer that was shortened to fit under a cap is good enough, tried with a limit of ${limit} too`, () => {
    const end = {
      type: 'run.succeeded',
      refs: { output: 'sha256:output-1' },
      data: { steps: 1 },
    } as const;
    assert.equal(staysWith(limit, 300, end), true);
  });
}
