/**
 * Moves commits from the audit stream to Postgres. Owns the batch in hand and nothing else: whatever
 * happens to this process, the entries of that batch are pending in the stream, and storing them again
 * changes nothing. So any number of replicas may run, and a crash at any point is safe.
 *
 * States: following -> sweeping -> reading -> storing -> settling -> reading ... -> following, stopped.
 * following: another replica leads. It asks again and again, and leads as soon as a silent leader's lease is over.
 * sweeping: everything that was delivered and not acknowledged, in stream order and before anything new: what
 *           the leader before left behind, what a lost reply or a failed settlement left here. At the start of
 *           leading, after every failure, when idle, and every 10 s.
 * reading:  see batch-reader.ts. Nothing more is read while a batch is in hand.
 * storing, settling: see batch-mover.ts.
 * Leading is economy: a writer frozen past its lease may store and settle once more what its successor stores.
 * A failure of Redis leads back to sweeping, through ensureGroup: a flushed Redis has no group either.
 */
import { type AuditRecord, SignalboxError } from '@signalbox/contracts';
import { type AuditReader, ensureGroup, readTrust, rewindGroup, type Trust } from '@signalbox/run-state';
import { backoffMs, pause } from '@signalbox/runtime';
import { batchesOf } from './batch.ts';
import { BatchMover, type BatchMoverDeps, isStale, type Move, RETRY } from './batch-mover.ts';
import { BatchReader } from './batch-reader.ts';
import { RelayTrouble } from './relay-trouble.ts';

export interface RelayDeps extends Omit<BatchMoverDeps, 'trouble'> {
  readonly reader: AuditReader;
}

export interface RelayOptions {
  /** How long Redis keeps a run that has ended and is stored whole. */
  readonly keepSeconds: number;
  /** Most stream entries of one batch. */
  readonly batchSize?: number;
  /**
   * About so many characters read at once: while Redis makes the reply all else waits, and it takes memory of a Redis
   * that may be short of it, most just when Postgres is back (R9).
   */
  readonly readLength?: number;
  /** No more is read into a batch that has so many characters; most of one transaction. */
  readonly batchLength?: number;
  /** Smaller batches start at least this far apart, ms, so that they grow under load. */
  readonly gatherMs?: number;
  readonly blockMs?: number;
  readonly sweepEveryMs?: number;
  /** How long Postgres may refuse a batch before another replica is let try. */
  readonly giveWayMs?: number;
}

const SECOND = 1000;
const MEGA = 2 ** 20;
const DEFAULTS = {
  batchSize: 5000,
  readLength: MEGA / 2,
  batchLength: 12 * MEGA,
  gatherMs: 200,
  blockMs: SECOND,
  sweepEveryMs: 10 * SECOND,
  giveWayMs: 10 * SECOND,
};

export class Relay {
  readonly #deps: RelayDeps;
  readonly #options: Required<RelayOptions>;
  readonly #reader: BatchReader;
  readonly #mover: BatchMover;
  readonly #trouble: RelayTrouble;
  /** Of run state, when reading last began at the oldest entry. */
  #rewoundAt: number | null = null;
  /** Incarnation under which a batch was refused last, as one that was read before a verification. */
  #refusedUnder: number | null = null;
  #failures = 0;

  constructor(deps: RelayDeps, options: RelayOptions) {
    this.#deps = deps;
    this.#options = { ...DEFAULTS, ...options };
    this.#trouble = new RelayTrouble(deps.logger);
    this.#reader = new BatchReader(deps, this.#options);
    this.#mover = new BatchMover({ ...deps, trouble: this.#trouble }, this.#options);
  }

  /** Throws what keeps it from working now: the readiness check of this process. */
  assertWorking(): void {
    this.#trouble.assertNone();
  }

  /** Ends soon after `stopping`, with no batch in hand. Never rejects. */
  async run(stopping: AbortSignal): Promise<void> {
    const { leadership } = this.#deps;
    while (!stopping.aborted) {
      this.#deps.heart.beat();
      try {
        if (await leadership.hold()) {
          const last = await this.#lead(stopping);
          // Long enough for a follower to ask in between. One that was only frozen asks again at once.
          if (last === 'gave_way') await this.#sleep(2 * leadership.renewMs, stopping);
        } else {
          this.#recovered();
          await this.#sleep(leadership.renewMs, stopping);
        }
      } catch (error) {
        this.#failures += 1;
        this.#trouble.tell('the audit stream cannot be used', error);
        await this.#sleep(backoffMs(this.#failures, { ...RETRY, random: this.#deps.random }), stopping);
      }
    }
  }

  /** Until the lead is lost or given away. */
  async #lead(stopping: AbortSignal): Promise<Move> {
    const { partition, leadership } = this.#deps;
    await ensureGroup(partition);
    this.#rewoundAt = null;
    this.#reader.begin();
    while (!stopping.aborted && (await leadership.hold())) {
      this.#deps.heart.beat();
      const end = await this.#round(stopping);
      if (end !== 'moved') return end;
      this.#recovered();
    }
    return 'moved';
  }

  async #round(stopping: AbortSignal): Promise<Move> {
    const { clock } = this.#deps;
    const { batchLength, gatherMs } = this.#options;
    const startedAt = clock.monotonic();
    const trust = await this.#trust();
    if (trust.incarnation !== this.#rewoundAt) {
      await rewindGroup(this.#deps.partition);
      this.#rewoundAt = trust.incarnation;
    }
    const { records, more } = await this.#reader.gather();
    for (const batch of batchesOf(records, batchLength)) {
      const end = await this.#move(batch, trust, stopping);
      if (end !== 'moved') return end;
    }
    if (records.length === 0) await this.#mover.check(trust);
    if (records.length === 0 || more) return 'moved';
    const rest = gatherMs - (clock.monotonic() - startedAt);
    if (rest > 0) await this.#sleep(rest, stopping);
    return 'moved';
  }

  async #move(batch: readonly AuditRecord[], trust: Trust, stopping: AbortSignal): Promise<Move> {
    try {
      return await this.#mover.move(batch, trust, stopping);
    } catch (error) {
      if (!isStale(error)) throw error;
      // A verification of this Redis would have left another incarnation here, or none.
      const isOfAnother = trust.incarnation === this.#refusedUnder;
      this.#refusedUnder = trust.incarnation;
      throw isOfAnother ? this.#verifiedElsewhere(error) : error;
    }
  }

  #verifiedElsewhere(cause: unknown): SignalboxError {
    const { root } = this.#deps.partition;
    return new SignalboxError(
      'internal',
      `Postgres was verified against another Redis than this one, so it takes nothing from here. Only one may use it: stop the other's services (look at their REDIS_URL), then "HDEL ${root}:trust server" in this Redis has it verified anew.`,
      { cause },
    );
  }

  /** Read before the batch, so that a verification in between makes the batch stale, never the other way round. */
  async #trust(): Promise<Trust> {
    const trust = await readTrust(this.#deps.partition);
    if (trust !== null) return trust;
    throw new SignalboxError('state_untrusted', 'Run state is being verified; the audit stream waits.');
  }

  #recovered(): void {
    this.#trouble.over();
    this.#failures = 0;
  }

  #sleep(ms: number, stopping: AbortSignal): Promise<void> {
    return pause(this.#deps.clock, ms, stopping);
  }
}
