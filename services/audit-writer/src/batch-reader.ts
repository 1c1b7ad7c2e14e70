/**
 * What the relay reads next. Owns how much that is and when to look for what was delivered before; holds no entries.
 * A batch begins with one read, so that little is in hand before anything is stored; each that came back full lets the
 * next take twice as many, until a batch is as large as it may be.
 */
import type { AuditRecord } from '@signalbox/contracts';
import type { AuditReader, Leadership } from '@signalbox/run-state';
import type { Clock, Logger } from '@signalbox/runtime';
import { countFor, lengthOf } from './batch.ts';
import type { RelayMetrics } from './metrics.ts';

export interface BatchReaderDeps {
  readonly reader: AuditReader;
  readonly leadership: Leadership;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: RelayMetrics;
}

/** As the relay's options of the same names. */
export interface BatchReaderOptions {
  readonly batchSize: number;
  readonly batchLength: number;
  readonly readLength: number;
  readonly blockMs: number;
  readonly sweepEveryMs: number;
}

export interface Gathered {
  readonly records: readonly AuditRecord[];
  /** The last read came back full. */
  readonly more: boolean;
}

/** Before anything is known of the entries. */
const FIRST_READ = 100;
/** What follows the first read of a batch comes at once or not at all; 0 would wait for ever. */
const NO_WAIT_MS = 1;

export class BatchReader {
  readonly #deps: BatchReaderDeps;
  readonly #options: BatchReaderOptions;
  #sweepAt = Number.NEGATIVE_INFINITY;
  #readCount: number;
  /** Most reads of the next batch. */
  #reads = 1;

  constructor(deps: BatchReaderDeps, options: BatchReaderOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#readCount = Math.min(FIRST_READ, options.batchSize);
  }

  /** With what was delivered before and never acknowledged. */
  begin(): void {
    this.#sweepAt = Number.NEGATIVE_INFINITY;
    this.#reads = 1;
  }

  /** The next batch; waits a little for its first entry. */
  async gather(): Promise<Gathered> {
    const { batchSize, batchLength } = this.#options;
    const left = await this.#sweep();
    if (left.length > 0) return { records: left, more: left.length >= batchSize };
    const records: AuditRecord[] = [];
    let length = 0;
    for (let reads = 1; ; reads += 1) {
      const asked = Math.min(this.#readCount, batchSize - records.length);
      const fresh = await this.#read(asked, records.length === 0);
      records.push(...fresh);
      length += lengthOf(fresh);
      const more = fresh.length >= asked;
      const isFull = reads >= this.#reads || records.length >= batchSize || length >= batchLength;
      if (more && !isFull) continue;
      this.#reads = more ? 2 * reads : 1;
      return { records, more };
    }
  }

  /** What was delivered before, if it is time to look. */
  async #sweep(): Promise<readonly AuditRecord[]> {
    const { reader, clock, metrics, logger } = this.#deps;
    if (clock.monotonic() < this.#sweepAt) return [];
    const left = await reader.reclaim(this.#readCount);
    if (left.length > 0) {
      this.#learn(left);
      metrics.reclaimed.inc(left.length);
      logger.info('reclaimed what was delivered before', { records: left.length });
      return left;
    }
    await reader.forgetOthers();
    this.#sweepAt = clock.monotonic() + this.#options.sweepEveryMs;
    return [];
  }

  async #read(count: number, isFirst: boolean): Promise<readonly AuditRecord[]> {
    const { reader, leadership } = this.#deps;
    const waitMs = isFirst ? Math.min(this.#options.blockMs, leadership.renewMs) : NO_WAIT_MS;
    const fresh = await reader.read(count, waitMs);
    this.#learn(fresh);
    // Nothing came, or it came and the reply was lost on the way.
    if (isFirst && fresh.length === 0) this.#sweepAt = Number.NEGATIVE_INFINITY;
    return fresh;
  }

  /** How many to read next, for the reply to be as long as it may. */
  #learn(records: readonly AuditRecord[]): void {
    const { batchSize, readLength } = this.#options;
    if (records.length > 0) this.#readCount = countFor(records, { length: readLength, most: batchSize });
  }
}
