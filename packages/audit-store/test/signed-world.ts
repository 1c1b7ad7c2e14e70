/** A world to tamper with: runs and the chain of their tenant, stored and signed, and how it looks from outside. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { type AdminEventDraft, adminChainOf, type AuditRecord, newId } from '@signalbox/contracts';
import { type ExportVerdict, keyIdOf, merkleRoot, signCheckpoint, verifyExport } from '@signalbox/engine';
import { sql } from 'kysely';
import { type CheckpointSigner, listCheckpoints, takeCheckpoint } from '../src/audit/checkpoints.ts';
import type { Db } from '../src/db/pool.ts';
import { exportAuditEvents } from '../src/audit/export-audit.ts';
import { writeBatch } from '../src/write/write-batch.ts';
import { recordOf, simpleJournal, TENANT } from './journal.ts';
import { migratedDatabase } from './support.ts';

export const TS = '2026-11-21T09:00:00.000Z';
const { privateKey, publicKey } = generateKeyPairSync('ed25519');
export const PUBLIC = publicKey.export({ type: 'spki', format: 'der' }).toString('base64');
export const signerWith =
  (key: typeof privateKey): CheckpointSigner =>
  (tenant_id, { n, hash }, leaves) =>
    signCheckpoint(
      { tenant_id, n: n + 1, ts: TS, prev: hash, root: merkleRoot(leaves), chains: leaves.length },
      key,
    );
export const signer = signerWith(privateKey);

let delivered = 0;
export const adminRecord = (tenantId: string, type: 'key.revoked' | 'checkpoint.written'): AuditRecord => {
  const base = { event_id: newId('evt'), tenant_id: tenantId, ts: TS };
  const actor = { type: 'operator', id: 'key_1' } as const;
  const draft: AdminEventDraft =
    type === 'key.revoked'
      ? { ...base, actor, type, data: { key_id: 'key_2', name: 'NUL \u0000 and \ud800' } }
      : { ...base, actor, type, data: { checkpoint_id: 'c', chains: 1, root: 'r' } };
  return {
    streamId: `${(delivered += 1)}-7`,
    runId: adminChainOf(tenantId),
    tenantId,
    userId: null,
    agent: null,
    rootRunId: '',
    wrappedKey: null,
    entries: [],
    contents: [],
    adminDraft: JSON.stringify(draft),
  };
};

/** Everything somebody could change, in a world of its own: three runs and the chain of the tenant, signed. */
export interface World {
  readonly tx: Db;
  readonly runs: readonly [string, string, string];
  readonly checkpoints: readonly string[];
}

/** The store opens transactions of its own; here they are part of ours. */
export const asPool = (tx: Db): Db =>
  new Proxy(tx, {
    get: (target, name, self) =>
      name === 'transaction'
        ? () => {
            const part = {
              setIsolationLevel: () => part,
              execute: <T>(work: (db: Db) => Promise<T>) => work(target),
            };
            return part;
          }
        : (Reflect.get(target, name, self) as unknown),
  });

export const store = async (tx: Db, journals: readonly ReturnType<typeof simpleJournal>[]): Promise<void> => {
  const records = journals.map(({ runId, entries }) => recordOf(runId, entries));
  const admin = [1, 2, 3].map(() => adminRecord(TENANT, 'key.revoked'));
  const { quarantined } = await writeBatch(asPool(tx), [...records, ...admin]);
  assert.deepEqual(quarantined, []);
};

export const linesOf = async (tx: Db): Promise<string[]> =>
  (await listCheckpoints(tx, TENANT, { after: 0, limit: 100 })).map((line) => JSON.stringify(line));

class Rollback extends Error {}

export type InWorld = (work: (world: World) => Promise<void>) => Promise<void>;

/** Worlds in a new database, each undone when the work in it is over. */
export const openWorlds = async (): Promise<InWorld> => {
  const db = await migratedDatabase();
  return async (work) => {
    const undone = db.transaction().execute(async (tx) => {
      const journals = [simpleJournal(), simpleJournal(), simpleJournal()] as const;
      await store(tx, journals);
      await takeCheckpoint(asPool(tx), TENANT, signer);
      const checkpoints = await linesOf(tx);
      const [a, b, c] = journals;
      await sql`set local session_replication_role = replica`.execute(tx);
      await work({ tx, runs: [a.runId, b.runId, c.runId], checkpoints });
      throw new Rollback();
    });
    await assert.rejects(undone, Rollback);
  };
};

export const exported = async (tx: Db): Promise<string[]> => {
  const lines: string[] = [];
  for await (const page of exportAuditEvents(tx, { tenantId: TENANT })) {
    lines.push(...page.map((event) => JSON.stringify(event)));
  }
  return [...lines, JSON.stringify({ end: true, lines: lines.length })];
};

export const offline = async ({ tx, checkpoints }: World): Promise<ExportVerdict> =>
  verifyExport({
    exported: await exported(tx),
    checkpoints,
    publicKeys: new Map([[keyIdOf(PUBLIC), PUBLIC]]),
    tenantId: TENANT,
    runId: null,
    departedBefore: null,
  });
