/** Runs recorded by past versions mean to today's code what they meant then: byte for byte, step for step (R12). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chainBreak, fold, readEntry } from '@signalbox/engine';
import { createLogger } from '@signalbox/runtime';
import { replayStored } from '../../services/api/src/replays/replay-stored.ts';
import { stepsOf, viewOf } from '../../services/api/src/runs/run-view.ts';
import { keyring, readHistory, storedRun, storyNames } from './history.ts';
import { STORIES } from './stories.ts';

const deps = { keyring, logger: createLogger({ service: 'test', level: 'error' }) };

test('every story is recorded, and every recording is of a story', () => {
  assert.deepEqual(storyNames(), Object.keys(STORIES).toSorted());
});

for (const story of storyNames()) {
  const history = readHistory(story);
  const run = storedRun(history);

  test(`${story}: the chain is the one that was written`, () => {
    assert.equal(chainBreak(run.entries), null);
  });

  test(`${story}: replays identical`, () => {
    assert.deepEqual(replayStored(keyring, run), history.replayed);
    assert.deepEqual(history.replayed.divergences, []);
  });

  test(`${story}: the run and its steps are shown as then`, () => {
    // What a later version shows in addition is no difference.
    assert.partialDeepStrictEqual(viewOf(deps, run), history.view);
    const steps = stepsOf(deps, run, true);
    assert.equal(steps.length, history.steps.length);
    for (const [index, step] of history.steps.entries()) assert.partialDeepStrictEqual(steps[index], step);
  });

  test(`${story}: every prefix of the journal folds to the state its events tell`, () => {
    const events = run.entries.map(readEntry);
    for (let end = 1; end <= events.length; end += 1) {
      const state = fold(events.slice(0, end));
      assert.deepEqual([state.seq, state.hash], [end, events[end - 1]?.hash]);
    }
  });

  test(`${story}: a change of any of its contents is found out`, () => {
    for (const [ref, sealed] of run.contents) {
      const bytes = Buffer.from(sealed, 'base64');
      bytes[0] = (bytes[0] ?? 0) ^ 1;
      const contents = new Map(run.contents).set(ref, bytes.toString('base64'));
      const [first] = replayStored(keyring, { ...run, contents }).divergences;
      assert.deepEqual([first?.kind, first?.expected], ['content', ref]);
    }
  });
}
