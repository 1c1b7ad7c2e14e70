/** SSE fan-out: runs that write an event now and then for the whole time, each watched by several clients. */
import { get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { metered } from '../meter.ts';
import { quantile } from '../statistics.ts';
import { CLIENT, type Context, countedCpu, type Sample, type Trial } from '../trial.ts';
import { publishAgent, submitRun } from './signalbox-agent.ts';
import { type Signalbox, withSignalbox } from './signalbox.ts';

const RUNS = 100;
const WATCHERS = 10;
/** A model call and its tool call are four events, so these are 500 events per second of all runs. */
const TURN_MS = 800;
/** For all watchers to have come. */
const HEAD_START_SECONDS = 8;
/** Until what they came for is read. */
const SETTLE_MS = 2000;

const script = (seconds: number): string => {
  const turns = Array.from({ length: Math.ceil((seconds * 1000) / TURN_MS) }, (_, n) => ({
    tool_calls: [{ name: 'calculator', arguments: { expression: `${n} + 1` } }],
    delay_ms: TURN_MS,
  }));
  return JSON.stringify({ turns: [...turns, { text: 'done' }] });
};

const EVENT = /^id: (\d+)\n[^]*"ts":"([^"]+)"/;

/** What one client sees. Throws at the first event that is missing, doubled or out of order. */
class Watcher {
  readonly #delays: number[];
  #since = Number.POSITIVE_INFINITY;
  #rest = '';
  #seq = 0;
  #ended = false;

  constructor(delays: number[]) {
    this.#delays = delays;
  }

  /** What is written from now on counts. */
  count(now: number): void {
    this.#since = now;
  }

  take(text: string): void {
    const now = Date.now();
    const frames = (this.#rest + text).split('\n\n');
    this.#rest = frames.pop() ?? '';
    for (const frame of frames) {
      if (frame.startsWith('event: end')) this.#ended = true;
      const [, seq, ts] = EVENT.exec(frame) ?? [];
      if (seq === undefined || ts === undefined) continue;
      if (Number(seq) !== ++this.#seq) throw new Error(`Event ${seq} came where ${this.#seq} was due.`);
      const at = Date.parse(ts);
      if (at >= this.#since) this.#delays.push(now - at);
    }
  }

  end(): void {
    if (!this.#ended) throw new Error(`A stream ended behind event ${this.#seq}.`);
  }
}

interface Watching {
  readonly begun: Promise<void>;
  readonly ended: Promise<void>;
}

const watch = ({ stack }: Signalbox, runId: string, watcher: Watcher): Watching => {
  const [begun, ended] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const fail = (error: unknown): void => {
    begun.reject(error);
    ended.reject(error);
  };
  const headers = { authorization: `Bearer ${stack.apiKey}`, accept: 'text/event-stream' };
  get(`${stack.apiUrl}/v1/runs/${runId}/events`, { headers, agent: false }, (response) => {
    if (response.statusCode !== 200) return fail(new Error(`Events of ${runId}: ${response.statusCode}`));
    begun.resolve();
    response.setEncoding('utf8');
    const guarded = (work: () => void): void => {
      try {
        work();
      } catch (error) {
        fail(error);
      }
    };
    response.on('data', (chunk: string) => guarded(() => watcher.take(chunk)));
    response.once('error', fail);
    response.once('end', () => {
      guarded(() => watcher.end());
      ended.resolve();
    });
  }).once('error', fail);
  return { begun: begun.promise, ended: ended.promise };
};

interface Watched {
  readonly delays: readonly number[];
  readonly seconds: number;
}

/** Hands over once everybody watches; resolves when all runs have ended. */
const watchAll = async (signalbox: Signalbox): Promise<() => Promise<Watched>> => {
  const ids = await Promise.all(
    Array.from({ length: RUNS }, async (_, n) => {
      // Or all would write at the same instants.
      await sleep((n * TURN_MS) / RUNS);
      return submitRun(signalbox);
    }),
  );
  const delays: number[] = [];
  const watchers = ids.flatMap((id) =>
    Array.from({ length: WATCHERS }, () => ({ id, watcher: new Watcher(delays) })),
  );
  const streams = watchers.map(({ id, watcher }) => watch(signalbox, id, watcher));
  const ended = Promise.all(streams.map((stream) => stream.ended));
  await Promise.all(streams.map(({ begun }) => begun));
  await sleep(SETTLE_MS);
  return async () => {
    const started = Date.now();
    for (const { watcher } of watchers) watcher.count(started);
    await ended;
    return { delays, seconds: (Date.now() - started) / 1000 };
  };
};

const measure = (context: Context): Promise<Sample> =>
  withSignalbox(context, {}, async (signalbox) => {
    await publishAgent(signalbox, script(1));
    await (await watchAll(signalbox))();
    const seconds = 'seconds' in context.until ? context.until.seconds : 1;
    await publishAgent(signalbox, script(seconds + HEAD_START_SECONDS));
    const rest = await watchAll(signalbox);
    const { value, ...usage } = await metered(signalbox.groups, rest, { looks: false });
    const frames = value.delays.length;
    const perThousand = (cpu: number): number => (cpu * 1e6) / frames;
    return {
      window: usage.window,
      figures: {
        streams: RUNS * WATCHERS,
        'events/s': frames / WATCHERS / value.seconds,
        'frames/s': frames / value.seconds,
        'p50 delay ms': quantile(value.delays, 0.5),
        'p99 delay ms': quantile(value.delays, 0.99),
        'api CPU ms/1,000 frames': perThousand(usage.cpu.get('api') ?? 0),
        'all CPU ms/1,000 frames': perThousand(countedCpu(usage)),
        'client CPU ms/1,000 frames': perThousand(usage.cpu.get(CLIENT) ?? 0),
      },
    };
  });

export const sseTrial = (work: string): Trial => ({ work, subject: 'Signalbox', measure });
