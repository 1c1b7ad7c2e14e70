/**
 * Nothing lost, nothing doubled: a process is killed at every gap between two of its effects, and its run ends as
 * if nothing had happened. A row whose gap was not reached fails. At full size every row runs with each dialect, and
 * rows that differ only in the tool run as well.
 */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { FULL } from '../e2e/stack.ts';
import type { Row } from './row.ts';
import {
  FURTHER_ROWS,
  HIBERNATION_ROW,
  HIBERNATION_ROWS,
  SCHEDULER_ROWS,
  SUBMIT_ROWS,
  VERIFICATION_ROW,
  VERIFICATION_ROWS,
  WORKER_ROWS,
  WRITER_ROWS,
} from './rows.ts';
import { type Model, type Outcome, tryRows } from './trials.ts';
import { judge, tableOf } from './verdict.ts';
import { startWorld } from './world.ts';

const WORKERS = 8;
/** Fewer than workers: no run waits for another's. */
const AT_ONCE = 5;
const MODELS: readonly Model[] = FULL
  ? ['anthropic/claude-haiku-4-5', 'openai/gpt-4o-mini']
  : ['anthropic/claude-haiku-4-5'];

const workerRows = FULL ? [...WORKER_ROWS, ...FURTHER_ROWS] : WORKER_ROWS;
const hibernations = FULL ? HIBERNATION_ROWS : [HIBERNATION_ROW];

const world = await startWorld({ worker: WORKERS, api: 0, scheduler: 2, 'audit-writer': 2 });
after(() => world.stop());

/** Rows that stop different services go side by side; those that stop the only one of its kind, one by one. */
const stopAll = async (model: Model): Promise<Outcome[]> => {
  const lane = (rows: readonly Row[], atOnce: number): Promise<Outcome[]> =>
    tryRows(world, rows, { atOnce, model });
  const lanes = await Promise.all([
    lane(workerRows, AT_ONCE),
    ...[SUBMIT_ROWS, [...SCHEDULER_ROWS, ...hibernations], WRITER_ROWS].map((rows) => lane(rows, 1)),
  ]);
  return lanes.flat();
};

const judged = async (title: string, outcomes: readonly Outcome[]) => {
  const found = await judge(world, outcomes);
  process.stdout.write(`${title}\n${tableOf(outcomes, found.verdicts)}\n\n`);
  return { title, ...found };
};

const tables = [];
for (const model of MODELS)
  tables.push(await judged(`A process is killed at a gap (${model})`, await stopAll(model)));
// Redis is lost there, so nothing else may be under way.
const verifications = FULL ? VERIFICATION_ROWS : [VERIFICATION_ROW];
for (const model of MODELS) {
  const outcomes = await tryRows(world, verifications, { atOnce: 1, model });
  tables.push(
    await judged(`Redis is lost, and schedulers are killed while they restore it (${model})`, outcomes),
  );
}

for (const { title, verdicts, system } of tables) {
  describe(title, () => {
    for (const { name, story, problems } of verdicts) {
      test(name, () => assert.deepEqual(problems, [], `${problems.join('\n')}\n${story}`));
    }
    test('the system as a whole is in order', () => assert.deepEqual(system, []));
  });
}
