/**
 * Tampering, done as the owner of the database with all triggers off: what verification names, online and with
 * nothing but an export, the checkpoints and the public key.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type AdminEventDraft, adminChainOf, type AuditRecord, newId } from '@signalbox/contracts';
import {
  appendDrafts,
  bodyOf,
  type ExportVerdict,
  hashOf,
  keyIdOf,
  merkleRoot,
  readEntry,
  signCheckpoint,
  verifyExport,
} from '@signalbox/engine';
import { type RawBuilder, sql } from 'kysely';
import { journalOf, recordOf, simpleJournal, submitted } from '../test/journal.ts';
import { migratedDatabase } from '../test/support.ts';
import {
  checkpointAgeSeconds,
  type CheckpointSigner,
  listCheckpoints,
  listTenantsDue,
  takeCheckpoint,
} from './checkpoints.ts';
import type { Db } from './pool.ts';
import { exportAuditEvents } from './read-audit.ts';
import { verifyAudit } from './verify-audit.ts';
import { writeBatch } from './write.ts';

const TENANT = 'acme';
const TS = '2026-11-21T09:00:00.000Z';
const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const PUBLIC = publicKey.export({ type: 'spki', format: 'der' }).toString('base64');
const signerWith =
  (key: typeof privateKey): CheckpointSigner =>
  (tenant_id, { n, hash }, leaves) =>
    signCheckpoint(
      { tenant_id, n: n + 1, ts: TS, prev: hash, root: merkleRoot(leaves), chains: leaves.length },
      key,
    );
const signer = signerWith(privateKey);

let db: Db;
before(async () => {
  db = await migratedDatabase();
});

let delivered = 0;
const adminRecord = (tenantId: string, type: 'key.revoked' | 'checkpoint.written'): AuditRecord => {
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
interface World {
  readonly tx: Db;
  readonly runs: readonly [string, string, string];
  readonly checkpoints: readonly string[];
}

class Rollback extends Error {}

const inWorld = async (work: (world: World) => Promise<void>): Promise<void> => {
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

/** The store opens transactions of its own; here they are part of ours. */
const asPool = (tx: Db): Db =>
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

const store = async (tx: Db, journals: readonly ReturnType<typeof simpleJournal>[]): Promise<void> => {
  const records = journals.map(({ runId, entries }) => recordOf(runId, entries));
  const admin = [1, 2, 3].map(() => adminRecord(TENANT, 'key.revoked'));
  const { quarantined } = await writeBatch(asPool(tx), [...records, ...admin]);
  assert.deepEqual(quarantined, []);
};

const linesOf = async (tx: Db): Promise<string[]> =>
  (await listCheckpoints(tx, TENANT, { after: 0, limit: 100 })).map((line) => JSON.stringify(line));

const exported = async (tx: Db): Promise<string[]> => {
  const lines: string[] = [];
  for await (const page of exportAuditEvents(tx, { tenantId: TENANT })) {
    lines.push(...page.map((event) => JSON.stringify(event)));
  }
  return [...lines, JSON.stringify({ end: true, lines: lines.length })];
};

const offline = async ({ tx, checkpoints }: World): Promise<ExportVerdict> =>
  verifyExport({
    exported: await exported(tx),
    checkpoints,
    publicKeys: new Map([[keyIdOf(PUBLIC), PUBLIC]]),
    tenantId: TENANT,
    runId: null,
  });

interface Case {
  readonly what: string;
  readonly tamper: (world: World) => RawBuilder<unknown>[];
  /** Null: what is exported does not show it. */
  readonly seq: { readonly online: number; readonly offline: number | null };
  readonly of?: (world: World) => string;
  readonly why?: RegExp;
}

const at = (seq: number): Case['seq'] => ({ online: seq, offline: seq });
const middle = ({ runs }: World): string => runs[1];
const own = ({ runs }: World) => sql`run_id = ${runs[1]}`;

