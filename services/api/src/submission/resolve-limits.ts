import { DEFAULT_LIMITS, fromUsd, type LimitsInput, type Nano, type RunLimits } from '@signalbox/contracts';
import { invalidRequest } from '../http/validation.ts';

/** What a run is bound by, with nothing left open. */
export interface ResolvedLimits {
  readonly limits: RunLimits;
  /** Null: the run tree has no cap of its own. */
  readonly capNano: Nano | null;
}

const FIELDS = ['max_steps', 'max_output_tokens', 'timeout_seconds', 'cost_usd'] as const;

const isLooser = (own: number | undefined, allowed: number | undefined): boolean =>
  own !== undefined && allowed !== undefined && own > allowed;

/**
 * A run's limits may only tighten those its agent states; of all caps, with the `outer` ones, the smallest counts.
 * Throws `invalid_request` naming each looser one, `at` its path in the body.
 */
export const resolveLimits = (
  agent: LimitsInput,
  run: LimitsInput,
  { outer, at }: { outer: readonly (Nano | null)[]; at: string },
): ResolvedLimits => {
  const looser = FIELDS.filter((field) => isLooser(run[field], agent[field]));
  if (looser.length > 0) {
    throw invalidRequest(
      looser.map((field) => ({
        path: `${at}.${field}`,
        message: `the agent allows at most ${agent[field]}; a run may only tighten it`,
      })),
    );
  }
  const of = (field: keyof RunLimits): number => run[field] ?? agent[field] ?? DEFAULT_LIMITS[field];
  const caps = [run.cost_usd, agent.cost_usd].filter((usd) => usd !== undefined).map(fromUsd);
  caps.push(...outer.filter((cap) => cap !== null));
  return {
    limits: {
      max_steps: of('max_steps'),
      max_output_tokens: of('max_output_tokens'),
      timeout_seconds: of('timeout_seconds'),
    },
    capNano: caps.length === 0 ? null : Math.min(...caps),
  };
};
