import assert from 'node:assert/strict';
import { test } from 'node:test';
import { appendDrafts } from '@signalbox/engine';
import { freePort } from '@signalbox/local';
import {
  IDEMPOTENCY_TTL_MS,
  openLease,
  openPartition,
  readBacklog,
  readRun,
  repair,
  restoreIdempotency,
  submitRun,
} from '../src/index.ts';
import { completed, requested } from './drafts.ts';
import { auditedEntries, keyOf, record, snapshot } from './inspect.ts';
import { code, freshPartition, makeSubmission, openRedis, submit, TENANT } from './support.ts';

const LIMIT = { backlogLimit: 1000 };

test('a submitted run has its first event, its audit entry and its activation', async () => {
  const partition = await freshPartition();
  const { runId, submission, activations } = await submit(partition, {
    contents: [['sha256:a', 'c2VhbGVk']],
  });
  assert.deepEqual(activations, [{ runId, wakeSeq: 1 }]);
  const run = await readRun(partition, { tenantId: TENANT, runId }, 'all');
  assert.deepEqual(run?.entries, submission.entries);
  assert.equal(run?.contents.get('sha256:a'), 'c2VhbGVk');
  assert.deepEqual(await auditedEntries(partition, runId), submission.entries);
  const { status, epoch, seq, head } = await record(partition, runId);
  assert.deepEqual(
    { status, epoch, seq, head },
    { status: 'queued', epoch: '0', seq: '1', head: submission.entries[0]?.slice(0, 64) },
  );
});

test('a submission with more events than its first writes them all at once, audited as one commit', async () => {
  const partition = await freshPartition();
  const { submission, head } = makeSubmission();
  const context = { runId: submission.runId, epoch: 0, ts: '2026-01-01T00:00:00.000Z' } as const;
  const actor = { type: 'system', id: 'api' } as const;
  const taken = appendDrafts(head, [requested(1), completed(1)], { ...context, actor });
  const entries = [...submission.entries, ...taken.entries];
  const contents = [['sha256:a', 'c2VhbGVk']] as const;
  const outcome = await submitRun(partition, { ...submission, entries, contents }, LIMIT);
  assert.equal(outcome.type, 'created');
  const run = await readRun(partition, { tenantId: TENANT, runId: submission.runId }, 'all');
  assert.deepEqual(run?.entries, entries);
  assert.deepEqual([...(run?.contents ?? [])], contents);
  assert.equal((await readBacklog(partition, Date.now())).events, 1);
  assert.deepEqual(await auditedEntries(partition, submission.runId), entries);
  const { seq, head: at } = await record(partition, submission.runId);
  assert.deepEqual({ seq, at }, { seq: '3', at: taken.head.hash });
});

test('a fork of the longest run there can be fits into one submission', async () => {
  const partition = await freshPartition();
  const { submission, head } = makeSubmission();
  const steps = Array.from({ length: 1000 }, (_, i) => [requested(i + 1), completed(i + 1)]).flat();
  const actor = { type: 'system', id: 'api' } as const;
  const context = { runId: submission.runId, epoch: 0, ts: '2026-01-01T00:00:00.000Z', actor };
  const entries = [...submission.entries, ...appendDrafts(head, steps, context).entries];
  const contents = Array.from({ length: 1002 }, (_, i) => [`sha256:${i}`, 'c2VhbGVk'] as const);
  await submitRun(partition, { ...submission, entries, contents }, LIMIT);
  const run = await readRun(partition, { tenantId: TENANT, runId: submission.runId }, 'all');
  assert.deepEqual([run?.entries.length, run?.contents.size], [2001, 1002]);
});

test('the same key and fingerprint give the first run and write nothing', async () => {
  const partition = await freshPartition();
  const idempotency = [{ key_digest: 'k1', fingerprint: 'f1' }];
  const { runId } = await submit(partition, { idempotency });
  const before = await snapshot(partition);
  const again = makeSubmission({ idempotency });
  assert.deepEqual(await submitRun(partition, again.submission, LIMIT), { type: 'exists', runId });
  assert.deepEqual(await snapshot(partition), before);
});

test('the same key with another fingerprint is refused and writes nothing', async () => {
  const partition = await freshPartition();
  await submit(partition, { idempotency: [{ key_digest: 'k1', fingerprint: 'f1' }] });
  const before = await snapshot(partition);
  const other = makeSubmission({ idempotency: [{ key_digest: 'k1', fingerprint: 'f2' }] });
  await assert.rejects(submitRun(partition, other.submission, LIMIT), code('idempotency_mismatch'));
  assert.deepEqual(await snapshot(partition), before);
});

