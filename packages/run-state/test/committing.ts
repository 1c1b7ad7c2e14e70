/** What tests of commits begin with. */
import assert from 'node:assert/strict';
import type { Partition } from '../src/index.ts';
import { claimed, DAY, requested } from './drafts.ts';
import { money, snapshot } from './inspect.ts';
import { type Owner, running } from './support.ts';

export const tenantDay = (partition: Partition) => money(partition, `spend:tenant:acme:${DAY}`);
export const hold = (amount: number, id = 'h1') => ({ id, amount, day: DAY });

/** A run with an announced call, whose commit of the result is at hand. */
export const midCall = async (partition: Partition, holdNano = 100): Promise<Owner> => {
  const owner = await running(partition);
  const reply = await owner.write({ results: [claimed()], announce: [requested(1)], hold: hold(holdNano) });
  assert.equal(reply.code, 'OK');
  return owner;
};

export const assertRefused = async (
  partition: Partition,
  commit: () => Promise<{ code: string }>,
  code: string,
) => {
  const before = await snapshot(partition);
  assert.equal((await commit()).code, code);
  assert.deepEqual(await snapshot(partition), before, 'a refused commit writes nothing');
};
