import type { AuditRecord } from '@signalbox/contracts';

const sizeOf = ({ entries, contents, adminDraft = '' }: AuditRecord): number => {
  let size = adminDraft.length;
  for (const entry of entries) size += entry.length;
  for (const [ref, sealed] of contents) size += ref.length + sealed.length;
  return size;
};

/** In characters. */
export const lengthOf = (records: readonly AuditRecord[]): number =>
  records.reduce((sum, record) => sum + sizeOf(record), 0);

/** How many records to read next, for them to be about so many characters if they are like these. */
export const countFor = (
  records: readonly AuditRecord[],
  { length, most }: { length: number; most: number },
): number => {
  const each = lengthOf(records) / records.length;
  return Math.max(1, Math.min(most, Math.floor(length / Math.max(1, each))));
};

/**
 * Cuts records, in their order, into batches of at most `maxLength` characters: a batch travels as one
 * parameter, and neither a string nor a Postgres message may grow without limit. A record that is
 * larger by itself goes alone.
 */
export const batchesOf = (records: readonly AuditRecord[], maxLength: number): AuditRecord[][] => {
  const batches: AuditRecord[][] = [];
  let batch: AuditRecord[] = [];
  let length = 0;
  for (const record of records) {
    const size = sizeOf(record);
    if (batch.length > 0 && length + size > maxLength) {
      batches.push(batch);
      batch = [];
      length = 0;
    }
    batch.push(record);
    length += size;
  }
  if (batch.length > 0) batches.push(batch);
  return batches;
};

/** As many as Postgres has connections for beside the one that answers whether it is there. */
const LANES = 2;
/** Fewer records are not worth a transaction of their own. */
const LANE_RECORDS = 250;

/**
 * Cuts a batch into parts that are stored side by side. All records of a run, or of a chain, are in one part and keep
 * their order, so the parts meet in no row but the sums of a day.
 */
export const lanesOf = (records: readonly AuditRecord[]): readonly (readonly AuditRecord[])[] => {
  if (records.length < LANES * LANE_RECORDS) return [records];
  const lanes: AuditRecord[][] = Array.from({ length: LANES }, () => []);
  const laneOf = new Map<string, AuditRecord[]>();
  for (const record of records) {
    const lane = laneOf.get(record.runId) ?? lanes.reduce((a, b) => (b.length < a.length ? b : a));
    laneOf.set(record.runId, lane);
    lane.push(record);
  }
  return lanes.filter((lane) => lane.length > 0);
};
