/**
 * One owner's hold on one run, from claim to release. Owns the folded state, the results that are not
 * written yet, and the only way to write (R4): `record` adds results, `flush` writes them, `announce` writes
 * them together with what happens next (R3). Writes go out one after the other; results recorded meanwhile
 * go with the next one. A refused write ends the session with `RunLostError`.
 */
import type { Actor, EventDraft, Hold, SealedContent } from '@signalbox/contracts';
import { appendDrafts, apply, fold, type Head, readEntry, type RunState } from '@signalbox/engine';
import {
  type Activation,
  type After,
  type Claimed,
  commitRun,
  type CommitReply,
  type CommitSettlement,
  type Note,
  noteDraft,
  type Partition,
} from '@signalbox/run-state';
import { backoffMs, type Clock, type Keyring, pause, sealingKey } from '@signalbox/runtime';
import type { Identity } from '../lease/lease-keeper.ts';
import { joined, nothingPending } from './pending.ts';
import { RunContents } from './run-contents.ts';
import { isStateAway } from './state-away.ts';

export class RunLostError extends Error {
  override readonly name = 'RunLostError';
}

export interface SessionDeps {
  readonly partition: Partition;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly identity: Identity;
  readonly actor: Actor;
  readonly onActivations: (activations: readonly Activation[]) => void;
}

export interface RecordOptions {
  readonly contents?: readonly SealedContent[];
  readonly settlements?: readonly CommitSettlement[];
  /** A step got its result. */
  readonly progress?: boolean;
  /** Called once it is written: of what a lost owner had, the next one writes something else, and counts that. */
  readonly onWritten?: () => void;
}

interface Terms {
  readonly hold: Hold | null;
  readonly contents: readonly SealedContent[];
  readonly after: After;
}

const NO_ANNOUNCEMENT: Terms = { hold: null, contents: [], after: { type: 'go' } };

export class Session {
  readonly state: RunState;
  readonly runId: string;
  readonly contents: RunContents;
  readonly #deps: SessionDeps;
  readonly #leaseId: string;
  readonly #epoch: number;
  #wakeSeq: number;
  #written: Head;
  #pending = nothingPending();
  #notes: readonly Note[];
  #writing: Promise<unknown> = Promise.resolve();
  #released = false;

  constructor(deps: SessionDeps, claimed: Claimed) {
    this.#deps = deps;
    this.#leaseId = claimed.leaseId;
    this.#epoch = claimed.epoch;
    this.runId = claimed.runId;
    this.#wakeSeq = claimed.wakeSeq;
    const dataKey = sealingKey(deps.keyring.unwrap(claimed.wrappedKey, claimed.runId));
    this.contents = new RunContents(dataKey, claimed);
    this.state = fold(claimed.entries.map(readEntry));
    this.#written = { seq: this.state.seq, hash: this.state.hash };
    this.#notes = claimed.notes;
  }

  /** True once the run has ended, parked or been handed over: nothing may be written any more. */
  get released(): boolean {
    return this.#released;
  }

  /** Who this session is to the store. */
  get identity(): Identity {
    return this.#deps.identity;
  }

  /** Throws when the lease may be over: nothing must leave the process then (R4). */
  checkLease(): void {
    if (!this.identity.isLive()) throw new RunLostError(`run ${this.runId}: the lease is over`);
  }

  /** Adds results to the journal and the state; they are written by the next `flush` or `announce`. */
  record(drafts: readonly EventDraft[], options: RecordOptions = {}): void {
    const appended = this.#append({ seq: this.state.seq, hash: this.state.hash }, drafts);
    for (const event of appended.events) apply(this.state, event);
    this.#pending.entries.push(...appended.entries);
    this.#pending.contents.push(...(options.contents ?? []));
    this.#pending.settlements.push(...(options.settlements ?? []));
    this.#pending.progress ||= options.progress ?? false;
    if (options.onWritten !== undefined) this.#pending.onWritten.push(options.onWritten);
  }

