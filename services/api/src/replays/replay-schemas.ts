import {
  COMPARISONS,
  ERROR_CODES,
  JsonValue,
  REPLAY_MODES,
  REPLAY_STATUSES,
  ReplayFilter,
} from '@signalbox/contracts';
import { z } from 'zod';

const count = z.int().min(0);

/** A job that replays many runs, as answers spell it. */
export const ReplayJob = z.object({
  id: z.string(),
  status: z.enum(REPLAY_STATUSES),
  filter: ReplayFilter,
  /** Names of what is tried. */
  changed: z.array(z.string()),
  compare: z.enum(COMPARISONS),
  mode: z.enum(REPLAY_MODES),
  counts: z.object({
    /** Looked at so far: identical, diverged and failed. */
    selected: count,
    identical: count,
    diverged: count,
    /** Those that could not be read; `failures` says why. */
    failed: count,
    forked: count,
    /** Of the diverged, with mode paid: for want of budget, or as their recording gives no place to go on from. */
    not_forked: count,
  }),
  steps: count,
  /** While it replayed, not while it waited. */
  steps_per_second: z.number().nullable(),
  max_cost_usd: z.number().nullable(),
  /** The caps of its forks, added up. What they really cost is in their runs. */
  committed_usd: z.number(),
  /** The first of each of the first 100 runs that diverged. */
  divergences: z.array(
    z.object({ run_id: z.string(), step: z.int(), kind: z.string(), expected: JsonValue, got: JsonValue }),
  ),
  /** The first 100. */
  failures: z.array(z.object({ run_id: z.string(), code: z.enum(ERROR_CODES) })),
  /** `fork_run_id` is null while a fork is being made. */
  forks: z.array(z.object({ run_id: z.string(), from_step: z.int(), fork_run_id: z.string().nullable() })),
  error: z.string().nullable(),
  created_at: z.string(),
  started_at: z.string().nullable(),
  finished_at: z.string().nullable(),
});
export type ReplayJob = z.infer<typeof ReplayJob>;
