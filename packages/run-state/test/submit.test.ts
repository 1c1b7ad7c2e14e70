import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SignalboxError } from '@signalbox/contracts';
import { freePort, startRedis, temporaryDir } from '@signalbox/local';
import {
  openLease,
  openPartition,
  readBacklog,
  readRun,
  repair,
  requestAbort,
  submitRun,
} from '../src/index.ts';
import { auditedEntries, keyOf, record, snapshot } from './inspect.ts';
import { freshPartition, makeSubmission, openRedis, submit, TENANT } from './support.ts';

const LIMIT = { backlogLimit: 1000 };
const code = (wanted: string) => (error: unknown) => error instanceof SignalboxError && error.code === wanted;

test('a submitted run has its first event, its audit entry and its activation', async () => {
  const partition = await freshPartition();
  const { runId, submission, activations } = await submit(partition, {
    contents: [['sha256:a', 'c2VhbGVk']],
  });
  assert.deepEqual(activations, [{ runId, wakeSeq: 1 }]);
  const run = await readRun(partition, TENANT, runId);
  assert.deepEqual(run?.entries, [submission.entry]);
  assert.equal(run?.contents.get('sha256:a'), 'c2VhbGVk');
  assert.deepEqual(await auditedEntries(partition, runId), [submission.entry]);
  const { status, epoch, seq, head } = await record(partition, runId);
  assert.deepEqual(
    { status, epoch, seq, head },
    { status: 'queued', epoch: '0', seq: '1', head: submission.entry.slice(0, 64) },
  );
});

test('the same key and fingerprint give the first run and write nothing', async () => {
  const partition = await freshPartition();
  const idempotency = { keyDigest: 'k1', fingerprint: 'f1' };
  const { runId } = await submit(partition, { idempotency });
  const before = await snapshot(partition);
  const again = makeSubmission({ idempotency });
  assert.deepEqual(await submitRun(partition, again.submission, LIMIT), { type: 'exists', runId });
  assert.deepEqual(await snapshot(partition), before);
});

test('the same key with another fingerprint is refused and writes nothing', async () => {
  const partition = await freshPartition();
  await submit(partition, { idempotency: { keyDigest: 'k1', fingerprint: 'f1' } });
  const before = await snapshot(partition);
  const other = makeSubmission({ idempotency: { keyDigest: 'k1', fingerprint: 'f2' } });
  await assert.rejects(submitRun(partition, other.submission, LIMIT), code('idempotency_mismatch'));
  assert.deepEqual(await snapshot(partition), before);
});

test('an idempotency key belongs to its tenant', async () => {
  const partition = await freshPartition();
  await submit(partition, { idempotency: { keyDigest: 'k1', fingerprint: 'f1' } });
  const other = makeSubmission({ tenantId: 'other', idempotency: { keyDigest: 'k1', fingerprint: 'f2' } });
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
  const next = makeSubmission({ idempotency: { keyDigest: 'k', fingerprint: 'f' } });
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
    (error) => code('state_unavailable')(error) && (error as SignalboxError).retryable,
  );
});

test('a Redis that is full takes no run, leaves nothing behind, and still takes an abort', async () => {
  const server = await startRedis({ dir: await temporaryDir() });
  const redis = await openRedis('state', server.url);
  const partition = await freshPartition(redis);
  const { runId } = await submit(partition);
  const before = await snapshot(partition);
  await redis.config('SET', 'maxmemory', '1');
  const idempotency = { keyDigest: 'k', fingerprint: 'f' };
  await assert.rejects(
    submitRun(partition, makeSubmission({ idempotency }).submission, LIMIT),
    code('state_unavailable'),
  );
  assert.deepEqual(await snapshot(partition), before);
  const flag = { requested_at: '2026-01-01T00:00:00.000Z', by: 'key_1', reason: null };
  assert.deepEqual((await requestAbort(partition, { runId, tenantId: TENANT, flag })).flag, flag);
});
