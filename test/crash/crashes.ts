import { setTimeout as sleep } from 'node:timers/promises';
import type { Verdict } from '../support/barrier/barrier.ts';
import type { Fleet, Judge } from './fleet.ts';
import type { Member, ServiceName } from './member.ts';
import { claimedIn, commitOf, type Gap, type RunRef, type Seen } from './seen.ts';

/**
 * What a row does to the processes of its run, one stop after the other:
 * kill    SIGKILL at the gap
 * freeze  nothing of the process reaches Redis until another one has claimed the run; then it goes on
 * drain   SIGTERM, and it goes on once it drains
 * hold    an answer stands still until all other stops were reached
 * note    nothing; the next stop is looked for from here on
 */
export interface Stop {
  readonly service: ServiceName;
  readonly gap: Gap;
  readonly how: 'kill' | 'freeze' | 'drain' | 'hold' | 'note';
}

/** A row at work. */
export interface Trial {
  readonly run: RunRef;
  readonly stops: readonly Stop[];
  /** Only this process is looked at. */
  readonly member: Member | null;
  /** Stops that were reached, with their time, epoch ms. */
  readonly reached: number[];
  /** Names of the processes that were stopped. */
  readonly victims: string[];
}

export const openTrial = (tag: string, stops: readonly Stop[], member: Member | null = null): Trial => ({
  run: { tag, id: null, dueMs: null },
  stops,
  member,
  reached: [],
  victims: [],
});

const LOOK_MS = 5;
const until = async (done: () => boolean): Promise<void> => {
  while (!done()) await sleep(LOOK_MS);
};

export class Crashes {
  readonly #trials = new Set<Trial>();
  /** Those that are over, too: a job of theirs may come again. */
  readonly #all: Trial[] = [];
  readonly #fleets: (service: ServiceName) => Fleet;
  readonly #expire: (leaseId: string) => Promise<unknown>;
  #claims = 0;

  /** `expire` lets the lease of a dead worker run out soon: leases are long, so that no live one loses its own. */
  constructor(fleets: (service: ServiceName) => Fleet, expire: (leaseId: string) => Promise<unknown>) {
    this.#fleets = fleets;
    this.#expire = expire;
  }

  arm(trial: Trial): void {
    this.#trials.add(trial);
    this.#all.push(trial);
  }

  disarm(trial: Trial): void {
    this.#trials.delete(trial);
  }

  /** The process that works on a row's run. */
  holderOf(tag: string | null): Member | null {
    const trial = [...this.#trials].find(({ run }) => run.tag === tag);
    const holders = this.#fleets('worker').members.filter(
      ({ runId, dead }) => !dead && runId !== null && runId === trial?.run.id,
    );
    return holders.toSorted((a, b) => a.claimed - b.claimed).at(-1) ?? null;
  }

  readonly judge: Judge = (seen) => {
    if (seen.member.dead) return Promise.resolve('drop');
    if (seen.member.frozen && seen.via === 'redis' && seen.at === 'before')
      return until(() => !seen.member.frozen).then(() => 'pass' as const);
    if (seen.via === 'redis') {
      const known = this.#learn(seen);
      if (known !== undefined) return known.then(() => this.#stopAt(seen) ?? 'pass');
    }
    return this.#stopAt(seen);
  };

  /** A run may be claimed before its submission was answered; it waits until it is known whose it is. */
  #learn({ command, reply, member }: Seen & { via: 'redis' }): Promise<void> | undefined {
    if (reply === null) {
      const { script, argv } = command;
      if (script === 'lease') member.leaseId = argv[1] ?? null;
      if (script !== 'claim') return undefined;
      const isKnown = (): boolean => this.#all.some(({ run }) => run.id === argv[0]);
      return isKnown() ? undefined : until(isKnown);
    }
    // A worker that drains offers no more slots.
    if (command.script === 'lease' && command.argv[3] === '0') member.draining = true;
    const claimed = claimedIn(command, reply);
    if (claimed !== null) Object.assign(member, { runId: claimed, claimed: (this.#claims += 1) });
    const commit = commitOf(command);
    const parked = [...this.#trials].find(({ run }) => commit !== null && run.id === commit.runId);
    if (commit?.after === 'park' && parked !== undefined) parked.run.dueMs = commit.dueMs;
    return undefined;
  }

  #stopAt(seen: Seen): Promise<Verdict> | undefined {
    for (const trial of this.#trials) {
      const stop = trial.stops[trial.reached.length];
      if (stop === undefined || stop.service !== seen.member.service) continue;
      if (trial.member !== null && trial.member !== seen.member) continue;
      if (!stop.gap(seen, trial.run)) continue;
      trial.reached.push(Date.now());
      if (stop.how === 'note') return undefined;
      if (stop.how !== 'hold') trial.victims.push(seen.member.name);
      return this.#stop(stop, trial, seen.member);
    }
    return undefined;
  }

  async #stop({ how }: Stop, trial: Trial, member: Member): Promise<Verdict> {
    if (how === 'kill') {
      await this.#fleets(member.service).kill(member);
      if (member.leaseId !== null) await this.#expire(member.leaseId);
      return 'drop';
    }
    if (how === 'drain') {
      member.process?.signal('SIGTERM');
      await until(() => member.draining);
      return 'pass';
    }
    if (how === 'hold') {
      const isOver = (): boolean => trial.reached.length === trial.stops.length && !member.frozen;
      await until(() => member.dead || isOver());
      return 'pass';
    }
    member.frozen = true;
    const taken = (): boolean =>
      this.#fleets('worker').members.some((other) => other !== member && other.runId === trial.run.id);
    await until(taken);
    member.frozen = false;
    return 'pass';
  }
}
