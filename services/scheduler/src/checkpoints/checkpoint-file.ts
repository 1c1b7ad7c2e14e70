import { type FileHandle, open } from 'node:fs/promises';
import { type CheckpointLine, SignedCheckpoint } from '@signalbox/contracts';

/** Keeps checkpoints outside Postgres: who changes the store should not be able to change it too. */
export interface CheckpointSink {
  /** The last checkpoint it has of each tenant. */
  readonly heads: () => Promise<ReadonlyMap<string, number>>;
  /** Returns when they are kept for good. */
  readonly append: (lines: readonly CheckpointLine[]) => Promise<void>;
}

const parse = (line: string): SignedCheckpoint | undefined => {
  try {
    return SignedCheckpoint.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
};

const NEWLINE = 10;

const endsWithinLine = async (file: FileHandle): Promise<boolean> => {
  const { size } = await file.stat();
  if (size === 0) return false;
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 1);
  return buffer[0] !== NEWLINE;
};

/**
 * A file with a line of JSON per checkpoint. Several schedulers may share one, or each has its own: what a file lacks
 * is added to it. A line that a crash tore is ended before the next one, and comes again whole.
 */
export const openCheckpointFile = (path: string): CheckpointSink => {
  const known = new Map<string, number>();
  /** Up to here it was read, to the end of a line. */
  let offset = 0;

  const note = (line: string): void => {
    const checkpoint = parse(line);
    if (checkpoint === undefined) return;
    const { tenant_id, n } = checkpoint;
    known.set(tenant_id, Math.max(n, known.get(tenant_id) ?? 0));
  };

  const heads = async (): Promise<ReadonlyMap<string, number>> => {
    const file = await open(path, 'a+', 0o640);
    try {
      const { size } = await file.stat();
      // Another file lies there now.
      if (size < offset) {
        known.clear();
        offset = 0;
      }
      if (size === offset) return known;
      const rest = { start: offset, end: size - 1, autoClose: false, encoding: 'utf8' as const };
      for await (const line of file.readLines(rest)) note(line);
      offset = size;
      return known;
    } finally {
      await file.close();
    }
  };

  const append = async (lines: readonly CheckpointLine[]): Promise<void> => {
    const file = await open(path, 'a+', 0o640);
    try {
      const start = (await endsWithinLine(file)) ? '\n' : '';
      await file.appendFile(start + lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
      await file.sync();
    } finally {
      await file.close();
    }
  };

  return { heads, append };
};