/** A well-formed event behind the end of what is stored, as somebody makes it who has read the code. */
const forged = (head: { seq: number; hash: string }, runId: string): RawBuilder<unknown> => {
  const [entry = ''] = appendDrafts(head, [submitted()], {
    runId,
    epoch: 1,
    ts: TS,
    actor: { type: 'system', id: 'x' },
  }).entries;
  return sql`
    insert into audit_events (run_id, seq, event_id, tenant_id, epoch, type, category, ts, hash, body)
    values (${runId}, ${readEntry(entry).seq}, 'forged', ${TENANT}, 1, 'run.submitted', 'run', ${TS},
      ${hashOf(entry)}, ${bodyOf(entry)})`;
};

const CASES: readonly Case[] = [
  {
    what: 'one byte of a body',
    tamper: (w) => [
      sql`update audit_events set body = replace(body, '"epoch":2', '"epoch":7') where ${own(w)} and seq = 2`,
    ],
    seq: at(2),
    why: /hash does not match the body/,
  },
  {
    what: 'a body and its hash',
    tamper: (w) => [
      sql`update audit_events set body = replace(body, '"epoch":2', '"epoch":7') where ${own(w)} and seq = 2`,
      sql`update audit_events set hash = encode(sha256(convert_to(body, 'UTF8')), 'hex') where ${own(w)} and seq = 2`,
    ],
    // The column says at once what the chain says one event later.
    seq: { online: 2, offline: 3 },
  },
  {
    what: 'a column beside the body',
    tamper: (w) => [
      sql`update audit_events set data = jsonb_set(data, '{step}', '2') where ${own(w)} and seq = 2`,
    ],
    seq: { online: 2, offline: null },
    why: /column data/,
  },
  {
    what: 'who an event belongs to',
    tamper: (w) => [sql`update audit_events set tenant_id = 'other' where ${own(w)} and seq = 3`],
    // The export leaves out what is another tenant's.
    seq: at(3),
  },
  {
    what: 'a row taken away',
    tamper: (w) => [sql`delete from audit_events where ${own(w)} and seq = 2`],
    seq: at(2),
    why: /missing/,
  },
  {
    what: 'two rows that changed places',
    tamper: (w) => [
      sql`update audit_events set seq = 1000 where ${own(w)} and seq = 2`,
      sql`update audit_events set seq = 2 where ${own(w)} and seq = 3`,
      sql`update audit_events set seq = 3 where ${own(w)} and seq = 1000`,
    ],
    seq: at(2),
    why: /expected seq 2, found 3/,
  },
  {
    what: 'the tail cut',
    tamper: (w) => [sql`delete from audit_events where ${own(w)} and seq >= 3`],
    seq: at(3),
    why: /cut/,
  },
  {
    what: 'the tail cut, and the run told so',
    tamper: (w) => [
      sql`delete from audit_events where ${own(w)} and seq >= 3`,
      sql`update runs set last_seq = 2 where id = ${w.runs[1]}`,
    ],
    seq: at(3),
    why: /a checkpoint holds/,
  },
  {
    what: 'a whole run, with everything Postgres has of it but its checkpoint',
    tamper: (w) => [
      sql`delete from audit_events where ${own(w)}`,
      sql`delete from runs where id = ${w.runs[1]}`,
      sql`delete from cost_ledger where ${own(w)}`,
    ],
    seq: at(1),
    why: /whole chain is missing/,
  },
  {
    what: 'a row put behind the end',
    tamper: (w) => [
      sql`
        insert into audit_events (run_id, seq, event_id, tenant_id, type, category, ts, hash, body)
        select run_id, 99, 'forged', tenant_id, type, category, ts, hash, body from audit_events
        where ${own(w)} and seq = 2`,
    ],
    seq: { online: 0, offline: 0 },
    why: /missing|end of the run/,
  },
  {
    what: 'a body called quarantined',
    tamper: (w) => [
      sql`update audit_events set body = null, data = '{"quarantine_id": "x"}' where ${own(w)} and seq = 2`,
    ],
    // Offline it counts as quarantined, which an auditor asks about.
    seq: { online: 2, offline: null },
  },
  {
    what: 'an administration event',
    tamper: () => [sql`delete from audit_events where run_id = 'admin_acme' and seq = 2`],
    seq: at(2),
    of: () => 'admin_acme',
  },
];

