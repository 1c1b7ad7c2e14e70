/**
 * An independent judge of what a system of runs left behind. It reads raw keys and rows (checker/evidence.ts)
 * and does not use the engine's fold, so it does not share its mistakes. For systems at rest: every run ended.
 */
import type { Evidence, RunEvidence, RunRow } from './checker/evidence.ts';
import { factsOf, type JournalFacts, parseBody, totalOf } from './checker/journal-facts.ts';
import { journalRules } from './checker/journal-rules.ts';
import { runMoneyRules, systemMoneyRules } from './checker/money-rules.ts';

export { type Evidence, gatherEvidence, type ProviderRequest } from './checker/evidence.ts';

export interface Violation {
  readonly rule: string;
  /** Run id, or `system`. */
  readonly where: string;
  readonly detail: string;
}

export interface CheckOptions {
  /** Workers were killed: an announced call may never have reached the provider. */
  readonly crashes?: boolean;
}

type Finding = readonly [rule: string, detail: string];

const expectedRow = (facts: JournalFacts): Omit<RunRow, 'id'> => ({
  status: facts.status ?? 'not ended',
  error_code: facts.errorCode,
  steps: facts.steps,
  last_seq: facts.lastSeq,
  epoch: facts.epoch,
  cost_observed_nano: totalOf(facts.charged),
  input_tokens: facts.inputTokens,
  output_tokens: facts.outputTokens,
  started_at: facts.startedAt === null ? null : new Date(facts.startedAt),
  finished_at: facts.finishedAt === null ? null : new Date(facts.finishedAt),
});

function* projection(run: RunEvidence, facts: JournalFacts): Iterable<Finding> {
  const { row, record } = run;
  if (row === null) {
    yield ['runs row = events', 'there is no row'];
    return;
  }
  for (const [column, want] of Object.entries(expectedRow(facts))) {
    const got = row[column as keyof RunRow];
    if (JSON.stringify(got) !== JSON.stringify(want))
      yield [
        'runs row = events',
        `${column} is ${JSON.stringify(got)}, the events say ${JSON.stringify(want)}`,
      ];
  }
  if (record['status'] === undefined) return; // expired from Redis
  if (record['status'] !== facts.status)
    yield ['run record = events', `status ${record['status']}, the events say ${facts.status}`];
  if (Number(record['seq']) !== facts.lastSeq)
    yield ['run record = events', `seq ${record['seq']} of ${facts.lastSeq}`];
  if (record['owner'] !== undefined) yield ['an ended run has no owner', record['owner']];
}

/** The provider got each completed call at least once and none more often than the journal announced it. */
function* providerRules(
  run: RunEvidence,
  facts: JournalFacts,
  requests: ReadonlyMap<number, number>,
  crashes: boolean,
): Iterable<Finding> {
  const modelSteps = [...facts.attempts.keys()].toSorted((a, b) => a - b);
  for (const call of requests.keys()) {
    if (modelSteps[call - 1] === undefined)
      yield ['provider = journal', `call ${call} of ${run.id} is not in the journal`];
  }
  for (const [index, step] of modelSteps.entries()) {
    const [got, announced] = [requests.get(index + 1) ?? 0, facts.attempts.get(step) ?? 0];
    const least = crashes ? (facts.completed.get(step) ?? 0) : announced;
    if (got > announced || got < least)
      yield ['provider = journal', `step ${step}: ${got} requests, ${announced} attempts announced`];
  }
}

function* runRules(run: RunEvidence, evidence: Evidence, crashes: boolean): Iterable<Finding> {
  yield* journalRules(run);
  const facts = factsOf(run.rows.flatMap(({ body }) => (body === null ? [] : (parseBody(body) ?? []))));
  yield* projection(run, facts);
  yield* runMoneyRules(run, facts);
  if (evidence.provider === null) return;
  const own = evidence.provider.filter(({ runId }) => runId === run.id);
  const counts = new Map<number, number>();
  for (const { call } of own) counts.set(call, (counts.get(call) ?? 0) + 1);
  yield* providerRules(run, facts, counts, crashes);
}

function* systemRules(evidence: Evidence): Iterable<Finding> {
  yield* systemMoneyRules(evidence);
  for (const [set, ids] of evidence.leftovers) {
    if (ids.length > 0) yield ['no ended run in the sets of live ones (R10)', `${set}: ${ids.join(', ')}`];
  }
  if (evidence.backlog > 0)
    yield ['all is stored (R9)', `${evidence.backlog} commits are not yet in Postgres`];
  if (evidence.quarantined > 0) yield ['nothing is quarantined', `${evidence.quarantined} rows`];
}

/** Empty: everything holds. */
export const check = (evidence: Evidence, { crashes = false }: CheckOptions = {}): Violation[] => [
  ...evidence.runs.flatMap((run) =>
    Array.from(runRules(run, evidence, crashes), ([rule, detail]) => ({ rule, where: run.id, detail })),
  ),
  ...Array.from(systemRules(evidence), ([rule, detail]) => ({ rule, where: 'system', detail })),
];
