/**
 * The work that every subject does, W(steps, latency): runs of `steps` model calls, each with an answer of 2 KB and
 * followed by one tool call of 0.5 KB; a model takes `latencyMs`. So W(5, 0) is ten recorded steps and no waiting.
 */
export interface Shape {
  readonly steps: number;
  readonly latencyMs: number;
}

/** New runs until the time or the count is over: `inFlight` at any time, or as many a second as it says. */
export interface Load {
  readonly shape: Shape;
  readonly inFlight: number;
  readonly perSecond?: number;
  readonly until: { readonly seconds: number } | { readonly runs: number };
}

export interface Outcome {
  readonly runs: number;
  /** From the first submission until every run has ended and is stored. */
  readonly seconds: number;
  /** At a rate: milliseconds from when each was due to its end. */
  readonly times?: readonly number[] | undefined;
}

export const MODEL_BYTES = 2048;
export const TOOL_BYTES = 512;

const WORDS =
  'the order was sent on monday and arrives in four days so a refund of part its price seems fair'.split(' ');

/** Text that compresses about as text does; the same seed gives the same text. */
export const prose = (bytes: number, seed: number): string => {
  let state = seed + 1;
  let text = '';
  while (text.length < bytes) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    text += `${WORDS[(state >>> 16) % WORDS.length]} `;
  }
  return text.slice(0, bytes);
};

/** Whether another run may begin. */
export const intake = (until: Load['until']): (() => boolean) => {
  if ('runs' in until) {
    let left = until.runs;
    return () => left-- > 0;
  }
  const end = performance.now() + until.seconds * 1000;
  return () => performance.now() < end;
};

/** For subjects whose runs can be awaited one by one. */
export const closedLoop = async (
  { inFlight, until }: Omit<Load, 'shape'>,
  run: (n: number) => Promise<unknown>,
): Promise<Outcome> => {
  const started = performance.now();
  const more = intake(until);
  let runs = 0;
  const lane = async (): Promise<void> => {
    while (more()) {
      runs += 1;
      await run(runs);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
  return { runs, seconds: (performance.now() - started) / 1000 };
};
