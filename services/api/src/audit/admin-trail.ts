import {
  type AdminActor,
  AdminEventDraft,
  type AdminFact,
  type Json,
  newId,
  type Principal,
} from '@signalbox/contracts';
import type { RedactorOf } from '@signalbox/engine';
import { type Partition, recordAdminEvents } from '@signalbox/run-state';
import type { Clock } from '@signalbox/runtime';
import { redactFact } from './redact-fact.ts';

/**
 * What this api writes into the administration chains. Redacted before it leaves the process (R13), and in the audit
 * stream before the deed is done: who cannot write it down does not act (R9).
 */

export interface TrailDeps {
  readonly partition: Partition;
  readonly clock: Clock;
  readonly redactorOf: RedactorOf;
}

export interface TrailBy {
  readonly tenantId: string;
  readonly actor: AdminActor;
  /** Of a fact that may be written down by several: it is stored once. */
  readonly eventId?: string;
}

export const byKey = ({ tenantId, keyId }: Pick<Principal, 'tenantId' | 'keyId'>): TrailBy => ({
  tenantId,
  actor: { type: 'operator', id: keyId },
});

export const bySystem = (tenantId: string, id: string): TrailBy => ({
  tenantId,
  actor: { type: 'system', id },
});

export type Fields = Record<string, Json>;

/** What is set of it. */
export const fieldsOf = (fields: { readonly [name: string]: Json | undefined }): Fields =>
  Object.fromEntries(
    Object.entries(fields).filter((field): field is [string, Json] => field[1] !== undefined),
  );

const draftOf = (
  deps: TrailDeps,
  { tenantId, actor, eventId = newId('evt') }: TrailBy,
  fact: AdminFact,
): AdminEventDraft =>
  AdminEventDraft.parse({
    event_id: eventId,
    tenant_id: tenantId,
    type: fact.type,
    ts: new Date(deps.clock.now()).toISOString(),
    actor,
    data: redactFact(deps.redactorOf(tenantId), fact),
  });

/** Throws `state_unavailable`; then what the facts tell of must not be done. */
export const recordFacts = (deps: TrailDeps, by: TrailBy, facts: readonly AdminFact[]): Promise<void> =>
  recordAdminEvents(
    deps.partition,
    by.tenantId,
    facts.map((fact) => draftOf(deps, by, fact)),
  );

/** Throws like `recordFacts`. */
export const recordFact = (deps: TrailDeps, by: TrailBy, fact: AdminFact): Promise<void> =>
  recordFacts(deps, by, [fact]);
