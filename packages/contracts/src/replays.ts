import { z } from 'zod';
import { LimitsInput } from './agent.ts';
import { ModelRef } from './model-ref.ts';
import { CapUsd } from './money.ts';
import { TERMINAL_STATUSES } from './run.ts';
import { RUN_FILTER } from './run-filter.ts';

/**
 * What a replay compares: with `requests` all of it; with `decisions` which models and tools are called and how the run
 * ends, whatever the requests say.
 */
export const COMPARISONS = ['requests', 'decisions'] as const;
export type Comparison = (typeof COMPARISONS)[number];

export const REPLAY_MODES = ['offline', 'paid'] as const;
export type ReplayMode = (typeof REPLAY_MODES)[number];

/** A job that replays many stored runs. The last three are final. */
export const REPLAY_STATUSES = ['queued', 'running', 'done', 'failed', 'aborted'] as const;
export type ReplayStatus = (typeof REPLAY_STATUSES)[number];

/** Only runs that have ended are replayed, newest first. */
export const ReplayFilter = z.strictObject({
  status: z.enum(TERMINAL_STATUSES).optional(),
  ...RUN_FILTER,
  /** The model a run was submitted with. */
  model: ModelRef.optional(),
  /** Most runs. */
  limit: z.int().min(1).max(1_000_000).default(10_000),
});
export type ReplayFilter = z.infer<typeof ReplayFilter>;

/** What every run is tried with; the input and what tools gave are each run's own. */
export const ReplayChanges = z.strictObject({
  model: ModelRef.optional(),
  instructions: z.string().max(200_000).optional(),
  limits: LimitsInput.optional(),
});
export type ReplayChanges = z.infer<typeof ReplayChanges>;

/** The associated data of sealed changes (AAD), so that they do not pass for those of another job. */
export const replayAad = (id: string): string => `replay:${id}`;

/** Body of `POST /v1/replays`. */
export const ReplaysRequest = z
  .strictObject({
    filter: ReplayFilter,
    changes: ReplayChanges.default({}),
    compare: z.enum(COMPARISONS).default('requests'),
    /** With `paid` each run that parts from its recording goes on with real calls, as a fork. */
    mode: z.enum(REPLAY_MODES).default('offline'),
    /** What the caps of all these forks may add up to. */
    max_cost_usd: CapUsd.optional(),
  })
  .refine(({ mode, max_cost_usd }) => (mode === 'paid') === (max_cost_usd !== undefined), {
    path: ['max_cost_usd'],
    message: 'goes with mode paid, which needs it',
  });
export type ReplaysRequest = z.infer<typeof ReplaysRequest>;
