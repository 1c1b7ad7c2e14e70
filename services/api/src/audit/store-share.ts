import { SignalboxError } from '@signalbox/contracts';

/**
 * Each tenant's share of the long reads of the audit store, and of changes, which wait for each other's locks. Its
 * connections are few and everybody's: who asks for much waits in a line of its own and not the others for it; a line
 * that is full refuses. Counted per process, like the connections. What needs no Postgres, and the short reads of one
 * thing, ask for no share.
 */
export interface StoreShare {
  /** Does its work when it is this tenant's turn. Throws `rate_limited`, and what `work` throws. */
  take<T>(tenantId: string, use: StoreUse, work: () => Promise<T>, options?: TakeOptions): Promise<T>;
}

export interface TakeOptions {
  /** Part of an answer that has begun: it waits however long the line is. */
  readonly begun?: boolean;
}

/** Together fewer than the connections of the pool. */
export const SHARES = {
  list: { atOnce: 3, inLine: 200, retryAfter: 1 },
  /** All that was said in a run, wherever it lies: to open that of a long one keeps the whole process busy. */
  steps: { atOnce: 1, inLine: 200, retryAfter: 1 },
  verify: { atOnce: 1, inLine: 10, retryAfter: 5 },
  export: { atOnce: 2, inLine: 10, retryAfter: 5 },
  change: { atOnce: 1, inLine: 200, retryAfter: 1 },
  /** Of agents. Not in one line with the others: who may only do this must not hold up that a key is revoked. */
  publish: { atOnce: 1, inLine: 200, retryAfter: 1 },
} as const;

export type StoreUse = keyof typeof SHARES;

interface Line {
  working: number;
  readonly waiting: (() => void)[];
}

const refusal = (use: StoreUse): SignalboxError => {
  const { atOnce, inLine, retryAfter } = SHARES[use];
  return new SignalboxError(
    'rate_limited',
    `This tenant has ${atOnce} requests to the audit store (${use}) under way and ${inLine} in line. Try again in ${retryAfter} s.`,
    { retryAfter },
  );
};

/** Resolves when a slot is free, which is taken then. */
const enter = async (line: Line, use: StoreUse, begun: boolean): Promise<void> => {
  const { atOnce, inLine } = SHARES[use];
  if (line.working < atOnce) {
    line.working += 1;
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
    line.working -= 1;
    if (line.working === 0) lines.delete(name);
  };

  return {
    take: async (tenantId, use, work, { begun = false } = {}) => {
      const name = `${use} ${tenantId}`;
      const line = lines.get(name) ?? { working: 0, waiting: [] };
      lines.set(name, line);
      await enter(line, use, begun);
      try {
        return await work();
      } finally {
        leave(name, line);
      }
    },
  };
};