test('a run is found by a mark under any key of the keyring, also by who has but one of them', async () => {
  const partition = await freshPartition();
  const mark = (n: number, fingerprint = `f${n}`) => ({ key_digest: `k${n}`, fingerprint });
  const { runId } = await submit(partition, { idempotency: [mark(1)] });
  const again = makeSubmission({ idempotency: [mark(2), mark(1)] });
  assert.deepEqual(await submitRun(partition, again.submission, LIMIT), { type: 'exists', runId });
  const other = makeSubmission({ idempotency: [mark(2), mark(1, 'other')] });
  await assert.rejects(submitRun(partition, other.submission, LIMIT), code('idempotency_mismatch'));
  const next = await submit(partition, { idempotency: [mark(4), mark(3)] });
  for (const n of [3, 4]) {
    // Before and behind a rotation.
    const one = makeSubmission({ idempotency: [mark(n)] });
    assert.deepEqual(await submitRun(partition, one.submission, LIMIT), {
      type: 'exists',
      runId: next.runId,
    });
  }
  const known = await partition.redis.keys(keyOf(partition, 'idem:*'));
  const marked = [1, 3, 4].map((n) => keyOf(partition, `idem:${TENANT}:k${n}`));
  assert.deepEqual(known.toSorted(), marked);
});

test('records that were lost are put back for the rest of their time; what is there stays', async () => {
  const partition = await freshPartition();
  const { runId } = await submit(partition, { idempotency: [{ key_digest: 'here', fingerprint: 'f' }] });
  const created = Date.now() - 3_600_000;
  const record = { tenantId: TENANT, fingerprint: 'f', runId: 'run_old', createdMs: created };
  await restoreIdempotency(partition, [
    { ...record, key_digest: 'here' },
    { ...record, key_digest: 'lost' },
    { ...record, key_digest: 'expired', createdMs: Date.now() - IDEMPOTENCY_TTL_MS - 1000 },
  ]);
  const runOf = async (key_digest: string) => {
    const { submission } = makeSubmission({ idempotency: [{ key_digest, fingerprint: 'f' }] });
    const outcome = await submitRun(partition, submission, LIMIT);
    return outcome.type === 'exists' ? outcome.runId : 'new';
  };
  assert.deepEqual(await Promise.all(['here', 'lost', 'expired'].map(runOf)), [runId, 'run_old', 'new']);
  const until = await partition.redis.pexpiretime(keyOf(partition, `idem:${TENANT}:lost`));
  assert.equal(until, created + IDEMPOTENCY_TTL_MS);
});

test('an idempotency key belongs to its tenant', async () => {
  const partition = await freshPartition();
  await submit(partition, { idempotency: [{ key_digest: 'k1', fingerprint: 'f1' }] });
  const other = makeSubmission({ tenantId: 'other', idempotency: [{ key_digest: 'k1', fingerprint: 'f2' }] });
  assert.equal((await submitRun(partition, other.submission, LIMIT)).type, 'created');
});

test('a submit resent after a lost reply finds its own run', async () => {
  const partition = await freshPartition();
  const { runId, submission } = await submit(partition);
  const before = await snapshot(partition);
  assert.deepEqual(await submitRun(partition, submission, LIMIT), { type: 'exists', runId });
  assert.deepEqual(await snapshot(partition), before);
});

test('a full audit backlog refuses new runs and writes nothing (R9)', async () => {
  const partition = await freshPartition();
  await submit(partition);
  assert.equal((await readBacklog(partition, Date.now())).events, 1);
  const before = await snapshot(partition);
  const next = makeSubmission({ idempotency: [{ key_digest: 'k', fingerprint: 'f' }] });
  await assert.rejects(submitRun(partition, next.submission, { backlogLimit: 1 }), code('audit_backlog'));
  assert.deepEqual(await snapshot(partition), before);
});

test('a run for later parks with a timer and starts when it is due', async () => {
  const partition = await freshPartition();
  const { runId, activations } = await submit(partition, { dueMs: Date.now() + 3_600_000 });
  assert.deepEqual(activations, []);
  const { status, reason } = await record(partition, runId);
  assert.deepEqual({ status, reason }, { status: 'waiting', reason: 'timer' });
  assert.equal((await repair(partition, { limit: 10, graceMs: 60_000 })).timers, 0);
  await partition.redis.zadd(keyOf(partition, 'timers'), 1, runId);
  const repaired = await repair(partition, { limit: 10, graceMs: 60_000 });
  assert.equal(repaired.timers, 1);
  assert.deepEqual(repaired.activations, [{ runId, wakeSeq: 2 }]);
});

test('priority comes before age', async () => {
  const partition = await freshPartition();
  await submit(partition, { tenantId: 'blocker' });
  const low = await submit(partition, { priority: 'low' });
  const normal = await submit(partition, { priority: 'normal' });
  const early = await submit(partition, { priority: 'high' });
  const late = await submit(partition, { priority: 'high' });
  const opened = await openLease(partition, { leaseId: 'l1', leaseMs: 60_000, slots: 100 });
  assert.ok(opened.type === 'live');
  assert.deepEqual(
    opened.activations.map(({ runId }) => runId),
    [early, late, normal, low].map(({ runId }) => runId),
  );
});

test('without Redis a submit fails as state_unavailable, which is worth a retry', async () => {
  const redis = await openRedis('state', `redis://127.0.0.1:${await freePort()}`);
  const partition = openPartition(redis, { namespace: 'nowhere' });
  await assert.rejects(
    submitRun(partition, makeSubmission().submission, LIMIT),
    (error) => code('state_unavailable')(error) && error.retryable,
  );
});
