/**
 * What was done to a tenant rather than in one of its runs: keys, caps, agents, refused requests, reads of contents.
 * One chain per tenant (Audit). The api makes a draft with an id of its own; the audit-writer stores each id
 * once and gives it `seq`, `prev` and `hash`. `data` holds nothing secret (R13).
 */
import { z } from 'zod';
import { ApiScope } from './api-key.ts';
import { GENESIS } from './event.ts';
import { JsonValue } from './json.ts';
import { REPLAY_MODES } from './replays.ts';

const Fields = z.record(z.string(), JsonValue);
const RunRef = z.string().nullable();

export const REFUSALS = [
  'missing_key',
  'unknown_key',
  'expired_key',
  'revoked_key',
  'missing_scope',
] as const;

export const ADMIN_EVENT_DATA = {
  'key.created': z.object({
    key_id: z.string(),
    name: z.string(),
    scopes: z.array(ApiScope),
    expires_at: z.string().nullable(),
  }),
  'key.revoked': z.object({ key_id: z.string(), name: z.string() }),
  /** The first use in an hour, as one process saw it; of routes that need `admin` apart from all others. */
  'key.used': z.object({ admin: z.boolean(), route: z.string() }),
  /** Refused requests of one source within a minute, as one process saw them. */
  'auth.refused': z.object({
    reason: z.enum(REFUSALS),
    /** Id of a key we know, else the first digits of the hash of what was sent; null: too many, or nothing was sent. */
    source: z.string().nullable(),
    /** Of the first of them. */
    route: z.string().nullable(),
    count: z.int().min(1),
    since: z.string(),
  }),
  'caps.changed': z.object({
    /** Null: the tenant's own. */
    user_id: z.string().nullable(),
    before: Fields.nullable(),
    after: Fields.nullable(),
  }),
  'agent.changed': z.object({ name: z.string(), version: z.int(), spec_digest: z.string() }),
  'content.read': z.object({ run_id: z.string(), by: z.enum(['steps', 'stream', 'fork']) }),
  'audit.exported': z.object({ run_id: RunRef, from: z.string().nullable(), to: z.string().nullable() }),
  'chain.verified': z.object({
    run_id: RunRef,
    ok: z.boolean(),
    checked: z.int().min(0),
    first_bad: z.object({ run_id: z.string(), seq: z.int(), why: z.string() }).nullable(),
  }),
  'content.erased': z.object({ run_id: z.string(), reason: z.string().nullable() }),
  'provider_key.changed': z.object({
    provider: z.string(),
    change: z.enum(['set', 'removed']),
    /** Of the key that was set or removed, as `llm.requested` names it. */
    key_id: z.string().optional(),
  }),
  /** A key was tried at its provider. */
  'provider_key.pinged': z.object({
    provider: z.string(),
    source: z.enum(['env', 'vault']),
    key_id: z.string().nullable(),
  }),
  'retention.changed': z.object({ before: Fields.nullable(), after: Fields.nullable() }),
  'legal_hold.changed': z.object({ run_id: RunRef, held: z.boolean(), reason: z.string().nullable() }),
  'checkpoint.written': z.object({ checkpoint_id: z.string(), chains: z.int().min(0), root: z.string() }),
  /** A job that replays many runs; `changed` names what it tries, and caps what it may pay for. */
  'replay.started': z.object({
    replay_id: z.string(),
    filter: Fields,
    changed: z.array(z.string()),
    mode: z.enum(REPLAY_MODES),
    max_cost_usd: z.number().nullable(),
  }),
  'replay.aborted': z.object({ replay_id: z.string() }),
  'runs.aborted': z.object({ filter: Fields, matched: z.int().min(0), reason: z.string().nullable() }),
} as const;

export type AdminEventType = keyof typeof ADMIN_EVENT_DATA;
export const ADMIN_EVENT_TYPES = Object.keys(ADMIN_EVENT_DATA) as readonly AdminEventType[];
export type AdminEventData<T extends AdminEventType> = z.infer<(typeof ADMIN_EVENT_DATA)[T]>;

/** The chain of requests that belong to no tenant we know. */
export const SYSTEM_TENANT = 'system';

const CHAIN_PREFIX = 'admin_';

/** `run_id` of a tenant's administration chain. */
export const adminChainOf = (tenantId: string): string => `${CHAIN_PREFIX}${tenantId}`;

/** True for what is no run but the administration chain of a tenant. */
export const isAdminChain = (runId: string): boolean => runId.startsWith(CHAIN_PREFIX);

/** An operator is an API key. */
export const AdminActor = z.object({ type: z.enum(['operator', 'system']), id: z.string() });
export type AdminActor = z.infer<typeof AdminActor>;

const Draft = z.object({
  event_id: z.string().regex(/^evt_[0-9a-f]{32}$/),
  tenant_id: z.string().min(1),
  ts: z.iso.datetime(),
  actor: AdminActor,
});

const Chained = Draft.extend({
  run_id: z.string(),
  seq: z.int().min(1),
  epoch: z.literal(0),
  refs: z.record(z.string(), z.string()),
  prev: z.string().length(GENESIS.length),
  hash: z.string().length(GENESIS.length),
});

/** What happened, before it is somebody's. */
export type AdminFact = {
  [T in AdminEventType]: { readonly type: T; readonly data: AdminEventData<T> };
}[AdminEventType];

/** An event on its way to its chain. */
export type AdminEventDraft = z.infer<typeof Draft> & AdminFact;

export type AdminEvent = z.infer<typeof Chained> & AdminFact;

const unionOf = (base: z.ZodObject) =>
  ADMIN_EVENT_TYPES.map((type) => base.extend({ type: z.literal(type), data: ADMIN_EVENT_DATA[type] }));

/** Parses one draft; throws a ZodError on anything else. */
export const AdminEventDraft = z.discriminatedUnion(
  'type',
  unionOf(Draft) as unknown as [z.core.$ZodTypeDiscriminable],
) as unknown as z.ZodType<AdminEventDraft>;

/** Parses one event of an administration chain; throws a ZodError on anything else. */
export const AdminEvent = z.discriminatedUnion(
  'type',
  unionOf(Chained) as unknown as [z.core.$ZodTypeDiscriminable],
) as unknown as z.ZodType<AdminEvent>;
