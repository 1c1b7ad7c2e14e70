/** Everything a verdict is made of, gathered once the system is at rest: stores, books of others, history. */
import { type AuditVerdict, verifyAudit } from '@signalbox/audit-store';
import { waitFor } from '@signalbox/local';
import { z } from 'zod';
import { check, type Evidence, gatherEvidence, type Violation } from '../support/checker.ts';
import { type Body, parseBody } from '../support/checker/journal-facts.ts';
import { type ApiClient, createClient } from '../e2e/client.ts';
import { providerRequests } from '../e2e/stack.ts';
import type { Strike } from './fault.ts';
import { eventKey, type Lost, lostOf } from './losses.ts';
import { TENANTS } from './plan.ts';
import type { Rest } from './rest.ts';
import type { Samples } from './sampler.ts';
import type { World } from './world.ts';

export interface StoredRun {
  readonly id: string;
  readonly tenantId: string;
  readonly tag: string;
  readonly status: string;
  readonly errorCode: string | null;
  readonly bodies: readonly Body[];
}

export interface Replays {
  readonly runs: number;
  readonly others: readonly string[];
  /** That the provider was sent meanwhile. */
  readonly requests: number;
}

export interface Case {
  readonly world: World;
  readonly evidence: Evidence;
  /** What the checker of every end-to-end test finds, without what a loss of Redis explains. */
  readonly found: readonly Violation[];
  /** By id; without the probes. */
  readonly runs: ReadonlyMap<string, StoredRun>;
  /** Run id by tag, where a tag has one. */
  readonly runOfTag: ReadonlyMap<string, string>;
  readonly lost: Lost;
  readonly samples: Samples;
  readonly rest: Rest;
  readonly strikes: readonly Strike[];
  /** Reads with another tenant's key, and those that were answered. */
  readonly strangers: { readonly asked: number; readonly answered: readonly string[] };
  /** What the verification of each tenant's audit log says. */
  readonly audits: ReadonlyMap<string, AuditVerdict | null>;
  readonly replays: Replays;
  readonly seconds: number;
}

const STRANGERS = 15;

const askAsStrangers = async (world: World, runs: Iterable<StoredRun>) => {
  const some = [...runs].slice(0, STRANGERS);
  const answered: string[] = [];
  for (const { id, tenantId } of some) {
    const other = TENANTS.find((tenant) => tenant !== tenantId) ?? 'north';
    const { status } = await createClient(world.apiUrls[0] ?? '', world.keys[other]).request(
      `/v1/runs/${id}`,
    );
    if (status !== 404) answered.push(`${other} got ${status} for ${id} of ${tenantId}`);
  }
  return { asked: some.length, answered };
};

const REPLAY_MS = 60_000;
const STARTED = z.object({ id: z.string() });
const REPLAYED = z.object({
  status: z.literal('done'),
  counts: z.object({ selected: z.int(), identical: z.int() }),
  divergences: z.array(z.unknown()),
  failures: z.array(z.unknown()),
});

/** Asks again when it is refused for now: connections of before may have to be found dead first. */
const replayed = (api: ApiClient): Promise<z.infer<typeof REPLAYED>> => {
  let id: string | undefined;
  return waitFor(
    async () => {
      id ??= STARTED.safeParse((await api.request('/v1/replays', { body: { filter: {} } })).json).data?.id;
      if (id === undefined) return undefined;
      return REPLAYED.safeParse((await api.request(`/v1/replays/${id}`)).json).data;
    },
    { what: 'all runs to be replayed', timeoutMs: REPLAY_MS },
  );
};

/** All that has ended, and what did not go as it was recorded. */
const replayAll = async (world: World): Promise<Replays> => {
  const requests = world.provider.ledger.length;
  const others: string[] = [];
  let runs = 0;
  for (const tenant of TENANTS) {
    const client = createClient(world.apiUrls[0] ?? '', world.keys[tenant]);
    const { counts, divergences, failures } = await replayed(client);
    runs += counts.selected;
    if (counts.identical < counts.selected) others.push(JSON.stringify([tenant, divergences, failures]));
  }
  return { runs, others, requests: world.provider.ledger.length - requests };
};

const PROVIDER_RULE = 'provider = journal';

type Watched = Pick<Case, 'samples' | 'rest' | 'strikes' | 'seconds'>;

export const buildCase = async (world: World, watched: Watched): Promise<Case> => {
  const rows = await world.db
    .selectFrom('runs')
    .select(['id', 'tenant_id', 'session_id', 'status', 'error_code'])
    .where('session_id', 'is not', null)
    .execute();
  const byTag = Map.groupBy(rows, ({ session_id: tag }) => tag ?? '');
  const runOfTag = new Map(
    [...byTag].flatMap(([tag, [row, ...more]]) =>
      row !== undefined && more.length === 0 ? [[tag, row.id] as const] : [],
    ),
  );
  const evidence = await gatherEvidence(world, providerRequests(world.provider, runOfTag));
  const bodiesOf = new Map(
    evidence.runs.map((run) => [
      run.id,
      run.rows.flatMap(({ body }) => (body === null ? [] : (parseBody(body) ?? []))),
    ]),
  );
  const runs = new Map(
    rows.map((row) => [
      row.id,
      {
        id: row.id,
        tenantId: row.tenant_id,
        tag: row.session_id ?? '',
        status: row.status,
        errorCode: row.error_code,
        bodies: bodiesOf.get(row.id) ?? [],
      },
    ]),
  );
  const stored = evidence.runs.flatMap(({ id, rows: events }) =>
    events.map(({ seq, hash }) => eventKey({ runId: id, seq, hash })),
  );
  const lost = lostOf(world.losses, new Set(stored));
  const excused = ({ rule, where }: Violation): boolean => rule === PROVIDER_RULE && lost.runs.has(where);
  // The probes' models are not the provider's.
  const probe = ({ rule, where }: Violation): boolean => rule === PROVIDER_RULE && !runs.has(where);
  const found = check(evidence, { crashes: true }).filter((one) => !excused(one) && !probe(one));
  const strangers = await askAsStrangers(world, runs.values());
  const audits = new Map<string, AuditVerdict | null>();
  for (const tenant of TENANTS) audits.set(tenant, await verifyAudit(world.db, tenant, null));
  const replays = await replayAll(world);
  return { world, evidence, found, runs, runOfTag, lost, strangers, audits, replays, ...watched };
};
