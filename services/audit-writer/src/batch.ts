import type { AuditRecord } from '@signalbox/contracts';

const sizeOf = ({ entries, contents }: AuditRecord): number => {
  let size = 0;
  for (const entry of entries) size += entry.length;
  for (const [ref, sealed] of contents) size += ref.length + sealed.length;
  return size;
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
