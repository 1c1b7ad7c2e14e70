/** What a piece of work costs the processes that do it. */
import { cpuSeconds, memoryBytes, type ProcessGroup } from './process-tree.ts';

export interface Usage {
  /** Processor seconds, by group. */
  readonly cpu: ReadonlyMap<string, number>;
  /** Of all groups together, at the time when it was most. */
  readonly peakBytes: number;
  /** When it was done. */
  readonly window: Window;
}

/** Microseconds of the clock that all processes of a machine share, and that profiles are written in. */
export interface Window {
  readonly from: number;
  readonly to: number;
}

const nowMicros = (): number => Number(process.hrtime.bigint() / 1000n);

/** Reading the page tables of a big process takes milliseconds. */
const LOOK_MS = 2000;

export const metered = async <T>(
  groups: readonly ProcessGroup[],
  work: () => Promise<T>,
): Promise<Usage & { readonly value: T }> => {
  const before = groups.map(cpuSeconds);
  let peakBytes = 0;
  const look = (): void => {
    peakBytes = Math.max(
      peakBytes,
      groups.reduce((sum, group) => sum + memoryBytes(group), 0),
    );
  };
  const looking = setInterval(look, LOOK_MS);
  try {
    const from = nowMicros();
    const value = await work();
    const to = nowMicros();
    look();
    const cpu = new Map(groups.map((group, n) => [group.name, cpuSeconds(group) - (before[n] ?? 0)]));
    return { value, cpu, peakBytes, window: { from, to } };
  } finally {
    clearInterval(looking);
  }
};