  /** Turns what others left in the inbox into events. Only between writes, so that each note is taken once. */
  async absorbNotes(): Promise<void> {
    await this.#writing;
    if (this.#notes.length === 0) return;
    this.record(this.#notes.map(noteDraft));
    this.#pending.notes += this.#notes.length;
    this.#notes = [];
  }

  /** Writes all recorded results. */
  async flush(): Promise<void> {
    await this.#inTurn(async () => {
      if (this.#pending.entries.length > 0) await this.#write([], NO_ANNOUNCEMENT);
    });
  }

  /** Asks the store for the notes that came meanwhile, writing what is recorded. */
  async refresh(): Promise<void> {
    await this.#inTurn(() => this.#write([], NO_ANNOUNCEMENT));
  }

  /** Writes all results and, if it may happen, what comes next. Anything but OK: it does not happen. */
  async announce(drafts: readonly EventDraft[], terms: Partial<Terms> = {}): Promise<CommitReply> {
    return this.#inTurn(() => this.#write(drafts, { ...NO_ANNOUNCEMENT, ...terms }));
  }

  /** The wakeSeq a park is judged by: wakes whose notes were absorbed are no reason not to park. */
  parkSeq(): number {
    return this.#wakeSeq;
  }

  #append(head: Head, drafts: readonly EventDraft[]): ReturnType<typeof appendDrafts> {
    const { clock, actor } = this.#deps;
    return appendDrafts(head, drafts, {
      runId: this.runId,
      epoch: this.#epoch,
      ts: new Date(clock.now()).toISOString(),
      actor,
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#writing.then(work);
    this.#writing = turn.catch(() => undefined);
    return turn;
  }

  async #write(drafts: readonly EventDraft[], announcement: Terms): Promise<CommitReply> {
    const results = this.#pending;
    this.#pending = nothingPending();
    const behind: Head = { seq: this.state.seq, hash: this.state.hash };
    const { entries, events } = this.#append(behind, drafts);
    const reply = await this.#commit({
      head: this.#written,
      results: results.entries.length === 0 ? null : results,
      announcement: drafts.length === 0 ? null : { entries, ...announcement },
    }).catch((error: unknown) => {
      // Not written, or not known to be: the next write sends them again, so that there is no gap (R5).
      this.#pending = joined(results, this.#pending);
      throw error;
    });
    for (const tell of results.onWritten) tell();
    this.#deps.onActivations(reply.activations);
    this.#written = reply.head;
    this.#notes = reply.notes;
    this.#wakeSeq = reply.wakeSeq;
    if (reply.code === 'OK') {
      for (const event of events) apply(this.state, event);
      this.#released = announcement.after.type !== 'go';
    }
    return reply;
  }

  /** Sends a commit until the store answers or the lease is over; a resend is recognised by the store. */
  async #commit(
    commit: Pick<Parameters<typeof commitRun>[1], 'head' | 'results' | 'announcement'>,
  ): Promise<CommitReply> {
    const { partition, clock, identity } = this.#deps;
    for (let attempt = 1; ; attempt += 1) {
      this.checkLease();
      try {
        const reply = await commitRun(partition, {
          runId: this.runId,
          leaseId: this.#leaseId,
          epoch: this.#epoch,
          ...commit,
        });
        if (['FENCED', 'TERMINAL', 'CONFLICT', 'NOT_FOUND'].includes(reply.code)) {
          throw new RunLostError(
            `run ${this.runId}: the store refused a write of epoch ${this.#epoch} (${reply.code})`,
          );
        }
        return reply;
      } catch (error) {
        if (!isStateAway(error)) throw error;
        await pause(
          clock,
          backoffMs(attempt, { baseMs: 50, capMs: 1000, random: Math.random }),
          identity.lost,
        );
      }
    }
  }
}
