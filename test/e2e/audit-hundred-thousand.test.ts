/**
 * Must show: 100,000 events through two audit-writer processes that are killed and frozen in the middle of a batch,
 * with a crash of Postgres. Each event is stored once and in its place, the books agree with the journals, and what
 * could not be stored as it came lies in the quarantine (R5, R8, R9).
 */
import assert from 'node:assert/strict';
import { createHash, randomInt } from 'node:crypto';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type AuditRecord, newId } from '@signalbox/contracts';
import { waitFor } from '@signalbox/local';
import {
  claimed,
  journalOf,
  recordOf,
  submitted,
  succeeded,
  toolCompleted,
  toolRequested,
} from '../../packages/audit-store/test/journal.ts';
import { check, gatherEvidence } from '../support/checker.ts';
import type { ServiceProcess } from '../support/service-main.ts';
import {
  EVENTS_PER_MIX,
  inject,
  isDrained,
  leaderBut,
  load,
  logged,
  pending,
  startAuditWorld,
  totalOf,
} from './audit-world.ts';
import { FULL } from './stack.ts';

type Fault = 'kill' | 'freeze' | 'crash of Postgres';
const FAULTS: readonly Fault[] = ['kill', 'freeze', 'crash of Postgres'];
const EVENTS = FULL ? 100_000 : 10_000;
const ROUNDS = FULL ? 20 : 4;

const world = await startAuditWorld();
after(() => world.stop());

const until = (
  what: string,
  condition: () => Promise<boolean> | boolean,
  timeoutMs = 60_000,
): Promise<true> =>
  waitFor(async () => ((await condition()) ? true : undefined), { what, timeoutMs, everyMs: 5 });

const signalAll = (signal: 'SIGSTOP' | 'SIGCONT'): void => {
  for (const writer of world.writers) if (writer.exit() === undefined) writer.signal(signal);
};

let loaded = 0;
const add = async (events: number): Promise<void> => {
  loaded += events;
  await load(world, events);
};

/** Some batches, so that there is a middle to come in. */
const BACKLOG = EVENTS_PER_MIX * 20;

/** Stops the leader at a moment when it has a batch in hand, and says how large it is. */
const catchInTheAct = async (): Promise<{ victim: ServiceProcess; inHand: number }> => {
  for (;;) {
    // Whoever was too quick for us gets more.
    if (await isDrained(world)) await add(BACKLOG);
    const victim = await leaderBut(world);
    // Sometimes before its transaction, sometimes within, sometimes between COMMIT and XACK.
    await sleep(randomInt(400));
    victim.signal('SIGSTOP');
    const inHand = await pending(world);
    if (inHand > 0) return { victim, inHand };
    victim.signal('SIGCONT');
  }
};

let abandoned = 0;

const FAULT: Record<Fault, () => Promise<unknown>> = {
  kill: async () => {
    const { victim, inHand } = await catchInTheAct();
    await victim.kill();
    abandoned += inHand;
    await leaderBut(world, victim);
    await world.startWriter();
  },
  freeze: async () => {
    const { victim, inHand } = await catchInTheAct();
    abandoned += inHand;
    await leaderBut(world, victim);
    victim.signal('SIGCONT');
  },
  'crash of Postgres': async () => {
    await catchInTheAct().then(({ victim }) => victim.signal('SIGCONT'));
    const refused = (): number => logged(world, 'a batch could not be stored').length;
    const before = refused();
    await world.postgres.stop('immediate');
    await until('a writer to notice', () => refused() > before);
    await world.postgres.start();
  },
};

/** Each of a run of its own, whose other events are stored. */
const poison = (): { records: AuditRecord[]; expected: unknown[][]; runIds: string[] } => {
  const [damaged, refused, unknown] = [newId('run'), newId('run'), newId('run')];
  const journal = journalOf(damaged, [
    submitted(),
    claimed(),
    toolRequested(1),
    toolCompleted(1),
    succeeded(1),
  ]);
  const entries = journal.entries.with(2, (journal.entries[2] ?? '').replace('calculator', 'Calculator'));
  const [entry = ''] = journalOf(refused, [submitted()]).entries;
  // Authentic, but no instant that Postgres knows.
  const body = entry.slice(64).replace(/"ts":"[^"]*"/, '"ts":"the day after tomorrow"');
  const timeless = createHash('sha256').update(body).digest('hex') + body;
  return {
    records: [
      ...entries.map((one) => recordOf(damaged, [one])),
      recordOf(refused, [timeless]),
      recordOf(unknown, ['no entry at all']),
    ],
    expected: [
      [damaged, 3, 'not_authentic'],
      [refused, null, 'refused'],
      [unknown, null, 'not_authentic'],
    ],
    runIds: [damaged, refused, unknown],
  };
};

