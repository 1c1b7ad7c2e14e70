import { type ModelPort, type PricePort, SubmissionContent } from '@signalbox/contracts';
import type { Redactor, RedactorOf } from '@signalbox/engine';
import type { KeyVault } from '@signalbox/providers';
import type { Partition } from '@signalbox/run-state';
import type { Clock, JsonSchemas, Logger } from '@signalbox/runtime';
import { Conversation } from './conversation.ts';
import type { TenantDays } from './days.ts';
import { createDeltas, type Deltas } from './deltas.ts';
import type { WorkerMetrics } from '../metrics.ts';
import type { Session } from './session.ts';
import type { Spans } from '../spans.ts';
import type { ReadSpec, Specs } from './specs.ts';
import { CallStops } from './stop.ts';
import type { Toolbox } from '../tools/index.ts';

/** What every run of a worker shares. */
export interface WorkerPorts {
  readonly partition: Partition;
  readonly models: ModelPort;
  readonly vault: KeyVault;
  readonly prices: PricePort;
  readonly toolbox: Toolbox;
  readonly schemas: JsonSchemas;
  readonly days: (tenantId: string) => TenantDays;
  readonly clock: Clock;
  /** Version of this code. */
  readonly build: string;
  readonly logger: Logger;
  readonly metrics: WorkerMetrics;
  readonly spans: Spans;
  /** Aborts when the worker is to let its runs go, each at its next step. */
  readonly stopping: AbortSignal;
  /** Aborts when the time for that is over: open calls end now. */
  readonly cut: AbortSignal;
  /** After so long at work a run lets others go first, if any wait. */
  readonly timeSliceMs: number;
  readonly redactorOf: RedactorOf;
}

/** One run under work: the shared ports and what belongs to this run. */
export interface RunContext extends Omit<WorkerPorts, 'days' | 'redactorOf'>, ReadSpec {
  readonly session: Session;
  readonly conversation: Conversation;
  readonly deltas: Deltas;
  readonly days: TenantDays;
  /** For texts from outside that go into events in clear (R13). */
  readonly redactor: Redactor;
  /** Aborts when somebody asks the run to stop. */
  readonly aborted: AbortSignal;
  /** Of its open calls. */
  readonly stops: CallStops;
  /** The activation is older than a time slice. */
  sliceOver(): boolean;
  /** Active time the run has left, in milliseconds. */
  remainingMs(): number;
  /** Counts time spent in a provider or tool, which is no overhead of ours. */
  spentOutside(ms: number): void;
  /** The time counted since the last look. */
  takeOutside(): number;
}

/** `stops` is to be disposed of when the run is let go. */
export const createRunContext = (
  ports: WorkerPorts & { readonly specs: Specs },
  session: Session,
  aborted: AbortSignal,
): RunContext => {
  const { state, contents } = session;
  const agent = ports.specs(contents.take(state.specRef));
  const submission = SubmissionContent.parse(JSON.parse(contents.take(state.submissionRef)));
  const startedAt = ports.clock.monotonic();
  let outside = 0;
  return {
    ...ports,
    ...agent,
    session,
    conversation: new Conversation(session, submission, agent),
    deltas: createDeltas(ports, { runId: session.runId, dataKey: contents.dataKey }),
    days: ports.days(state.submitted.tenant_id),
    redactor: ports.redactorOf(state.submitted.tenant_id),
    aborted,
    stops: new CallStops({ aborted, lost: session.identity.lost, cut: ports.cut }),
    sliceOver: () => ports.clock.monotonic() - startedAt >= ports.timeSliceMs,
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
  };
};
