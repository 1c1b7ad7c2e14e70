/** What checkpoints are made of, and what verification says of one that was tampered with as the owner could. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { before, describe, test } from 'node:test';
import { type RawBuilder, sql } from 'kysely';
import { recordOf, simpleJournal, TENANT } from '../../test/journal.ts';
import {
  adminRecord,
  asPool,
  type InWorld,
  linesOf,
  offline,
  openWorlds,
  signer,
  signerWith,
  store,
} from '../../test/signed-world.ts';
import { checkpointAgeSeconds, listCheckpoints, listTenantsDue, takeCheckpoint } from './checkpoints.ts';
import { verifyAudit } from './verify-audit.ts';
import { writeBatch } from '../write/write-batch.ts';

let inWorld: InWorld;
before(async () => {
  inWorld = await openWorlds();
});

describe('checkpoints', () => {
  test('changed, taken away, or signed by somebody else', async () => {
    const other = generateKeyPairSync('ed25519');
    const attacks: readonly (readonly [RawBuilder<unknown>, number])[] = [
      [sql`update checkpoints set root = md5(root) || md5(root) where n = 2`, 2],
      [sql`delete from checkpoints where n = 2`, 2],
      [sql`delete from checkpoints where n = 3`, 3],
      [sql`update checkpoints set tenant_id = 'other' where n = 3`, 3],
      [sql`delete from checkpoint_leaves where n = 3`, 3],
      [sql`update checkpoint_leaves set hash = md5(hash) || md5(hash) where n = 1`, 1],
      [
        sql`update checkpoints set signature = (select signature from checkpoints where n = 1) where n = 3`,
        3,
      ],
    ];
    for (const [attack, n] of attacks) {
      await inWorld(async ({ tx }) => {
        for (const journal of [simpleJournal(), simpleJournal()]) {
          await store(tx, [journal]);
          await takeCheckpoint(asPool(tx), TENANT, signer);
        }
        assert.equal((await verifyAudit(tx, TENANT, null))?.checkpoints, 3);
        await attack.execute(tx);
        const found = await verifyAudit(tx, TENANT, null);
        assert.deepEqual([found?.first_bad?.run_id, found?.first_bad?.seq], ['checkpoints', n]);
      });
    }
    await inWorld(async (world) => {
      const { tx } = world;
      await store(tx, [simpleJournal()]);
      await takeCheckpoint(asPool(tx), TENANT, signerWith(other.privateKey));
      const { first_bad } = await offline({ ...world, checkpoints: await linesOf(tx) });
      assert.deepEqual([first_bad?.run_id, first_bad?.seq], ['checkpoints', 2]);
      assert.match(first_bad?.why ?? '', /not among the given/);
    });
  });

  test('what came after the last one is cut unseen only with the row of its run and its mark; up to it nothing is', async () => {
    await inWorld(async (world) => {
      const { tx } = world;
      const late = simpleJournal();
      await writeBatch(asPool(tx), [recordOf(late.runId, late.entries)]);
      await sql`delete from audit_events where run_id = ${late.runId} and seq >= 2`.execute(tx);
      const cut = await verifyAudit(tx, TENANT, null);
      assert.deepEqual([cut?.first_bad?.run_id, cut?.first_bad?.seq], [late.runId, 2]);
      await sql`update runs set last_seq = 1 where id = ${late.runId}`.execute(tx);
      assert.deepEqual((await verifyAudit(tx, TENANT, null))?.first_bad, {
        run_id: late.runId,
        seq: 2,
        why: 'the chain was cut; the mark that it is to be signed names 5 events',
      });
      await sql`update checkpoint_due set seq = 1 where run_id = ${late.runId}`.execute(tx);
      assert.equal((await verifyAudit(tx, TENANT, null))?.ok, true);
    });
  });

  test('are made of what moved, and never of themselves alone', async () => {
    await inWorld(async ({ tx, runs }) => {
      const pool = asPool(tx);
      assert.deepEqual(await listTenantsDue(tx), []);
      assert.equal(await checkpointAgeSeconds(tx), 0);
      assert.equal((await takeCheckpoint(pool, TENANT, signer)).checkpoint, null);
      await writeBatch(pool, [adminRecord(TENANT, 'checkpoint.written')]);
      assert.deepEqual(await listTenantsDue(tx), [TENANT]);
      assert.equal((await takeCheckpoint(pool, TENANT, signer)).checkpoint, null);
      assert.deepEqual(await listTenantsDue(tx), []);
      await writeBatch(pool, [adminRecord(TENANT, 'key.revoked')]);
      const { checkpoint: taken } = await takeCheckpoint(pool, TENANT, signer);
      assert.deepEqual([taken?.n, taken?.chains], [2, 1]);
      const all = await listCheckpoints(tx, TENANT, { after: 0, limit: 9 });
      assert.deepEqual(
        all.map(({ leaves }) => leaves.map(({ run_id, seq }) => [run_id, seq])),
        [[['admin_acme', 3], ...runs.toSorted().map((id) => [id, 5])], [['admin_acme', 5]]],
      );
    });
  });
});
