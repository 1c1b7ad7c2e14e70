import { allStored } from '../support/all-stored.ts';
import { check, gatherEvidence, type Violation } from '../support/checker.ts';
import type { LedgerEntry } from '../support/fake-provider/index.ts';
import { providerRequests } from '../e2e/stack.ts';
import type { Outcome } from './trials.ts';
import type { World } from './world.ts';

/** What a row came to, judged by books that the victim did not keep. */
export interface Verdict {
  readonly name: string;
  readonly runId: string;
  readonly status: string;
  readonly calls: readonly number[];
  readonly tools: number;
  /** From the last stop of a process to what the row or the run's journal shows next; null: nothing was left to do. */
  readonly recoveryMs: number | null;
  /** Who was stopped, and the run's journal by epoch: for whoever looks for the reason of a problem. */
  readonly story: string;
  /** Empty: the run ended as if nothing had happened. */
  readonly problems: readonly string[];
}

interface StoredEvent {
  readonly run_id: string;
  readonly epoch: number | null;
  readonly type: string;
  readonly ts: Date;
}

interface Books {
  readonly requests: ReturnType<typeof providerRequests>;
  readonly events: ReadonlyMap<string, readonly StoredEvent[]>;
  readonly violations: readonly Violation[];
  readonly chargedNano: ReadonlyMap<string, number>;
  readonly billedNano: ReadonlyMap<string, number>;
  readonly rows: readonly {
    readonly id: string;
    readonly user_id: string | null;
    readonly status: string;
    readonly error_code: string | null;
  }[];
}

const sumBy = <T>(
  items: readonly T[],
  key: (item: T) => string,
  value: (item: T) => number,
): Map<string, number> => {
  const sums = new Map<string, number>();
  for (const item of items) sums.set(key(item), (sums.get(key(item)) ?? 0) + value(item));
  return sums;
};

const STORED_MS = 60_000;
const TAG = /#tag ([\w.-]+)/;
const tagIn = ({ body }: LedgerEntry): string => TAG.exec(JSON.stringify(body))?.[1] ?? '';

const openBooks = async ({ system }: World): Promise<Books> => {
  await allStored(system.partition, STORED_MS);
  const { db, provider } = system;
  const rows = await db.selectFrom('runs').select(['id', 'user_id', 'status', 'error_code']).execute();
  // Each row's run has its tag as its user.
  const requests = providerRequests(provider, new Map(rows.map((row) => [row.user_id ?? '', row.id])));
  const evidence = await gatherEvidence(system, requests);
  const events = await db
    .selectFrom('audit_events')
    .select(['run_id', 'epoch', 'type', 'ts'])
    .orderBy('run_id')
    .orderBy('seq')
    .execute();
  const ledger = await db.selectFrom('cost_ledger').select(['run_id', 'observed_nano']).execute();
  return {
    requests,
    events: Map.groupBy(events, ({ run_id: id }) => id),
    violations: check(evidence, { crashes: true }),
    chargedNano: sumBy(
      ledger,
      (row) => row.run_id,
      (row) => row.observed_nano ?? 0,
    ),
    billedNano: sumBy(provider.ledger, tagIn, ({ costNano }) => costNano ?? 0),
    rows,
  };
};

const countCalls = (requests: Books['requests'], runId: string): number[] => {
  const own = requests.filter((request) => request.runId === runId);
  const calls = Math.max(0, ...own.map(({ call }) => call));
  return Array.from({ length: calls }, (_, n) => own.filter(({ call }) => call === n + 1).length);
};

function* problemsOf(
  { row, trial, runId, error }: Outcome,
  books: Books,
  seen: { readonly status: string; readonly calls: readonly number[]; readonly keys: readonly string[] },
): Iterable<string> {
  const { tag } = trial.run;
  if (error !== null) yield error;
  if (trial.reached.length < row.stops.length)
    yield `only ${trial.reached.length} of ${row.stops.length} stops were reached, so nothing was proven`;
  if (seen.status !== row.end) yield `ended ${seen.status}, not ${row.end}`;
  if (String(seen.calls) !== String(row.calls))
    yield `the provider got ${seen.calls.join('+')} requests, not ${row.calls.join('+')}`;
  if (!row.tools.includes(seen.keys.length))
    yield `the tool got ${seen.keys.length} requests, not ${row.tools.join(' or ')}`;
  if (new Set(seen.keys).size > 1) yield `the tool got ${new Set(seen.keys).size} idempotency keys`;
  const made = books.rows.filter(({ user_id: user }) => user === tag).length;
  if (made !== 1) yield `${made} runs were made`;
  const [charged, billed] = [books.chargedNano.get(runId) ?? 0, books.billedNano.get(tag) ?? 0];
  const isCertain = row.calls.every((count) => count === 1) && attempts(books, runId) === row.calls.length;
  if (charged < billed || (isCertain && charged !== billed))
    yield `charged ${charged} nano-USD, the provider bills ${billed}`;
  for (const { rule, where, detail } of books.violations) if (where === runId) yield `${rule}: ${detail}`;
}