describe('named at its first bad place, online and offline:', () => {
  for (const { what, tamper, seq, of = middle, why = /./ } of CASES) {
    test(what, async () => {
      await inWorld(async (world) => {
        const { tx } = world;
        const last = await tx
          .selectFrom('runs')
          .select('last_seq')
          .where('id', '=', world.runs[1])
          .executeTakeFirstOrThrow();
        const place = (n: number): number => (n === 0 ? last.last_seq + 1 : n);
        const before = await verifyAudit(tx, TENANT, null);
        assert.deepEqual([before?.ok, before?.first_bad, before?.checkpoints], [true, null, 1]);
        assert.equal((await offline(world)).first_bad, null);
        for (const statement of tamper(world)) await statement.execute(tx);
        for (const runId of [null, of(world)]) {
          const found = await verifyAudit(tx, TENANT, runId);
          assert.equal(found?.ok, false);
          assert.deepEqual([found.first_bad?.run_id, found.first_bad?.seq], [of(world), place(seq.online)]);
          assert.match(found.first_bad?.why ?? '', why);
        }
        const { first_bad, ok } = await offline(world);
        if (seq.offline === null) assert.equal(ok, true);
        else assert.deepEqual([first_bad?.run_id, first_bad?.seq], [of(world), place(seq.offline)]);
      });
    });
  }

  test('a chain made anew from one event on: against its checkpoint', async () => {
    await inWorld(async (world) => {
      const { tx, runs } = world;
      const [, runId] = runs;
      const rows = await tx
        .selectFrom('audit_events')
        .select(['seq', 'body'])
        .where('run_id', '=', runId)
        .orderBy('seq')
        .execute();
      await sql`delete from audit_events where run_id = ${runId}`.execute(tx);
      await sql`update runs set last_seq = 0 where id = ${runId}`.execute(tx);
      const other = journalOf(
        runId,
        simpleJournal().events.map(
          ({ type, data, refs }) => ({ type, data, refs }) as Parameters<typeof journalOf>[1][number],
        ),
        0,
      );
      await writeBatch(asPool(tx), [recordOf(runId, other.entries)]);
      const found = await verifyAudit(tx, TENANT, null);
      assert.deepEqual([found?.first_bad?.run_id, found?.first_bad?.seq], [runId, rows.length]);
      assert.match(found?.first_bad?.why ?? '', /another hash/);
      assert.equal((await offline(world)).first_bad?.run_id, runId);
    });
  });

  test('a row forged in order behind an open end: as long as the run does not say so, too', async () => {
    await inWorld(async ({ tx }) => {
      const open = journalOf(newId('run'), [submitted()]);
      await writeBatch(asPool(tx), [recordOf(open.runId, open.entries)]);
      await forged({ seq: 1, hash: open.events[0]?.hash ?? '' }, open.runId).execute(tx);
      const found = await verifyAudit(tx, TENANT, open.runId);
      assert.equal(found?.first_bad?.seq, 2);
    });
  });
});

