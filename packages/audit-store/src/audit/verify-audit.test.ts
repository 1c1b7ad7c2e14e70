/**
 * Tampering, done as the owner of the database with all triggers off: what verification names, online and with
 * nothing but an export, the checkpoints and the public key.
 */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { adminChainOf, newId } from '@signalbox/contracts';
import { appendDrafts, bodyOf, hashOf, readEntry } from '@signalbox/engine';
import { type RawBuilder, sql } from 'kysely';
import { journalOf, recordOf, simpleJournal, submitted, TENANT } from '../../test/journal.ts';
import { asPool, type InWorld, offline, openWorlds, TS, type World } from '../../test/signed-world.ts';
import { verifyAudit } from './verify-audit.ts';
import { writeBatch } from '../write/write-batch.ts';

let inWorld: InWorld;
before(async () => {
  inWorld = await openWorlds();
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
    const fresh = await verifyAudit(tx, 'other', null);
    assert.deepEqual([fresh?.ok, fresh?.checked, fresh?.first_bad], [true, 0, null]);
  });
});