const attempts = ({ events }: Books, runId: string): number =>
  (events.get(runId) ?? []).filter(({ type }) => type === 'llm.requested').length;

const storyOf = ({ runId, trial }: Outcome, events: readonly StoredEvent[]): string => {
  const lines = Array.from(
    Map.groupBy(events, ({ epoch }) => epoch),
    ([epoch, own]) =>
      `  epoch ${epoch}: ${own.map(({ type, ts }) => `${type} ${ts.toISOString().slice(17, 23)}`).join(', ')}`,
  );
  const stops = trial.reached.map((at) => new Date(at).toISOString().slice(17, 23));
  return [`${runId}, stopped: ${trial.victims.join(', ')} at ${stops.join(', ')}`, ...lines].join('\n');
};

const recoveryOf = ({ row, trial }: Outcome, events: readonly StoredEvent[]): number | null => {
  const last = row.stops.findLastIndex(({ how }) => how !== 'note');
  const at = trial.reached[last] ?? 0;
  const next = trial.reached[last + 1] ?? events.find(({ ts }) => ts.getTime() > at)?.ts.getTime();
  return next === undefined ? null : next - at;
};

const verdictOf = (world: World, outcome: Outcome, books: Books): Verdict => {
  const { row, trial, runId } = outcome;
  const found = books.rows.find(({ id }) => id === runId);
  const status = found?.error_code ?? found?.status ?? 'unknown';
  const calls = countCalls(books.requests, runId);
  const keys = world.toolRequests
    .filter(({ tag }) => tag === trial.run.tag)
    .map(({ idempotencyKey }) => idempotencyKey);
  const events = books.events.get(runId) ?? [];
  return {
    name: row.name,
    runId,
    status,
    calls,
    tools: keys.length,
    recoveryMs: recoveryOf(outcome, events),
    story: storyOf(outcome, events),
    problems: [...problemsOf(outcome, books, { status, calls, keys })],
  };
};

export interface Judged {
  readonly verdicts: readonly Verdict[];
  /** What is wrong with no run in particular. */
  readonly system: readonly string[];
}

/** Waits until all is stored, and judges. */
export const judge = async (world: World, outcomes: readonly Outcome[]): Promise<Judged> => {
  const books = await openBooks(world);
  const own = new Set(outcomes.map(({ runId }) => runId));
  return {
    verdicts: outcomes.map((outcome) => verdictOf(world, outcome, books)),
    system: books.violations
      .filter(({ where }) => !own.has(where))
      .map(({ rule, where, detail }) => `${where}: ${rule}: ${detail}`),
  };
};

const seconds = (ms: number | null): string => (ms === null ? '-' : `${(ms / 1000).toFixed(1)} s`);

/** The table as text. */
export const tableOf = (outcomes: readonly Outcome[], verdicts: readonly Verdict[]): string => {
  const lines = verdicts.map(({ name, calls, tools, recoveryMs, status, problems }, n) => {
    const expected = outcomes[n]?.row.calls ?? [];
    const extra = calls.reduce((sum, count) => sum + Math.max(0, count - 1), 0);
    return [
      name.padEnd(44),
      `${expected.join('+')}/${calls.join('+')}`.padEnd(13),
      String(extra).padEnd(5),
      String(tools).padEnd(5),
      seconds(recoveryMs).padStart(8),
      ` ${problems.length === 0 ? status : `FAILED ${status}`}`,
    ].join(' ');
  });
  const head = `${'gap'.padEnd(44)} ${'calls'.padEnd(13)} extra tools recovery  end`;
  return [head, ...lines].join('\n');
};
