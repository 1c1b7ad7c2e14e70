/**
 * What a journal says, read from its raw bodies without the engine: the checker must not share the fold's
 * mistakes. Only the fields it judges are read.
 */
export interface Body {
  readonly run_id: string;
  readonly seq: number;
  readonly epoch: number;
  readonly type: string;
  readonly ts: string;
  readonly prev: string;
  readonly data: Data;
}

interface Data {
  /** Of a step that a fork took over: it was called in another run. */
  readonly taken_from?: object;
  readonly step?: number;
  readonly steps?: number;
  readonly attempt?: number;
  readonly code?: string;
  readonly repeatable?: boolean;
  readonly idempotency_key?: string;
  readonly hold?: { readonly id: string; readonly amount_nano: number; readonly day: string } | null;
  readonly settlement?: { readonly hold_id: string; readonly observed_nano: number } | null;
  readonly usage?: { readonly input_tokens: number; readonly output_tokens: number };
}

export const hashOf = (entry: string): string => entry.slice(0, 64);
export const textOf = (entry: string): string => entry.slice(64);

/** Null: not JSON. */
export const parseBody = (text: string): Body | null => {
  try {
    return JSON.parse(text) as Body;
  } catch {
    return null;
  }
};

export const TERMINAL: Readonly<Record<string, string>> = {
  'run.succeeded': 'succeeded',
  'run.failed': 'failed',
  'run.aborted': 'aborted',
};

export interface JournalFacts {
  readonly status: string | null;
  readonly errorCode: string | null;
  readonly steps: number;
  readonly lastSeq: number;
  readonly epoch: number;
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** What each hold was charged in the end. */
  readonly charged: ReadonlyMap<string, number>;
  /** Held amount by hold. */
  readonly held: ReadonlyMap<string, number>;
  /** Attempts announced, by model step; 0 of a step that a fork took over. */
  readonly attempts: ReadonlyMap<number, number>;
  /** Answers recorded, by model step. */
  readonly completed: ReadonlyMap<number, number>;
}

const sum = (values: Iterable<number>): number => [...values].reduce((a, b) => a + b, 0);
export const totalOf = (amounts: ReadonlyMap<string, number>): number => sum(amounts.values());

const countBySteps = (bodies: readonly Body[], type: string): Map<number, number> => {
  const counts = new Map<number, number>();
  for (const body of bodies) {
    if (body.type !== type) continue;
    const step = body.data.step ?? 0;
    const own = body.data.taken_from === undefined ? 1 : 0;
    counts.set(step, (counts.get(step) ?? 0) + own);
  }
  return counts;
};

export const factsOf = (bodies: readonly Body[]): JournalFacts => {
  const end = bodies.find(({ type }) => type in TERMINAL);
  const used = bodies.flatMap(({ data }) => data.usage ?? []);
  const requested = bodies.filter(({ type }) => type === 'llm.requested' || type === 'tool.requested');
  return {
    status: end === undefined ? null : (TERMINAL[end.type] ?? null),
    errorCode: end?.type === 'run.failed' ? (end.data.code ?? null) : null,
    steps: Math.max(0, ...requested.map(({ data }) => data.step ?? 0)),
    lastSeq: bodies.length,
    epoch: Math.max(0, ...bodies.map(({ epoch }) => epoch)),
    startedAt: bodies.find(({ type }) => type === 'run.claimed')?.ts ?? null,
    finishedAt: end?.ts ?? null,
    inputTokens: sum(used.map(({ input_tokens: tokens }) => tokens)),
    outputTokens: sum(used.map(({ output_tokens: tokens }) => tokens)),
    // A later settlement corrects an earlier one.
    charged: new Map(
      bodies.flatMap(({ data: { settlement } }) =>
        settlement ? [[settlement.hold_id, settlement.observed_nano] as const] : [],
      ),
    ),
    held: new Map(
      bodies.flatMap(({ data: { hold } }) => (hold ? [[hold.id, hold.amount_nano] as const] : [])),
    ),
    attempts: countBySteps(bodies, 'llm.requested'),
    completed: countBySteps(bodies, 'llm.completed'),
  };
};
