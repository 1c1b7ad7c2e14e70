import {
  type AgentSpec,
  type Json,
  type ModelPort,
  type PricePort,
  SpecContent,
  SubmissionContent,
  toolEntryName,
} from '@signalbox/contracts';
import type { Partition } from '@signalbox/run-state';
import type { Clock, Logger } from '@signalbox/runtime';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { Conversation } from './conversation.ts';
import type { TenantDays } from './days.ts';
import type { WorkerMetrics } from './metrics.ts';
import { RunLostError, type Session } from './session.ts';
import type { Spans } from './spans.ts';
import type { Toolbox } from './tools/index.ts';

/** What every run of a worker shares. */
export interface WorkerPorts {
  readonly partition: Partition;
  readonly models: ModelPort;
  readonly prices: PricePort;
  readonly toolbox: Toolbox;
  readonly days: (tenantId: string) => TenantDays;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: WorkerMetrics;
  readonly spans: Spans;
  /** True once the worker is to let its runs go. */
  readonly draining: () => boolean;
}

/** One run under work: the shared ports and what belongs to this run. */
export interface RunContext extends Omit<WorkerPorts, 'days'> {
  readonly session: Session;
  readonly spec: AgentSpec;
  readonly toolNames: string[];
  readonly conversation: Conversation;
  readonly days: TenantDays;
  /** Aborts when somebody asks the run to stop. */
  readonly aborted: AbortSignal;
  outputValid(text: string): boolean;
  /** Active time the run has left, in milliseconds. */
  remainingMs(): number;
  /** Counts time spent in a provider or tool, which is no overhead of ours. */
  spentOutside(ms: number): void;
  /** The time counted since the last look. */
  takeOutside(): number;
  /** Throws when the lease may be over: nothing must leave the process then (R4). */
  checkLease(): void;
}

const outputCheck = (schema: Record<string, Json> | null): ((text: string) => boolean) => {
  if (schema === null) return () => true;
  const validate = new Ajv2020({ strict: false }).compile(schema);
  return (text) => {
    try {
      return validate(JSON.parse(text));
    } catch {
      return false;
    }
  };
};

export const createRunContext = (ports: WorkerPorts, session: Session, aborted: AbortSignal): RunContext => {
  const { state } = session;
  const spec = SpecContent.parse(session.open(state.specRef));
  let outside = 0;
  const submission = SubmissionContent.parse(session.open(state.submissionRef));
  return {
    ...ports,
    session,
    spec,
    toolNames: spec.tools.map(toolEntryName),
    conversation: new Conversation(session, { submission, spec, toolbox: ports.toolbox }),
    days: ports.days(state.submitted.tenant_id),
    aborted,
    outputValid: outputCheck(spec.output_schema),
    remainingMs: () =>
      state.limits.timeout_seconds * 1000 - state.activeMs - (ports.clock.now() - Date.parse(state.lastTs)),
    spentOutside: (ms) => {
      outside += ms;
    },
    takeOutside: () => {
      const taken = outside;
      outside = 0;
      return taken;
    },
    checkLease: () => {
      if (!session.identity.isLive()) throw new RunLostError(`run ${session.runId}: the lease is over`);
    },
  };
};
