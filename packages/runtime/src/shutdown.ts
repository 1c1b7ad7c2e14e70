/**
 * Shutdown: how a process ends. Owns the stop steps and the process's signal and error handlers.
 *
 * States: running -> stopping -> exited.
 * running:  SIGTERM, SIGINT, `stop()` or `fail()` begin stopping; an uncaught error logs and exits 1 at once.
 * stopping: steps run one after the other, last registered first, so that what was built on something is gone before
 *           it. A step that fails or takes too long is logged and the rest still run. A second signal exits 130 at once;
 *           the first one after `fail()` (Kubernetes ends what is not alive) changes nothing.
 * exited:   0 if every step stopped that may not fail and nothing had failed, else 1.
 */
import { type Clock, systemClock } from './clock.ts';
import { ListenError } from './listen.ts';
import type { Logger } from './logger.ts';
import { withTimeout } from './timeout.ts';

export interface ShutdownOptions {
  readonly logger: Logger;
  /** Ends the process; main.ts passes `process.exit`. */
  readonly exit: (code: number) => void;
  readonly clock?: Clock;
  /** Where signals and uncaught errors come from; default the process. */
  readonly events?: NodeJS.EventEmitter;
}

export interface Shutdown {
  /** Registers a step. Once stopping has begun it still runs, as the next one. */
  onStop(name: string, run: () => unknown, options?: StepOptions): void;
  /** Stops and exits; repeated calls join the first. */
  stop(reason: string): Promise<void>;
  /** The same, but exits 1: the process cannot go on. */
  fail(reason: string): Promise<void>;
  /** Aborted as soon as stopping begins: for loops and for work that should not be started any more. */
  readonly stopping: AbortSignal;
}

export interface StepOptions {
  readonly timeoutMs?: number;
  /** It needs something that may be away, such as a store: then it ends in 2 s and spoils no orderly end. */
  readonly mayFail?: boolean;
}

interface Step {
  readonly name: string;
  readonly run: () => unknown;
  readonly timeoutMs: number;
  readonly mayFail: boolean;
}

const STEP_TIMEOUT_MS = 10_000;
const OPTIONAL_TIMEOUT_MS = 2_000;
const EXIT_FAILED = 1;
const EXIT_INTERRUPTED = 130;

export function createShutdown({
  logger,
  exit,
  clock = systemClock,
  events = process,
}: ShutdownOptions): Shutdown {
  const steps: Step[] = [];
  const stopping = new AbortController();
  let stopped: Promise<void> | undefined;
  let broken = 0;

  const stop = (reason: string) => {
    stopped ??= stopAll(reason);
    return stopped;
  };
  const fail = (reason: string) => {
    broken = 1;
    return stop(reason);
  };

  async function stopAll(reason: string): Promise<void> {
    const startedAt = clock.monotonic();
    logger.info('stopping', { reason });
    stopping.abort(new Error(`stopping: ${reason}`));
    const failed = await runSteps(steps, { logger, clock });
    logger.info('stopped', { failed_steps: failed, ms: Math.round(clock.monotonic() - startedAt) });
    exit(failed + broken === 0 ? 0 : EXIT_FAILED);
  }

  handleEvents({ events, logger, exit, stop });
  return {
    onStop: (
      name,
      run,
      { mayFail = false, timeoutMs = mayFail ? OPTIONAL_TIMEOUT_MS : STEP_TIMEOUT_MS } = {},
    ) => steps.push({ name, run, timeoutMs, mayFail }),
    stop,
    fail,
    stopping: stopping.signal,
  };
}

/** Signals and uncaught errors. */
function handleEvents({
  events,
  logger,
  exit,
  stop,
}: Required<Omit<ShutdownOptions, 'clock'>> & Pick<Shutdown, 'stop'>): void {
  let signals = 0;
  const onSignal = (signal: string) => {
    signals += 1;
    if (signals === 1) {
      void stop(signal);
      return;
    }
    logger.warn('second signal: exiting without finishing the stop', { signal });
    exit(EXIT_INTERRUPTED);
  };
  const onFatal = (kind: string) => (error: unknown) => {
    if (error instanceof ListenError) logger.fatal(error.message);
    else logger.fatal(kind, { error });
    exit(EXIT_FAILED);
  };
  for (const signal of ['SIGTERM', 'SIGINT']) events.on(signal, () => onSignal(signal));
  events.on('uncaughtException', onFatal('uncaught exception'));
  events.on('unhandledRejection', onFatal('unhandled rejection'));
}

/** The last first, also those that come meanwhile. Answers how many failed that may not. */
async function runSteps(steps: Step[], deps: StepDeps): Promise<number> {
  let failed = 0;
  for (let step = steps.pop(); step !== undefined; step = steps.pop()) {
    if (!(await runStep(step, deps))) failed += 1;
  }
  return failed;
}

interface StepDeps {
  readonly logger: Logger;
  readonly clock: Clock;
}

async function runStep({ name, run, timeoutMs, mayFail }: Step, deps: StepDeps): Promise<boolean> {
  try {
    await withTimeout(Promise.resolve().then(run), timeoutMs, deps.clock);
    deps.logger.debug('stop step done', { step: name });
    return true;
  } catch (error) {
    deps.logger[mayFail ? 'warn' : 'error']('stop step failed', { step: name, error });
    return mayFail;
  }
}
