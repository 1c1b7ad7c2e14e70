/** What processes used, as Linux counts it in /proc. */
import { readdirSync, readFileSync } from 'node:fs';

/** Of every Linux that Node runs on (USER_HZ). */
const TICKS_PER_SECOND = 100;

interface ProcessStat {
  readonly parent: number;
  /** Its own. */
  readonly ticks: number;
  /** Of children that have ended. */
  readonly endedTicks: number;
}

const PARENT = 1;
const CPU = 11;

/** The fields behind the name, which may itself hold blanks and parentheses. */
const parseStat = (line: string): ProcessStat => {
  const fields = line
    .slice(line.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  const at = (index: number): number => fields[index] ?? 0;
  return { parent: at(PARENT), ticks: at(CPU) + at(CPU + 1), endedTicks: at(CPU + 2) + at(CPU + 3) };
};

const readStats = (): Map<number, ProcessStat> => {
  const stats = new Map<number, ProcessStat>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      stats.set(Number(name), parseStat(readFileSync(`/proc/${name}/stat`, 'utf8')));
    } catch {
      // Ended since the directory was read.
    }
  }
  return stats;
};

/** Processes that are one part of a subject: those named, and all below them. */
export interface ProcessGroup {
  readonly name: string;
  readonly roots: readonly number[];
  /** Not what is below: for this process, which is the parent of everything. */
  readonly alone?: boolean;
}

const membersOf = ({ roots, alone }: ProcessGroup, stats: ReadonlyMap<number, ProcessStat>): Set<number> => {
  const members = new Set(roots);
  let grew = alone !== true;
  while (grew) {
    const before = members.size;
    for (const [pid, { parent }] of stats) if (members.has(parent)) members.add(pid);
    grew = members.size > before;
  }
  return members;
};

/** Processor seconds so far, also of members that have ended. */
export const cpuSeconds = (group: ProcessGroup): number => {
  const stats = readStats();
  let ticks = 0;
  for (const pid of membersOf(group, stats)) {
    const stat = stats.get(pid);
    if (stat !== undefined) ticks += stat.ticks + (group.alone === true ? 0 : stat.endedTicks);
  }
  return ticks / TICKS_PER_SECOND;
};

const proportionalBytes = (pid: number): number => {
  try {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    return Number(/^Pss:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) * 1024;
  } catch {
    return 0; // ended, or a kernel that does not say
  }
};

/** Memory now. Pages that processes share, as those of Postgres do, count once. */
export const memoryBytes = (group: ProcessGroup): number =>
  [...membersOf(group, readStats())].reduce((sum, pid) => sum + proportionalBytes(pid), 0);
