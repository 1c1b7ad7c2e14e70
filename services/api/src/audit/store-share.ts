import { SignalboxError } from '@signalbox/contracts';

/**
 * Each tenant's share of the long reads of the audit store. Its connections are few and everybody's: who asks for much
 * waits in a line of its own and not the others for it; a line that is full refuses. Counted per process, like the
 * connections. What needs no Postgres, and the short reads of one thing, ask for no share.
 */
export interface StoreShare {
  /** Reads when it is this tenant's turn. Throws `rate_limited`, and what `read` throws. */
  take<T>(tenantId: string, use: StoreUse, read: () => Promise<T>, options?: TakeOptions): Promise<T>;
}

export interface TakeOptions {
  /** Part of an answer that has begun: it waits however long the line is. */
  readonly begun?: boolean;
}

/** Together fewer than the connections of the pool. */
export const SHARES = {
  list: { atOnce: 3, inLine: 200, retryAfter: 1 },
  verify: { atOnce: 1, inLine: 10, retryAfter: 5 },
  export: { atOnce: 2, inLine: 10, retryAfter: 5 },
} as const;

export type StoreUse = keyof typeof SHARES;

interface Line {
  reading: number;
  readonly waiting: (() => void)[];
}

const refusal = (use: StoreUse): SignalboxError => {
  const { atOnce, inLine, retryAfter } = SHARES[use];
  return new SignalboxError(
    'rate_limited',
    `This tenant has ${atOnce} reads of the audit store (${use}) under way and ${inLine} in line. Try again in ${retryAfter} s.`,
    { retryAfter },
  );
};

/** Resolves when a slot is free, which is taken then. */
const enter = async (line: Line, use: StoreUse, begun: boolean): Promise<void> => {
  const { atOnce, inLine } = SHARES[use];
  if (line.reading < atOnce) {
    line.reading += 1;
    return;
  }
  if (!begun && line.waiting.length >= inLine) throw refusal(use);
  await new Promise<void>((resolve) => line.waiting.push(resolve));
};

export const createStoreShare = (): StoreShare => {
  const lines = new Map<string, Line>();

  const leave = (name: string, line: Line): void => {
    const next = line.waiting.shift();
    // Whoever comes next has the slot at once: nobody steps in between.
    if (next !== undefined) return next();
    line.reading -= 1;
    if (line.reading === 0) lines.delete(name);
  };

  return {
    take: async (tenantId, use, read, { begun = false } = {}) => {
      const name = `${use} ${tenantId}`;
      const line = lines.get(name) ?? { reading: 0, waiting: [] };
      lines.set(name, line);
      await enter(line, use, begun);
      try {
        return await read();
      } finally {
        leave(name, line);
      }
    },
  };
};
