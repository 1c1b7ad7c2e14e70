import { newId, type RunStatus } from '@signalbox/contracts';
import {
  abortedRuns,
  type Activation,
  type ActivationEnd,
  type Claimed,
  claimRun,
  type ClaimOutcome,
  heldRuns,
  releaseRuns,
} from '@signalbox/run-state';
import { backoffMs, type Clock, type Keyring, pause, steadyClock } from '@signalbox/runtime';
import { drive } from './drive.ts';
import { endPoisoned } from './end/end-poisoned.ts';
import { abortRun, handOver } from './end/endings.ts';
import type { FailedOpens } from './intake/failed-opens.ts';
import type { Identity, LeaseKeeper } from './lease/lease-keeper.ts';
import { letGo, MAX_CLAIMS } from './end/let-go.ts';
import { assertNextKey } from './calls/provider-key.ts';
import { createRunContext, type WorkerPorts } from './run/run-context.ts';
import { RunLostError, Session, type SessionDeps } from './run/session.ts';
import { createSpecs, type Specs } from './run/specs.ts';
import { isStateAway } from './run/state-away.ts';

/**
 * Works on activations. Owns the set of runs under work and their abort signals; each run's own state is its
 * session's. An activation that finds nothing to do just ends: BullMQ is a doorbell.
 */

export interface WorkerDeps extends WorkerPorts {
  readonly leases: LeaseKeeper;
  readonly keyring: Keyring;
  readonly opens: FailedOpens;
  readonly onActivations: (activations: readonly Activation[]) => void;
}

/** Why a run is resumed, by what its journal says it was doing. Null: its worker was lost, which the scheduler counts. */
const resumedAfter = (status: RunStatus): string | null => {
  if (status === 'running') return null;
  return status === 'waiting' ? 'wake' : 'hand_over';
};

/** A claimed run. What the store sent of it, sealed, is not kept: it would be held as long as the run is worked on. */
interface Owned extends Pick<Claimed, 'claims' | 'queuedMs' | 'wakeSeq'> {
  readonly session: Session;
  /** Of this activation: a clock that is set must not make it older than it is. */
  readonly clock: Clock;
}

export class RunWorker {
  readonly #deps: WorkerDeps & { readonly specs: Specs };
  readonly #active = new Map<string, AbortController>();
  #opened = 0;
  /** Activations from before their claim until their run is let go. */
  readonly #mine = new Set<Activation>();

  constructor(deps: WorkerDeps) {
    this.#deps = { ...deps, specs: createSpecs(deps) };
  }

  get active(): number {
    return this.#active.size;
  }

  /** Of these the ones that it could open: the others are only let go. */
  get opened(): number {
    return this.#opened;
  }

  /**
   * Claims and works on a run. Never throws: what breaks is logged and the run is handed over. `give_back`: this
   * worker stops and did not claim it, so that another one should be told at once.
   */
  async work(activation: Activation): Promise<ActivationEnd> {
    const { logger } = this.#deps;
    this.#mine.add(activation);
    try {
      const owned = await this.#claim(activation);
      if (owned === 'stopping') return 'give_back';
      if (owned !== 'refused') await this.#own(owned);
    } catch (error) {
      if (error instanceof RunLostError) logger.warn('run lost', { run_id: activation.runId, error });
      else logger.error('activation failed', { run_id: activation.runId, error });
    } finally {
      this.#mine.delete(activation);
    }
    return 'done';
  }

  /** A hint, or a look, that a run is asked to stop. */
  abort(runId: string): void {
    this.#active.get(runId)?.abort(new Error('the run is asked to stop'));
  }

  /** Looks for aborts whose hint was lost. */
  async pollAborts(): Promise<void> {
    const { partition, leases } = this.#deps;
    const identity = leases.current();
    if (identity === null) return;
    for (const runId of await abortedRuns(partition, identity.leaseId)) this.abort(runId);
  }

