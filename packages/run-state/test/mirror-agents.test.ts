/** What is mirrored of an agent: the newest versions, so that no tenant fills Redis by publishing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  findAgent,
  latestAgentVersion,
  mirrorAgent,
  MIRRORED_VERSIONS,
  type Partition,
} from '../src/index.ts';
import { keyOf } from './inspect.ts';
import { freshPartition, TENANT } from './support.ts';

const agent = { tenantId: TENANT, name: 'support' };

const agentKey = (partition: Partition): string => keyOf(partition, `agent:${TENANT}:support`);

const versionsHere = async (partition: Partition): Promise<number[]> =>
  (await partition.redis.hkeys(agentKey(partition))).map(Number).toSorted((a, b) => a - b);

const publish = async (partition: Partition, from: number, to: number): Promise<void> => {
  for (let version = from; version <= to; version += 1)
    await mirrorAgent(partition, { ...agent, version, sealedSpec: `spec ${version}` });
};

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** As older code did, which kept every version. */
const publishAsBefore = async (partition: Partition, to: number): Promise<void> => {
  for (let from = 1; from <= to; from += 1000) {
    const rows = range(from, Math.min(from + 999, to)).flatMap((n) => [String(n), 'old']);
    await partition.redis.hset(agentKey(partition), ...rows);
  }
};

test('the newest versions are kept, and the latest is found by its name alone', async () => {
  const partition = await freshPartition();
  assert.equal(await latestAgentVersion(partition, agent), null);
  await publish(partition, 1, MIRRORED_VERSIONS + 3);
  assert.deepEqual(await versionsHere(partition), range(4, MIRRORED_VERSIONS + 3));
  assert.deepEqual(await findAgent(partition, { ...agent, version: null }), {
    version: MIRRORED_VERSIONS + 3,
    sealedSpec: `spec ${MIRRORED_VERSIONS + 3}`,
  });
  assert.equal((await findAgent(partition, { ...agent, version: 4 }))?.sealedSpec, 'spec 4');
  assert.equal(await findAgent(partition, { ...agent, version: 3 }), null);
});

test('an old version written late does not displace a newer one', async () => {
  const partition = await freshPartition();
  await publish(partition, 5, MIRRORED_VERSIONS + 4);
  await publish(partition, 2, 3);
  assert.deepEqual(await versionsHere(partition), range(5, MIRRORED_VERSIONS + 4));
});

test('large versions are kept fewer, the latest however large it is', async () => {
  const partition = await freshPartition();
  const write = (version: number, bytes: number) =>
    mirrorAgent(partition, { ...agent, version, sealedSpec: 'x'.repeat(bytes) });
  for (const version of range(1, 6)) await write(version, 100_000);
  assert.deepEqual(await versionsHere(partition), [5, 6]);
  await write(7, 1_000_000);
  assert.deepEqual(await versionsHere(partition), [7]);
  assert.equal((await findAgent(partition, { ...agent, version: null }))?.version, 7);
});

test('what older code mirrored without end is found, and cut at the first look', async () => {
  const partition = await freshPartition();
  const most = 130_000;
  await publishAsBefore(partition, most);
  assert.equal(await latestAgentVersion(partition, agent), most);
  assert.deepEqual(await versionsHere(partition), range(most - MIRRORED_VERSIONS + 1, most));
});

test('older and newer code publish side by side: each finds the latest of the other', async () => {
  const partition = await freshPartition();
  await publishAsBefore(partition, 20);
  await publish(partition, 21, 21);
  assert.deepEqual(await versionsHere(partition), range(22 - MIRRORED_VERSIONS, 21), 'what older code reads');
  await partition.redis.hset(agentKey(partition), '22', 'old');
  assert.deepEqual(await findAgent(partition, { ...agent, version: null }), {
    version: 22,
    sealedSpec: 'old',
  });
});
