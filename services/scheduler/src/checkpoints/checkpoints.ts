/**
 * Writes checkpoints: each minute, and when this scheduler stops, one per tenant with chains that moved, if it leads.
 * First into Postgres, then into the sink outside, which gets what it lacks at each round; so a crash between the
 * two, or a sink that is away, loses nothing. Two leaders at once harm nothing: the store lets one at a time.
 */
import type { KeyObject } from 'node:crypto';
import {
  checkpointAgeSeconds,
  type CheckpointSigner,
  type Db,
  listCheckpointHeads,
  listCheckpoints,
  listTenantsDue,
  takeCheckpoint,
} from '@signalbox/audit-store';
import { type AdminEventDraft, newId, type SignedCheckpoint } from '@signalbox/contracts';
import { merkleRoot, signCheckpoint } from '@signalbox/engine';
import { type Partition, recordAdminEvents } from '@signalbox/run-state';
import { type Clock, type Gauge, type Logger, pause } from '@signalbox/runtime';
import type { CheckpointSink } from './checkpoint-file.ts';
import { publicKeyOf } from './signing-key.ts';

const ROUND_MS = 60_000;
const LINES_PER_APPEND = 20;
const MOST_NAMED = 10;

export interface CheckpointDeps {
  readonly db: Db;
  readonly partition: Partition;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly isLeader: () => boolean;
  readonly ageSeconds: Gauge;
  /** Null: none are written. */
  readonly signingKey: KeyObject | null;
  /** Null: they are kept in Postgres alone. */
  readonly sink: CheckpointSink | null;
}

const signerOf =
  (clock: Clock, key: KeyObject): CheckpointSigner =>
  (tenantId, head, leaves) => {
    const ts = new Date(clock.now()).toISOString();
    const at = { tenant_id: tenantId, n: head.n + 1, ts, prev: head.hash };
    return signCheckpoint({ ...at, root: merkleRoot(leaves), chains: leaves.length }, key);
  };

const draftOf = ({ tenant_id, ts, hash, chains, root }: SignedCheckpoint): AdminEventDraft => ({
  event_id: newId('evt'),
  tenant_id,
  ts,
  actor: { type: 'system', id: 'scheduler' },
  type: 'checkpoint.written',
  data: { checkpoint_id: hash, chains, root },
});

/** True: it was full. */
const takeOne = async (
  deps: CheckpointDeps,
  signer: CheckpointSigner,
  tenantId: string,
): Promise<boolean> => {
  const { checkpoint, more, missing } = await takeCheckpoint(deps.db, tenantId, signer);
  if (missing.length > 0) {
    deps.logger.error('events that are to be signed are not in the audit log: verify it', {
      tenant_id: tenantId,
      chains: missing.length,
      run_ids: missing.slice(0, MOST_NAMED),
    });
  }
  // It stands, whether this comes through or not.
  if (checkpoint !== null) await recordAdminEvents(deps.partition, tenantId, [draftOf(checkpoint)]);
  return more;
};

const takeAll = async (deps: CheckpointDeps, signer: CheckpointSigner): Promise<void> => {
  for (const tenantId of await listTenantsDue(deps.db)) {
    // A full one left others behind, and they should not wait for ever in a tenant that is always busy.
    while (await takeOne(deps, signer, tenantId));
  }
};

/** Gives the sink what it lacks. */
const publish = async ({ db, logger }: CheckpointDeps, sink: CheckpointSink): Promise<void> => {
  const kept = await sink.heads();
  const stored = await listCheckpointHeads(db);
  for (const [tenantId, n] of kept) {
    if (n <= (stored.get(tenantId) ?? 0)) continue;
    logger.error('the checkpoint file holds checkpoints that Postgres does not: restored, or tampered with', {
      tenant_id: tenantId,
      file: n,
      postgres: stored.get(tenantId) ?? 0,
    });
  }
  for (const [tenantId, last] of stored) {
    for (let after = kept.get(tenantId) ?? 0; after < last; ) {
      const lines = await listCheckpoints(db, tenantId, { after, limit: LINES_PER_APPEND });
      if (lines.length === 0) break;
      await sink.append(lines);
      after = lines.at(-1)?.n ?? last;
    }
  }
};

/** One round, of a leader. Throws what the stores throw. */
export const writeCheckpoints = async (deps: CheckpointDeps): Promise<void> => {
  if (deps.signingKey === null) return;
  await takeAll(deps, signerOf(deps.clock, deps.signingKey));
  if (deps.sink !== null) await publish(deps, deps.sink);
};

/**
 * Answers when, on the monotonic clock, it was last that all went well: a sink that is full or away must show in the
 * age, too.
 */
const round = async (deps: CheckpointDeps, wellAt: number): Promise<number> => {
  const { clock, db, logger, ageSeconds } = deps;
  try {
    if (deps.isLeader()) await writeCheckpoints(deps);
    ageSeconds.set(await checkpointAgeSeconds(db));
    return clock.monotonic();
  } catch (error) {
    logger.warn('checkpoints could not be written', { error });
    const waiting = await checkpointAgeSeconds(db).catch(() => 0);
    ageSeconds.set(Math.max(waiting, (clock.monotonic() - wellAt) / 1000));
    return wellAt;
  }
};

/** Ends after `stopping` and one more round. Never rejects. */
export const keepCheckpoints = async (deps: CheckpointDeps, stopping: AbortSignal): Promise<void> => {
  const { clock, logger, signingKey, sink } = deps;
  if (signingKey === null) {
    logger.warn('AUDIT_SIGNING_KEY is not set: no checkpoints are written, a log made anew is not found out');
  } else {
    const outside = sink !== null;
    logger.info('checkpoints are signed', { public_key: publicKeyOf(signingKey), outside });
    if (!outside) logger.warn('CHECKPOINT_FILE is not set: checkpoints lie in Postgres alone');
  }
  let wellAt = clock.monotonic();
  while (!stopping.aborted) {
    await pause(clock, ROUND_MS, stopping);
    wellAt = await round(deps, wellAt);
  }
};
