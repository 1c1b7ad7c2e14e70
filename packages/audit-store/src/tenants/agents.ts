import { SignalboxError } from '@signalbox/contracts';
import { sql } from 'kysely';
import { type Page, pageOf, pagesOf } from '../db/pages.ts';
import type { Db } from '../db/pool.ts';
import { readWithin } from '../db/read-within.ts';
import { reaching } from '../db/store-errors.ts';

export interface NewAgentVersion {
  readonly tenantId: string;
  readonly name: string;
  /** Names the content: the same digest is the same version. */
  readonly digest: string;
  readonly sealedSpec: string;
}

export interface StoredAgent extends NewAgentVersion {
  readonly version: number;
  readonly createdAt: Date;
}

export interface Published extends StoredAgent {
  /** False when this content was a version already. */
  readonly created: boolean;
}

const select = (db: Db) =>
  db
    .selectFrom('agent_versions')
    .select([
      'tenant_id as tenantId',
      'name',
      'version',
      'digest',
      'sealed_spec as sealedSpec',
      'created_at as createdAt',
    ]);

/** Told of a new version before it is committed: if it throws, nothing is changed. */
type Watch = (version: number) => Promise<void>;

/** Each is mirrored in Redis and restored by every verification. */
const MAX_AGENTS = 1000;

/** The lock gives those who make agents of one tenant their turn: no two take the last place. */
const assertRoom = async (tx: Db, { tenantId, name }: NewAgentVersion): Promise<void> => {
  const ofTenant = tx.selectFrom('agents').where('tenant_id', '=', tenantId);
  const known = ofTenant.select('name').where('name', '=', name);
  if ((await known.executeTakeFirst()) !== undefined) return;
  await sql`select pg_advisory_xact_lock(hashtext('signalbox agents'), hashtext(${tenantId}))`.execute(tx);
  if ((await known.executeTakeFirst()) !== undefined) return;
  const { n } = await ofTenant.select((eb) => eb.fn.countAll<number>().as('n')).executeTakeFirstOrThrow();
  if (n < MAX_AGENTS) return;
  throw new SignalboxError(
    'quota_exceeded',
    `A tenant may have ${MAX_AGENTS} agents, so ${name} was not made. Publish a new version of one there is.`,
  );
};

const publish = async (tx: Db, agent: NewAgentVersion, watch: Watch | undefined): Promise<Published> => {
  const { tenantId, name, digest, sealedSpec } = agent;
  await assertRoom(tx, agent);
  await tx
    .insertInto('agents')
    .values({ tenant_id: tenantId, name })
    .onConflict((conflict) => conflict.columns(['tenant_id', 'name']).doNothing())
    .execute();
  // The lock gives publishers of one agent their turn.
  const { latest_version } = await tx
    .selectFrom('agents')
    .select('latest_version')
    .where('tenant_id', '=', tenantId)
    .where('name', '=', name)
    .forUpdate()
    .executeTakeFirstOrThrow();
  const ofAgent = select(tx).where('tenant_id', '=', tenantId).where('name', '=', name);
  const same = await ofAgent.where('digest', '=', digest).executeTakeFirst();
  if (same !== undefined) return { ...same, created: false };
  const version = latest_version + 1;
  await tx
    .insertInto('agent_versions')
    .values({ tenant_id: tenantId, name, version, digest, sealed_spec: sealedSpec })
    .execute();
  await tx
    .updateTable('agents')
    .set({ latest_version: version })
    .where('tenant_id', '=', tenantId)
    .where('name', '=', name)
    .execute();
  await watch?.(version);
  return { ...(await ofAgent.where('version', '=', version).executeTakeFirstOrThrow()), created: true };
};

/**
 * Adds a version, or answers the one that has this digest. The tenant must exist. Throws `quota_exceeded` for an agent
 * beyond what a tenant may have, `audit_store_unavailable`.
 */
export const publishAgentVersion = (db: Db, agent: NewAgentVersion, watch?: Watch): Promise<Published> =>
  reaching(() => db.transaction().execute((tx) => publish(tx, agent, watch)));

export interface AgentQuery {
  readonly tenantId: string;
  readonly name: string;
  /** Unset: the latest. */
  readonly version?: number | undefined;
}

/** Null: no such agent, or no such version. Throws `audit_store_unavailable`. */
export const getAgent = (db: Db, { tenantId, name, version }: AgentQuery): Promise<StoredAgent | null> =>
  reaching(async () => {
    const found = await select(db)
      .where('tenant_id', '=', tenantId)
      .where('name', '=', name)
      .$if(version !== undefined, (query) => query.where('version', '=', version ?? 0))
      .orderBy('version', 'desc')
      .limit(1)
      .executeTakeFirst();
    return found ?? null;
  });

export interface AgentListQuery {
  readonly tenantId: string;
  readonly limit: number;
  /** Continue behind this name. */
  readonly after?: string | undefined;
}

/** Of sealed specs in a page: one may have a megabyte. */
const MAX_PAGE_BYTES = 8 * 1024 * 1024;

/** The latest version of each agent, by name; fewer where they are large. Throws `audit_store_unavailable`. */
export const listAgents = (
  db: Db,
  { tenantId, limit, after = '' }: AgentListQuery,
): Promise<Page<StoredAgent, string>> =>
  reaching(async () => {
    const latest = sql`
      select v.tenant_id as "tenantId", v.name, v.version, v.digest, v.sealed_spec as "sealedSpec",
        v.created_at as "createdAt", octet_length(v.sealed_spec) as bytes
      from agents a join agent_versions v
        on v.tenant_id = a.tenant_id and v.name = a.name and v.version = a.latest_version
      where a.tenant_id = ${tenantId} and a.name > ${after} order by a.name limit ${limit + 1}`;
    const bounds = { order: sql`name`, maxBytes: MAX_PAGE_BYTES };
    const { rows, cut } = await readWithin<StoredAgent>(db, latest, bounds);
    const lookedTo = cut ? (rows.at(-1)?.name ?? null) : null;
    return pageOf(rows, { limit, placeOf: ({ name }) => name, lookedTo });
  });

export interface PlacedAgentVersion {
  readonly tenantId: string;
  /** Of the tenant. */
  readonly partition: number;
  readonly name: string;
  readonly version: number;
  readonly sealedSpec: string;
}

/** So many specs are in memory at once; one may have some hundred KB. */
const PAGE = 50;

type AfterVersion = Pick<PlacedAgentVersion, 'tenantId' | 'name' | 'version'>;

const newestPage = async (db: Db, newest: number, after: AfterVersion): Promise<PlacedAgentVersion[]> => {
  const { rows } = await sql<PlacedAgentVersion>`
    select v.tenant_id as "tenantId", tenants.partition, v.name, v.version, v.sealed_spec as "sealedSpec"
    from agent_versions v
    join agents on agents.tenant_id = v.tenant_id and agents.name = v.name
    join tenants on tenants.id = v.tenant_id
    where (v.tenant_id, v.name, v.version) > (${after.tenantId}, ${after.name}, ${after.version})
      and v.version > agents.latest_version - ${newest}::int
    order by v.tenant_id, v.name, v.version limit ${PAGE}`.execute(db);
  return rows;
};

/** The `newest` versions of every agent, oldest version first, a page at a time. Throws `audit_store_unavailable`. */
export const readNewestVersions = (
  db: Db,
  newest: number,
): AsyncGenerator<readonly PlacedAgentVersion[], undefined> =>
  pagesOf<PlacedAgentVersion>(PAGE, (last) =>
    reaching(() => newestPage(db, newest, last ?? { tenantId: '', name: '', version: 0 })),
  );