describe('checkpoints', () => {
  test('changed, taken away, or signed by somebody else', async () => {
    const other = generateKeyPairSync('ed25519');
    const attacks: readonly (readonly [RawBuilder<unknown>, number])[] = [
      [sql`update checkpoints set root = md5(root) || md5(root) where n = 2`, 2],
      [sql`delete from checkpoints where n = 2`, 2],
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

  test('what came after the last one is cut unseen only with the row of its run; up to it nothing is', async () => {
    await inWorld(async (world) => {
      const { tx } = world;
      const late = simpleJournal();
      await writeBatch(asPool(tx), [recordOf(late.runId, late.entries)]);
      await sql`delete from audit_events where run_id = ${late.runId} and seq >= 2`.execute(tx);
      const cut = await verifyAudit(tx, TENANT, null);
      assert.deepEqual([cut?.first_bad?.run_id, cut?.first_bad?.seq], [late.runId, 2]);
      await sql`update runs set last_seq = 1 where id = ${late.runId}`.execute(tx);
      assert.equal((await verifyAudit(tx, TENANT, null))?.ok, true);
    });
  });

  test('are made of what moved, and never of themselves alone', async () => {
    await inWorld(async ({ tx, runs }) => {
      const pool = asPool(tx);
      assert.deepEqual(await listTenantsDue(tx), []);
      assert.equal(await checkpointAgeSeconds(tx), 0);
      assert.equal(await takeCheckpoint(pool, TENANT, signer), null);
      await writeBatch(pool, [adminRecord(TENANT, 'checkpoint.written')]);
      assert.deepEqual(await listTenantsDue(tx), [TENANT]);
      assert.equal(await takeCheckpoint(pool, TENANT, signer), null);
      assert.deepEqual(await listTenantsDue(tx), []);
      await writeBatch(pool, [adminRecord(TENANT, 'key.revoked')]);
      const taken = await takeCheckpoint(pool, TENANT, signer);
      assert.deepEqual([taken?.n, taken?.chains], [2, 1]);
      const all = await listCheckpoints(tx, TENANT, { after: 0, limit: 9 });
      assert.deepEqual(
        all.map(({ leaves }) => leaves.map(({ run_id, seq }) => [run_id, seq])),
        [[['admin_acme', 3], ...runs.toSorted().map((id) => [id, 5])], [['admin_acme', 5]]],
      );
    });
  });
});

test('quarantined events are counted, and break nothing', async () => {
  await inWorld(async ({ tx }) => {
    const { runId, entries } = simpleJournal();
    const damaged = entries.map((entry, i) => (i === 1 ? entry.replace('"epoch":2', '"epoch":3') : entry));
    assert.equal((await writeBatch(asPool(tx), [recordOf(runId, damaged)])).quarantined.length, 1);
    const found = await verifyAudit(tx, TENANT, runId);
    assert.deepEqual([found?.first_bad, found?.checked, found?.quarantined], [null, entries.length, 1]);
  });
});

test('of another tenant there is nothing to verify', async () => {
  await inWorld(async ({ tx, runs }) => {
    assert.equal(await verifyAudit(tx, 'other', runs[0]), null);
    assert.equal(await verifyAudit(tx, 'other', adminChainOf(TENANT)), null);
    assert.deepEqual((await verifyAudit(tx, 'other', null))?.checked, 0);
  });
});

describe('the command', () => {
  const MAIN = fileURLToPath(new URL('./verify-export.ts', import.meta.url));
  let dir: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'signalbox-verify-'));
  });
  after(() => rm(dir, { recursive: true }));

  const run = async (...args: string[]): Promise<{ code: unknown; out: string }> => {
    const child = spawn(process.execPath, [MAIN, ...args], { env: { PATH: process.env['PATH'] } });
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    const [code] = await once(child, 'close');
    return { code, out };
  };

  test('needs three files and nothing else, and says where the first bad place is', async () => {
    let lines: string[] = [];
    let line = '';
    await inWorld(async (world) => {
      lines = await exported(world.tx);
      line = world.checkpoints[0] ?? '';
    });
    const pathOf = (name: string): string => join(dir, name);
    const [log, checkpoints, key] = [pathOf('export'), pathOf('checkpoints'), pathOf('key')];
    // A line that a crash tore, and one that came twice.
    await writeFile(checkpoints, [line.slice(0, 50), line, line, ''].join('\n'));
    await writeFile(key, `${PUBLIC}\n`);
    await writeFile(log, `${lines.join('\n')}\n`);
    const whole = await run(log, checkpoints, key);
    assert.equal(whole.code, 0);
    assert.deepEqual(JSON.parse(whole.out), {
      ok: true,
      checked: 18,
      quarantined: 0,
      checkpoints: 1,
      signed_until: TS,
      first_bad: null,
    });
    await writeFile(log, lines.slice(0, -1).join('\n'));
    assert.match((await run(log, checkpoints, key)).out, /it has no last line/);
    await writeFile(log, lines.join('\n').replace('key_2', 'key_3'));
    const bad = await run(log, checkpoints, key);
    assert.equal(bad.code, 1);
    assert.equal((JSON.parse(bad.out) as ExportVerdict).first_bad?.run_id, 'admin_acme');
    assert.equal((await run(log)).code, 2);
  });
});