  /**
   * Lets go of runs that the store holds under our lease and nobody here works on: Redis came back without our
   * last writes (R10). Looked at and sent in one turn, so that no claim of ours comes between.
   */
  async pollHeld(): Promise<void> {
    const { partition, leases, logger, onActivations } = this.#deps;
    const identity = leases.current();
    if (identity === null) return;
    const held = await heldRuns(partition, identity.leaseId);
    const mine = new Set(Array.from(this.#mine, ({ runId }) => runId));
    const strays = held.filter((runId) => !mine.has(runId));
    if (strays.length === 0) return;
    logger.warn('runs under our lease that nobody works on are let go', { runs: strays.length });
    onActivations(await releaseRuns(partition, identity.leaseId, strays));
  }

  async #claim({ runId, wakeSeq }: Activation): Promise<Owned | 'refused' | 'stopping'> {
    const { partition, leases, clock, stopping } = this.#deps;
    const token = newId('evt');
    for (let attempt = 1; !stopping.aborted; attempt += 1) {
      const identity = leases.current();
      const outcome =
        identity === null
          ? null
          : await this.#tryClaim(() =>
              claimRun(partition, { runId, wakeSeq, leaseId: identity.leaseId, token }),
            );
      if (outcome?.type === 'claimed' && identity !== null) return this.#open(outcome.run, identity);
      if (outcome?.type === 'refused') return 'refused';
      await pause(clock, backoffMs(attempt, { baseMs: 50, capMs: 1000, random: Math.random }), stopping);
    }
    return 'stopping';
  }

  /** Null: run state is away; an unreachable Redis fails no run. */
  async #tryClaim(claim: () => Promise<ClaimOutcome>): Promise<ClaimOutcome | null> {
    try {
      return await claim();
    } catch (error) {
      if (isStateAway(error)) return null;
      throw error;
    }
  }

  async #own(owned: Owned): Promise<void> {
    this.#opened += 1;
    try {
      await this.#hold(owned.session.runId, (aborted) => this.#workOn(owned, aborted));
    } catch (error) {
      if (error instanceof RunLostError) this.#deps.metrics.fencedWrites.inc();
      throw error;
    } finally {
      this.#opened -= 1;
    }
  }

  /** A run is under work here, and told when it is asked to stop. */
  async #hold(runId: string, work: (aborted: AbortSignal) => Promise<void>): Promise<void> {
    const { metrics } = this.#deps;
    const aborted = new AbortController();
    this.#active.set(runId, aborted);
    metrics.active(this.#active.size);
    try {
      await work(aborted.signal);
    } finally {
      // After a loss of run state the same run may be here twice for a moment: the lost owner and the next.
      if (this.#active.get(runId) === aborted) this.#active.delete(runId);
      metrics.active(this.#active.size);
    }
  }

  async #workOn({ session, clock, claims, queuedMs, wakeSeq }: Owned, aborted: AbortSignal): Promise<void> {
    const { metrics, spans, build } = this.#deps;
    const { state, identity } = session;
    const resumed = state.startedAt !== null;
    const reason = resumed ? resumedAfter(state.status) : null;
    if (reason !== null) metrics.resumes.inc({ reason });
    metrics.queueWait(Math.max(0, clock.now() - queuedMs) / 1000);
    const data = { worker: identity.leaseId, wake_seq: wakeSeq, resumed, build };
    session.record([{ type: 'run.claimed', data }]);
    const { agent, model, traceparent } = state.submitted;
    const ending = { session, metrics, clock };
    try {
      if (claims > MAX_CLAIMS) await endPoisoned(ending);
      else {
        const context = createRunContext({ ...this.#deps, clock }, session, aborted);
        await spans
          .agent({ name: agent.name, model, traceparent }, () => drive(context))
          .finally(() => context.stops.dispose());
      }
    } catch (error) {
      // A bug or a damaged content: let go, so that the claim limit can end it (R10).
      if (!(error instanceof RunLostError) && !(await handOver(ending, 'error'))) await abortRun(ending);
      throw error;
    }
  }

  async #open(claimed: Claimed, identity: Identity): Promise<Owned> {
    const { partition, keyring, onActivations, opens, stopping, vault, metrics } = this.#deps;
    const clock = steadyClock(this.#deps.clock);
    const actor = { type: 'system', id: identity.leaseId } as const;
    const deps: SessionDeps = { partition, keyring, clock, identity, actor, onActivations };
    try {
      const { claims, queuedMs, wakeSeq } = claimed;
      const session = new Session(deps, claimed);
      await assertNextKey({ vault, clock, session });
      opens.opened();
      return { session, clock, claims, queuedMs, wakeSeq };
    } catch (error) {
      if (error instanceof RunLostError) throw error;
      // What others could not open either says nothing of this worker.
      const tried = claimed.unopened?.leases ?? [];
      if (tried.every((leaseId) => leaseId === claimed.leaseId)) opens.failed(claimed.runId);
      await this.#hold(claimed.runId, (aborted) => {
        const hurry = AbortSignal.any([stopping, identity.lost, aborted]);
        return letGo({ partition, clock, counters: metrics, onActivations, hurry }, claimed);
      });
      throw error;
    }
  }
}