const half = (events: number): number => Math.floor(events / EVENTS_PER_MIX / 2) * EVENTS_PER_MIX;

const roundsOf = (events: number, rounds: number): number[] => {
  const mixes = events / EVENTS_PER_MIX;
  const each = Math.floor(mixes / rounds);
  return Array.from(
    { length: rounds },
    (_, i) => (i > 0 ? each : mixes - each * (rounds - 1)) * EVENTS_PER_MIX,
  );
};

test(`${EVENTS} events through writers that are killed and frozen are stored exactly once`, async () => {
  const started = performance.now();
  await world.startWriter();
  await leaderBut(world);
  await world.startWriter();
  const { records, expected, runIds } = poison();
  const faults: Fault[] = [];
  for (const [round, events] of roundsOf(EVENTS, ROUNDS).entries()) {
    const fault = FAULTS[round] ?? FAULTS[randomInt(FAULTS.length)] ?? 'kill';
    faults.push(fault);
    // A backlog first, so that the fault comes in the middle of a large batch.
    signalAll('SIGSTOP');
    const backlog = half(events);
    await add(backlog);
    for (const record of records.splice(0, 3)) await inject(world, record);
    signalAll('SIGCONT');
    const loading = add(events - backlog);
    await FAULT[fault]();
    await loading;
  }
  await until('everything to be stored', () => isDrained(world), 240_000);
  const seconds = (performance.now() - started) / 1000;
  const running = world.writers.filter((writer) => writer.exit() === undefined);
  for (const writer of running) assert.deepEqual(await writer.stop(), { code: 0, signal: null });
  assert.equal(await pending(world), 0);

  const evidence = await gatherEvidence(world);
  const runs = evidence.runs.filter(({ id }) => !runIds.includes(id));
  assert.equal(
    runs.reduce((sum, { rows }) => sum + rows.length, 0),
    loaded,
  );
  assert.deepEqual(check({ ...evidence, runs, quarantined: 0 }).slice(0, 20), []);
  for (const { id, rows, row } of evidence.runs) {
    assert.equal(row?.last_seq, rows.length, id);
    for (const [i, { seq, prev }] of rows.entries()) {
      assert.equal(seq, i + 1, id);
      if (i > 0 && prev !== null) assert.equal(prev, rows[i - 1]?.hash, `${id} at ${seq}`);
    }
  }

  const quarantine = await world.db
    .selectFrom('audit_quarantine')
    .select(['run_id', 'seq', 'reason'])
    .execute();
  const byRun = (a: unknown[], b: unknown[]): number => String(a[0]).localeCompare(String(b[0]));
  assert.deepEqual(
    quarantine.map(({ run_id: id, seq, reason }) => [id, seq, reason]).toSorted(byRun),
    expected.toSorted(byRun),
  );
  assert.ok(logged(world, 'quarantined: see audit_quarantine').every(({ level }) => level === 'error'));

  const reclaimed = totalOf(logged(world, 'reclaimed what was delivered before'), 'records');
  const takeovers = logged(world, 'leading').length - 1;
  const stored = logged(world, 'batch stored');
  assert.ok(
    takeovers >= faults.filter((fault) => fault !== 'crash of Postgres').length,
    `${takeovers} takeovers`,
  );
  // What is abandoned twice, before it was taken over as a whole, counts twice there and once here.
  assert.ok(abandoned > 0 && reclaimed > 0, `${reclaimed} of ${abandoned} abandoned commits came again`);
  process.stdout.write(
    `${loaded} events in ${seconds.toFixed(1)} s under ${faults.join(', ')}: ${takeovers} takeovers, ` +
      `${abandoned} commits abandoned in mid batch, ${reclaimed} delivered again, ` +
      `${totalOf(stored, 'duplicates')} events seen twice, ${stored.length} batches, ` +
      `${quarantine.length} quarantined\n`,
  );
});
