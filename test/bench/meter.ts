/** What a piece of work costs the processes that do it. */
import { cpuSeconds, memoryBytes, type ProcessGroup } from './process-tree.ts';

export interface Usage {
  /** Processor seconds, by group. */
  readonly cpu: ReadonlyMap<string, number>;
  /** Of all groups together, at the time when it was most; without looks meanwhile, at the end. */
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

const LOOK_MS = 2000;

interface MeterOptions {
  /**
   * Default true. Reading the page tables of big processes takes tens of milliseconds, in which this process does nothing
   * else: whoever times single requests must not look meanwhile.
   */
  readonly looks?: boolean;
}

export const metered = async <T>(
  groups: readonly ProcessGroup[],
  work: () => Promise<T>,
  { looks = true }: MeterOptions = {},
): Promise<Usage & { readonly value: T }> => {
  const before = groups.map(cpuSeconds);
  let peakBytes = 0;
  const look = (): void => {
    peakBytes = Math.max(
      peakBytes,
      groups.reduce((sum, group) => sum + memoryBytes(group), 0),
    );
  };
  const looking = looks ? setInterval(look, LOOK_MS) : undefined;
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
