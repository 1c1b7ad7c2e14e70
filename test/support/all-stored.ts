import { waitFor } from '@signalbox/local';
import type { Partition } from '@signalbox/run-state';

/** A test that looks on waits for its turn, however busy the machine is. */
const PATIENCE_MS = 60_000;

/** Waits until the audit-writer has stored all that was committed up to now: the stream is empty (R9). */
export const allStored = ({ redis, root }: Partition, timeoutMs = PATIENCE_MS): Promise<true> =>
  waitFor(async () => ((await redis.xlen(`${root}:audit`)) === 0 ? true : undefined), {
    what: 'the audit stream to be stored',
    timeoutMs,
  });
