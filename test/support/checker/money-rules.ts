import type { Evidence, LedgerRow, RunEvidence, Spend } from './evidence.ts';
import { type JournalFacts, totalOf } from './journal-facts.ts';

/** Money: journal, ledger, days and the counters in Redis say the same, and nothing stays held (R1, R2). */
type Finding = readonly [rule: string, detail: string];

const observed = (rows: readonly LedgerRow[]): number =>
  rows.reduce((sum, { observed_nano: nano }) => sum + (nano ?? 0), 0);

export function* runMoneyRules(run: RunEvidence, facts: JournalFacts): Iterable<Finding> {
  const ledger = new Map(run.ledger.map((row) => [row.hold_id, row]));
  for (const [id, amount] of facts.held) {
    const row = ledger.get(id);
    const charged = facts.charged.get(id);
    if (charged === undefined) yield ['each hold ends (R1)', `${id} was never settled`];
    if (charged !== undefined && charged > amount)
      yield ['a call costs at most its hold (R1)', `${id}: ${charged} > ${amount}`];
    if (row === undefined || row.held_nano !== amount || row.observed_nano !== charged)
      yield [
        'ledger = journal',
        `${id}: ledger ${row?.held_nano}/${row?.observed_nano}, journal ${amount}/${charged}`,
      ];
  }
  for (const id of ledger.keys()) {
    if (!facts.held.has(id)) yield ['ledger = journal', `${id} is in no event`];
  }
  for (const [id, hold] of Object.entries(run.holds)) {
    if (hold.startsWith('held ')) yield ['nothing stays held', `${id}: ${hold}`];
  }
  if (run.record['root'] !== run.id) return;
  const [spent, held] = [Number(run.record['spent'] ?? 0), Number(run.record['held'] ?? 0)];
  if (held !== 0) yield ['nothing stays held', `the run holds ${held}`];
  if (spent !== totalOf(facts.charged))
    yield ['run counter = journal', `${spent} in Redis, ${totalOf(facts.charged)} in the journal`];
}

const scopesOf = (row: LedgerRow): string[] => [
  `spend:tenant:${row.tenant_id}:${row.day}`,
  `spend:tenant_month:${row.tenant_id}:${row.day?.slice(0, 7)}`,
  ...(row.user_id === null
    ? []
    : [
        `spend:user:${row.tenant_id}:${row.day}:${row.user_id}`,
        `spend:user_month:${row.tenant_id}:${row.day?.slice(0, 7)}:${row.user_id}`,
      ]),
];

const NONE: Spend = { spent: 0, held: 0 };

function* counters({ spend }: Evidence, ledger: readonly LedgerRow[]): Iterable<Finding> {
  const expected = new Map<string, number>();
  for (const row of ledger) {
    for (const scope of scopesOf(row))
      expected.set(scope, (expected.get(scope) ?? 0) + (row.observed_nano ?? 0));
  }
  for (const scope of new Set([...expected.keys(), ...spend.keys()])) {
    const { spent, held } = spend.get(scope) ?? NONE;
    if (held !== 0) yield ['nothing stays held', `${scope} holds ${held}`];
    if (spent !== (expected.get(scope) ?? 0))
      yield ['counters = ledger', `${scope}: ${spent} in Redis, ${expected.get(scope) ?? 0} in the ledger`];
  }
}

function* days({ daily }: Evidence, ledger: readonly LedgerRow[]): Iterable<Finding> {
  const dayKey = (row: {
    tenant_id: string;
    day: string | null;
    user_id: string | null;
    agent: string | null;
    model: string;
  }) => JSON.stringify([row.tenant_id, row.day, row.user_id ?? '', row.agent ?? '', row.model]);
  const sums = Map.groupBy(ledger, dayKey);
  const stored = new Map(daily.map((row) => [dayKey(row), row]));
  for (const key of new Set([...sums.keys(), ...stored.keys()])) {
    const rows = sums.get(key) ?? [];
    const want = `${observed(rows)} nano-USD, ${rows.filter(({ completed }) => completed).length} calls`;
    const got = `${stored.get(key)?.observed_nano ?? 0} nano-USD, ${stored.get(key)?.calls ?? 0} calls`;
    if (want !== got) yield ['days = ledger', `${key}: ${got}, the ledger says ${want}`];
  }
}

export function* systemMoneyRules(evidence: Evidence): Iterable<Finding> {
  const ledger = evidence.runs.flatMap((run) => run.ledger);
  yield* counters(evidence, ledger);
  yield* days(evidence, ledger);
}
