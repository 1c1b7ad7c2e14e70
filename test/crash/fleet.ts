import { join } from 'node:path';
import { freePort, startService } from '@signalbox/local';
import { through, type Verdict } from '../support/barrier/barrier.ts';
import { startPostgresBarrier } from '../support/barrier/postgres-barrier.ts';
import { startRedisBarrier } from '../support/barrier/redis-barrier.ts';
import type { Member, ServiceName } from './member.ts';
import type { Seen } from './seen.ts';

export type Judge = (seen: Seen) => Promise<Verdict> | undefined;

export interface FleetOptions {
  readonly service: ServiceName;
  readonly size: number;
  readonly env: Readonly<Record<string, string>>;
  readonly logDir: string;
  readonly judge: Judge;
}

interface Run {
  readonly member: Member;
  readonly close: () => Promise<void>;
}

/**
 * Processes of one service, each behind barriers of its own, so that what passes there is known to be its doing.
 * As many as it was given stay alive: one that is killed is replaced at once.
 */
export class Fleet {
  readonly #options: FleetOptions;
  readonly #members: Run[] = [];
  readonly #starting = new Set<Promise<unknown>>();
  #count = 0;
  #stopped = false;
  failure: unknown = null;

  constructor(options: FleetOptions) {
    this.#options = options;
  }

  get members(): readonly Member[] {
    return this.#members.map(({ member }) => member);
  }

  async start(): Promise<void> {
    await Promise.all(Array.from({ length: this.#options.size }, () => this.add()));
  }

  async add(): Promise<Member> {
    const { service, env, logDir, judge } = this.#options;
    this.#count += 1;
    const name = `crash-${service}-${this.#count}`;
    const member: Member = {
      service,
      name,
      process: null,
      leaseId: null,
      runId: null,
      claimed: 0,
      draining: false,
      frozen: false,
      dead: false,
    };
    const { REDIS_URL: redisUrl = '', DATABASE_URL: databaseUrl } = env;
    const redis = await startRedisBarrier(redisUrl, (passing, at) =>
      judge({ via: 'redis', at, ...passing, member }),
    );
    const postgres =
      databaseUrl === undefined
        ? null
        : await startPostgresBarrier(databaseUrl, (statement, at) =>
            judge({ via: 'postgres', at, statement, member }),
          );
    const close = async (): Promise<void> => {
      await Promise.all([redis.close(), postgres?.close()]);
    };
    this.#members.push({ member, close });
    member.process = await startService({
      name,
      entry: join('services', service, 'src/main.ts'),
      logDir,
      env: {
        ...process.env,
        ...env,
        PORT: String(await freePort()),
        METRICS_PORT: '0',
        REDIS_URL: through(redis, redisUrl),
        ...(postgres === null ? {} : { DATABASE_URL: through(postgres, databaseUrl ?? '') }),
      },
    });
    return member;
  }

  /** SIGKILL; nothing of what it was about to do gets through after that. */
  async kill(member: Member): Promise<void> {
    member.dead = true;
    await member.process?.kill();
    await this.#members.find((run) => run.member === member)?.close();
    if (!this.#stopped && this.#alive() < this.#options.size) this.#replace();
  }

  #alive(): number {
    return this.members.filter(({ dead }) => !dead).length;
  }

  #replace(): void {
    const starting = this.add().catch((error: unknown) => {
      if (!this.#stopped) this.failure ??= error;
    });
    this.#starting.add(starting);
    void starting.finally(() => this.#starting.delete(starting));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#starting);
    await Promise.all(
      this.#members.map(async ({ member, close }) => {
        await member.process?.stop();
        await close();
      }),
    );
  }
}
